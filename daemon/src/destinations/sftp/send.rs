//! Sends a file in many requests at a time, with a bound on the bytes that are sent and not yet known to have arrived.

use super::channel::Channel;
use super::failure::Failure;
use crate::destinations::DestinationError;
use crate::destinations::pace::Pace;
use crate::destinations::upload::UploadLog;
use crate::model::upload::{Part, Upload};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest part: what the log is told of at once.
const MAX_PART: u64 = 8 << 20;

/// Size of the parts of a new upload: several fit into what may be unconfirmed, so that noting one does not stop the rest.
pub fn part_size(window: u64) -> u64 {
    (window / 4).clamp(1, MAX_PART)
}

/// Why a file could not be sent.
#[derive(Debug)]
pub enum Trouble {
    /// The server.
    Server(Failure),
    /// The file that is sent.
    File(io::Error),
    /// The log.
    Log(DestinationError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

/// Where the parts that arrived are noted.
pub struct Notes<'a> {
    /// The log.
    pub log: &'a dyn UploadLog,
    /// Bytes of a part.
    pub part_size: u64,
}

/// How a file is sent.
pub struct Sending<'a> {
    /// By which channel.
    pub channel: &'a Channel,
    /// Into which open file.
    pub handle: &'a str,
    /// How fast.
    pub pace: &'a Pace,
    /// Bytes that may be sent and not noted as arrived.
    pub window: u64,
    /// Where arrived parts are noted; without, what the server confirms counts.
    pub notes: Option<Notes<'a>>,
}

/// How far a file has arrived without a gap, while pieces arrive in any order.
#[derive(Debug, Default)]
struct Arrived {
    upto: u64,
    beyond: BTreeMap<u64, u64>,
}

impl Arrived {
    fn add(&mut self, offset: u64, size: u64) {
        self.beyond.insert(offset, size);
        while let Some(size) = self.beyond.remove(&self.upto) {
            self.upto += size;
        }
    }
}

/// How many bytes of an upload may be trusted: whole parts from the start on that the log knows and the server still has.
pub fn trusted(upload: &Upload, on_server: u64) -> u64 {
    let in_order = upload.parts.iter().zip(1_u32..).take_while(|(part, number)| part.number == *number);
    let mut upto = 0_u64;
    for (part, _) in in_order {
        match upto.checked_add(part.bytes) {
            Some(end) if end <= on_server => upto = end,
            _ => break,
        }
    }
    upto
}

impl Sending<'_> {
    /// Sends what `from` gives, the bytes from `start` to `total`.
    pub async fn run(&self, from: &mut (impl AsyncRead + Unpin), start: u64, total: u64) -> Result<(), Trouble> {
        // A part must fit, or it could never be noted.
        let window = self.window.max(self.notes.as_ref().map_or(1, |notes| notes.part_size));
        let mut arrived = Arrived { upto: start, ..Arrived::default() };
        let (mut next, mut noted) = (start, start);
        let mut flying = FuturesUnordered::new();
        loop {
            while next < total && next - noted < window {
                let room = (total - next).min(window - (next - noted));
                let size = room.min(self.channel.write_size as u64);
                let mut piece = vec![0; size as usize];
                from.read_exact(&mut piece).await.map_err(Trouble::File)?;
                self.pace.take(size).await;
                flying.push(self.write(next, piece));
                next += size;
                // Sends it, and takes what has come.
                while let Some(Some(done)) = flying.next().now_or_never() {
                    let (offset, size) = done?;
                    arrived.add(offset, size);
                }
                noted = self.note(noted, arrived.upto, total).await?;
            }
            if noted == total {
                return Ok(());
            }
            match tokio::time::timeout(self.channel.patience, flying.next()).await {
                Ok(Some(done)) => {
                    let (offset, size) = done?;
                    arrived.add(offset, size);
                }
                Ok(None) => return Err(Trouble::Server(Failure::Lost("an answer is missing".to_owned()))),
                Err(_) => return Err(Trouble::Server(Failure::Silent(self.channel.patience))),
            }
            noted = self.note(noted, arrived.upto, total).await?;
        }
    }

    async fn write(&self, offset: u64, piece: Vec<u8>) -> Result<(u64, u64), Failure> {
        let size = piece.len() as u64;
        self.channel.write(self.handle, offset, piece).await.map(|()| (offset, size))
    }

    /// Notes the parts that are whole; up to where everything is noted now.
    async fn note(&self, mut noted: u64, arrived: u64, total: u64) -> Result<u64, Trouble> {
        let Some(Notes { log, part_size }) = &self.notes else { return Ok(arrived) };
        while noted < total {
            let bytes = (*part_size).min(total - noted);
            if arrived < noted + bytes {
                break;
            }
            let number = u32::try_from(noted / part_size + 1).unwrap_or(u32::MAX);
            let part = Part { number, bytes, checksum: String::new(), etag: String::new() };
            log.part(part).await.map_err(|error| Trouble::Log(error.into()))?;
            noted += bytes;
        }
        Ok(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upload(parts: &[(u32, u64)]) -> Upload {
        let part = |&(number, bytes)| Part { number, bytes, checksum: String::new(), etag: String::new() };
        Upload { id: "x".into(), part_size: 8, parts: parts.iter().map(part).collect() }
    }

    #[test]
    fn only_what_both_know_is_trusted() {
        let whole = upload(&[(1, 8), (2, 8), (3, 3)]);
        assert_eq!(trusted(&whole, 100), 19);
        assert_eq!(trusted(&whole, 19), 19);
        assert_eq!(trusted(&whole, 18), 16, "the server has less");
        assert_eq!(trusted(&whole, 0), 0);
        assert_eq!(trusted(&upload(&[(1, 8), (3, 8)]), 100), 8, "a part is missing");
        assert_eq!(trusted(&upload(&[]), 100), 0);
    }

    proptest! {
        #[test]
        fn what_arrived_has_no_gap(sizes in proptest::collection::vec(1_u64..50, 1..20), seed in any::<u64>()) {
            let mut pieces: Vec<(u64, u64)> = sizes
                .iter()
                .scan(0, |at, size| {
                    *at += size;
                    Some((*at - size, *size))
                })
                .collect();
            let total: u64 = sizes.iter().sum();
            let count = pieces.len();
            for n in 0..count {
                pieces.swap(n, (seed as usize).wrapping_mul(n + 7) % count);
            }
            let mut arrived = Arrived::default();
            let mut seen = std::collections::BTreeSet::new();
            for (offset, size) in pieces {
                arrived.add(offset, size);
                seen.extend(offset..offset + size);
                prop_assert_eq!(arrived.upto, (0..).find(|at| !seen.contains(at)).unwrap());
            }
            prop_assert_eq!(arrived.upto, total);
        }

        #[test]
        fn parts_fit_into_the_window(window in 1_u64..10_000_000_000) {
            let size = part_size(window);
            prop_assert!(size >= 1 && size <= window && size <= MAX_PART);
        }
    }
}
