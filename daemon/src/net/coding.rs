//! Unpacks bodies that came compressed (content codings, RFC 9110, section 8.4), away from the threads that wait for sockets.

use super::error::FetchError;
use super::fetch::Fetcher;
use crate::base::reserve::{Filling, Reserve};
use crate::config::units::Size;
use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use std::io::{self, Read};

/// What is asked for.
pub const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, br, zstd");

/// Compressed bytes from which on they are unpacked on the pool, and unpacked ones behind which that is begun again there: about
/// a tenth of a millisecond, and at most one. The programs that tests kill, whose pages are small, go the same way.
const LARGE: usize = if cfg!(debug_assertions) { 256 } else { 16 << 10 };
const LARGE_UNPACKED: u64 = if cfg!(debug_assertions) { 4 << 10 } else { 1 << 20 };

/// The first byte of a member of gzip (RFC 1952, section 2.3.1).
const GZIP: u8 = 0x1f;

/// What a reader of Brotli reads at once.
const BROTLI_BUFFER: usize = 4 << 10;

/// The largest window of Zstandard that may be asked of who reads it: 8 MiB (RFC 9659, section 3).
const ZSTD_WINDOW: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip (RFC 1952).
    Gzip,
    /// zlib (RFC 1950); never asked for.
    Deflate,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Why a body cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// There is more in it than may be.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// It is not packed like that, or was cut.
    #[error("it calls itself {}, and cannot be unpacked: {cause}", .coding.name())]
    Broken {
        /// What it calls itself.
        coding: Coding,
        /// What the library says; it never quotes the body.
        cause: io::Error,
    },
}

impl UnpackError {
    /// The failure of a request whose bodies may have at most `most` bytes.
    pub fn of_fetch(self, most: Size) -> FetchError {
        match self {
            Self::TooLarge(_) => FetchError::TooLarge(most),
            Self::Broken { .. } => FetchError::Unreadable { reason: self.to_string(), cut: true },
        }
    }
}

impl Coding {
    /// How the body behind `headers` is packed. What has another name is taken as it is: some servers write the character set there.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let name = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
        let known = [
            ("gzip", Self::Gzip),
            ("x-gzip", Self::Gzip),
            ("deflate", Self::Deflate),
            ("br", Self::Brotli),
            ("zstd", Self::Zstd),
        ];
        known.into_iter().find_map(|(known, coding)| known.eq_ignore_ascii_case(name.trim()).then_some(coding))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    fn reader(self, packed: &[u8]) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Gzip => Box::new(Members(GzDecoder::new(packed))),
            Self::Deflate => Box::new(flate2::bufread::ZlibDecoder::new(packed)),
            Self::Brotli => {
                let mut reader = Decompressor::new(packed, BROTLI_BUFFER);
                // It would keep up to 1 GiB before it hands out the first byte. RFC 7932 has 16 MiB at most.
                reader.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                Box::new(reader)
            }
            Self::Zstd => {
                let mut reader = zstd::stream::read::Decoder::with_buffer(packed)?;
                reader.window_log_max(ZSTD_WINDOW)?;
                Box::new(reader)
            }
        })
    }

    /// Unpacks a whole body of at most `most` bytes into `into`. Nothing at all is packed as nothing.
    pub fn unpack(self, packed: &[u8], most: u64, mut into: Filling) -> Result<Bytes, UnpackError> {
        let broken = |cause| UnpackError::Broken { coding: self, cause };
        if !packed.is_empty() {
            let reader = self.reader(packed).map_err(broken)?;
            into.read(&mut reader.take(most.saturating_add(1))).map_err(broken)?;
        }
        if into.bytes() as u64 > most {
            return Err(UnpackError::TooLarge(most));
        }
        Ok(into.full())
    }

    /// The first `most` bytes of a body of which the rest may be missing.
    pub fn beginning(self, packed: &[u8], most: usize) -> Bytes {
        let mut into = Reserve::default().take(Some(0));
        if let Ok(reader) = self.reader(packed) {
            // What came before it broke off is there.
            let _ = into.read(&mut reader.take(most as u64));
        }
        into.full()
    }
}

/// The members of gzip, one after the other. What begins like none is not looked at: some servers send zeros behind the last.
struct Members<'a>(GzDecoder<&'a [u8]>);

impl Read for Members<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.0.read(into)?;
            let rest = *self.0.get_ref();
            if bytes > 0 || into.is_empty() || rest.first() != Some(&GZIP) {
                return Ok(bytes);
            }
            self.0 = GzDecoder::new(rest);
        }
    }
}

impl Fetcher {
    /// A body as it was before it was packed.
    pub(super) async fn unpacked(&self, coding: Coding, packed: Bytes) -> Result<Bytes, FetchError> {
        let most = self.most_bytes();
        let here = match &self.pool {
            None => most,
            Some(_) if packed.len() < LARGE => most.min(LARGE_UNPACKED),
            Some(_) => 0,
        };
        let mut unpacked = Err(UnpackError::TooLarge(here));
        if here > 0 {
            unpacked = coding.unpack(&packed, here, self.bodies.take(None));
        }
        if let (Err(UnpackError::TooLarge(_)), Some(pool)) = (&unpacked, self.pool.as_ref().filter(|_| here < most)) {
            let into = self.bodies.take(None);
            // Who waits for it waits for it alone: the next request may be in it.
            let done = pool.run_first(move || coding.unpack(&packed, most, into)).await;
            unpacked = done.map_err(|lost| FetchError::Unreadable {
                reason: format!("unpacking it failed ({lost:?}): this is a bug"),
                cut: false,
            })?;
        }
        unpacked.map_err(|error| error.of_fetch(self.max_body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use http::HeaderName;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn of(values: &[&'static str]) -> Option<Coding> {
        let header = |value: &&'static str| (CONTENT_ENCODING, HeaderValue::from_static(value));
        Coding::of(&values.iter().map(header).collect::<HeaderMap>())
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(body).unwrap();
        packer.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(body).unwrap();
        packer.finish().unwrap()
    }

    fn zstd_with_window(body: &[u8], log: u32) -> Vec<u8> {
        let mut packer = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        packer.window_log(log).unwrap();
        packer.write_all(body).unwrap();
        packer.finish().unwrap()
    }

    fn unpack(coding: Coding, packed: &[u8], most: u64) -> Result<Bytes, UnpackError> {
        coding.unpack(packed, most, Reserve::default().take(None))
    }

    #[test]
    fn only_what_is_known_and_alone_is_unpacked() {
        assert_eq!(of(&["gzip"]), Some(Coding::Gzip));
        assert_eq!(of(&["X-GZip "]), Some(Coding::Gzip));
        assert_eq!(of(&["br"]), Some(Coding::Brotli));
        assert_eq!(of(&["zstd"]), Some(Coding::Zstd));
        assert_eq!(of(&["deflate"]), Some(Coding::Deflate));
        for other in [&[][..], &["identity"], &["UTF-8"], &["gzip, br"], &["gzip", "gzip"], &[""]] {
            assert_eq!(of(other), None, "{other:?}");
        }
        let accepted = ACCEPTED;
        for name in accepted.to_str().unwrap().split(", ") {
            let header = (HeaderName::from_static("content-encoding"), HeaderValue::from_str(name).unwrap());
            assert_eq!(Coding::of(&HeaderMap::from_iter([header])).map(Coding::name), Some(name));
        }
    }

    #[test]
    fn a_whole_body_is_unpacked_up_to_the_limit() {
        let body = b"{\"data\":[]}".repeat(30_000);
        let parts = [gzip(&body[..7]), gzip(b""), gzip(&body[7..])].concat();
        let frames = [zstd_with_window(&body[..7], 20), zstd_with_window(&body[7..], 23)].concat();
        for (coding, packed) in [(Coding::Gzip, parts), (Coding::Deflate, zlib(&body)), (Coding::Zstd, frames)] {
            let most = body.len() as u64;
            assert_eq!(unpack(coding, &packed, most).unwrap(), body, "{coding:?}");
            assert!(matches!(unpack(coding, &packed, most - 1), Err(UnpackError::TooLarge(_))), "{coding:?}");
            assert!(unpack(coding, b"", 0).unwrap().is_empty(), "{coding:?}");
            for cut in [1, 9, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
                let error = unpack(coding, &packed[..cut], most).unwrap_err();
                assert!(matches!(error, UnpackError::Broken { .. }), "{coding:?} {cut}: {error}");
            }
            let half = coding.beginning(&packed[..packed.len() / 2], 1 << 20);
            assert!(body.starts_with(&half), "{coding:?}");
            assert_eq!(coding.beginning(&packed, 9), body[..9], "{coding:?}");
        }
    }

    #[test]
    fn what_follows_the_members_of_gzip_is_left() {
        for (behind, read) in [(&b"\0\0\0"[..], true), (b"\n", true), (b"\x1f", false), (b"\x1f\x8b\x08\0", false)] {
            let packed = [&gzip(b"one"), &gzip(b" two")[..], behind].concat();
            let found = unpack(Coding::Gzip, &packed, 100);
            assert_eq!(found.ok().as_deref(), read.then_some(&b"one two"[..]), "{behind:?}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_a_frame_asks_for() {
        let body = vec![b' '; 20 << 20];
        assert_eq!(unpack(Coding::Zstd, &zstd_with_window(&body, 23), 1 << 30).unwrap(), body);
        let error = unpack(Coding::Zstd, &zstd_with_window(&body, 24), 1 << 30).unwrap_err().to_string();
        assert_eq!(error, "it calls itself zstd, and cannot be unpacked: Frame requires too much memory for decoding");
        // "Large Window Brotli", which is none: a window of 1 GiB, and an empty last meta-block.
        let error = unpack(Coding::Brotli, &[0x11, 0x1e | 0x03 << 6, 0], 100).unwrap_err().to_string();
        assert_eq!(error, "it calls itself br, and cannot be unpacked: Invalid Data");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
                let beginning = coding.beginning(&bytes, 1000);
                if let Ok(body) = unpack(coding, &bytes, 1000) {
                    prop_assert_eq!(beginning, body);
                }
            }
        }
    }
}
