//! Files that only this daemon reads again, sealed with the state-key as they are written, and read in the same way.
//!
//! ```text
//! magic, 32 random bytes (the file's id), frame*
//! frame: u32 length of what follows (little-endian), ChaCha20-Poly1305 of at most 64 KiB with its tag
//! ```
//! Each file has a key of its own, derived from the state-key and its id; the nonce is the frame's number. What the file is
//! about, and whether a frame is the last, are authenticated with each frame: frames cannot be exchanged, left out, taken
//! from another file or cut off unnoticed.

use super::{Seal, SealError};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// What such a file begins with.
const MAGIC: &[u8] = b"saas-export frames 1\n";
/// Random bytes that name a file.
const ID: usize = 32;
/// Plain bytes in a frame.
const FRAME: usize = 64 << 10;
/// Bytes that a frame is longer than what is in it.
const TAG: usize = 16;
/// Bytes that say how long a frame is.
const LENGTH: usize = 4;
/// Bytes of a full frame as it stands in the file.
const STORED: u64 = (LENGTH + FRAME + TAG) as u64;

/// Key and counter of one file.
struct Cipher {
    key: LessSafeKey,
    about: Vec<u8>,
    number: u64,
}

impl Cipher {
    fn new(seal: &Seal, about: &str, id: &[u8; ID]) -> io::Result<Self> {
        let file: [&[u8]; 2] = [b"frames", id];
        let key = seal.secret.expand(&file, &CHACHA20_POLY1305).map_err(|_| crypto())?;
        let key = LessSafeKey::new(key.into());
        Ok(Self { key, about: about.as_bytes().to_vec(), number: 0 })
    }

    fn next(&mut self, last: bool) -> (Nonce, Aad<Vec<u8>>) {
        self.number += 1;
        sealed_with(&self.about, self.number - 1, last)
    }
}

/// The nonce of a frame, and what is authenticated with it.
fn sealed_with(about: &[u8], number: u64, last: bool) -> (Nonce, Aad<Vec<u8>>) {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    let aad = [about, &[u8::from(last)]].concat();
    (Nonce::assume_unique_for_key(nonce), Aad::from(aad))
}

/// Seals what is written to it.
pub struct FrameWriter<W> {
    inner: W,
    cipher: Cipher,
    pending: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    /// Starts a file about `about`.
    pub fn new(seal: &Seal, about: &str, mut inner: W) -> io::Result<Self> {
        let mut id = [0; ID];
        SystemRandom::new().fill(&mut id).map_err(|_| crypto())?;
        inner.write_all(MAGIC)?;
        inner.write_all(&id)?;
        Ok(Self { inner, cipher: Cipher::new(seal, about, &id)?, pending: Vec::with_capacity(FRAME + TAG) })
    }

    fn frame(&mut self, last: bool) -> io::Result<()> {
        let (nonce, aad) = self.cipher.next(last);
        self.cipher.key.seal_in_place_append_tag(nonce, aad, &mut self.pending).map_err(|_| crypto())?;
        let length = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        self.inner.write_all(&length.to_le_bytes())?;
        self.inner.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Writes the last frame and gives the inner writer back, unflushed. Without it the file does not open.
    pub fn finish(mut self) -> io::Result<W> {
        self.frame(true)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() == FRAME {
            self.frame(false)?;
        }
        let taken = bytes.len().min(FRAME - self.pending.len());
        self.pending.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file that a [`FrameWriter`] wrote, read at any place. Its errors of the kind `InvalidData` hold a [`SealError`].
pub struct FrameFile {
    file: File,
    key: LessSafeKey,
    about: Vec<u8>,
    /// Number of the last frame.
    last: u64,
    plain: u64,
}

impl FrameFile {
    /// Opens a file about `about`.
    pub fn new(seal: &Seal, about: &str, file: File) -> io::Result<Self> {
        let mut head = [0; MAGIC.len() + ID];
        file.read_exact_at(&mut head, 0).map_err(|_| not_sealed())?;
        let (magic, id) = head.split_at(MAGIC.len());
        let id = id.try_into().map_err(|_| not_sealed())?;
        if magic != MAGIC {
            return Err(not_sealed());
        }
        let stored = file.metadata()?.len().saturating_sub(head.len() as u64);
        let last = stored.checked_sub(1).ok_or_else(not_sealed)? / STORED;
        let rest = (stored - last * STORED).checked_sub((LENGTH + TAG) as u64).ok_or_else(not_sealed)?;
        let Cipher { key, about, .. } = Cipher::new(seal, about, id)?;
        Ok(Self { file, key, about, last, plain: last * FRAME as u64 + rest })
    }

    /// Plain bytes in it; that none are missing at its end is only known once the last of them is read.
    pub fn plain_bytes(&self) -> u64 {
        self.plain
    }

    /// The plain bytes from `at` to the end of the frame that holds them; none behind the last.
    pub fn read_from(&self, at: u64) -> io::Result<Vec<u8>> {
        let number = at / FRAME as u64;
        // A last frame without bytes is looked at, too: it says that it is the last.
        if number > self.last {
            return Ok(Vec::new());
        }
        let rest = self.plain - number * FRAME as u64;
        let length = usize::try_from(rest).unwrap_or(FRAME).min(FRAME) + TAG;
        let mut frame = vec![0; LENGTH + length];
        let place = (MAGIC.len() + ID) as u64 + number * STORED;
        self.file.read_exact_at(&mut frame, place).map_err(|_| not_sealed())?;
        let mut sealed = frame.split_off(LENGTH);
        if frame != u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes() {
            return Err(not_sealed());
        }
        let (nonce, aad) = sealed_with(&self.about, number, number == self.last);
        let plain = match self.key.open_in_place(nonce, aad, &mut sealed) {
            Ok(plain) => plain.len(),
            Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, SealError::OtherKey)),
        };
        sealed.truncate(plain);
        let skipped = usize::try_from(at % FRAME as u64).unwrap_or_default().min(plain);
        sealed.drain(..skipped);
        Ok(sealed)
    }
}

fn crypto() -> io::Error {
    io::Error::other(SealError::Crypto)
}

fn not_sealed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, SealError::NotSealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(seal: &Seal, about: &str, plain: &[u8]) -> Vec<u8> {
        let mut writer = FrameWriter::new(seal, about, Vec::new()).unwrap();
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn opened(seal: &Seal, about: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile()?;
        file.write_all(sealed)?;
        let file = FrameFile::new(seal, about, file)?;
        let mut plain = Vec::new();
        loop {
            // At the end of the last full frame an empty one may follow, which is asked for, too.
            let piece = file.read_from(plain.len() as u64)?;
            if piece.is_empty() {
                assert_eq!(plain.len() as u64, file.plain_bytes());
                return Ok(plain);
            }
            plain.extend(piece);
        }
    }

    #[test]
    fn frames_cannot_be_exchanged_or_left_out() {
        let seal = Seal::new(&[1; 32]).unwrap();
        let plain: Vec<u8> = (0..3 * FRAME + 5).map(|i| (i % 251) as u8).collect();
        let whole = sealed(&seal, "x", &plain);
        assert_eq!(opened(&seal, "x", &whole).unwrap(), plain);
        let (head, frame) = (MAGIC.len() + ID, 4 + FRAME + TAG);
        let cut = &whole[..head + 3 * frame];
        assert!(opened(&seal, "x", cut).is_err(), "the last frame is missing");
        let mut swapped = whole.clone();
        swapped[head..head + 2 * frame].rotate_left(frame);
        assert!(opened(&seal, "x", &swapped).is_err(), "two frames are exchanged");
        let mut without = whole.clone();
        without.drain(head..head + frame);
        assert!(opened(&seal, "x", &without).is_err(), "the first frame is missing");
        let mut other = sealed(&seal, "x", &plain);
        other[head..head + frame].copy_from_slice(&whole[head..head + frame]);
        assert!(opened(&seal, "x", &other).is_err(), "a frame is from another file");
        assert!(opened(&seal, "y", &whole).is_err(), "it is about something else");
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_and_nothing_else(
            length in prop_oneof![0usize..300, FRAME - 2..FRAME + 3, 2 * FRAME - 1..2 * FRAME + 2],
            at in any::<prop::sample::Index>(),
        ) {
            let seal = Seal::new(&[1; 32]).unwrap();
            let plain: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            let mut bytes = sealed(&seal, "x", &plain);
            prop_assert_eq!(opened(&seal, "x", &bytes).unwrap(), plain.clone());
            let at = at.index(bytes.len());
            prop_assert!(opened(&seal, "x", &bytes[..at]).is_err());
            bytes[at] ^= 1;
            prop_assert!(opened(&seal, "x", &bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_open(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let seal = Seal::new(&[1; 32]).unwrap();
            prop_assert!(opened(&seal, "x", &tail).is_err());
            prop_assert!(opened(&seal, "x", &[MAGIC, &tail].concat()).is_err());
        }
    }
}
