//! SHA-256 and CRC-32C (Castagnoli) of the same bytes, computed in one pass.

use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// The digests of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// CRC-32C (RFC 3720, appendix B.4).
    pub crc32c: u32,
    /// Length in bytes.
    pub bytes: u64,
}

/// Takes bytes in pieces and gives their digests.
#[derive(Clone, Debug, Default)]
pub struct Digester {
    sha256: Sha256,
    crc32c: u32,
    bytes: u64,
}

impl Digester {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digests of everything added.
    pub fn finish(self) -> Digests {
        Digests { sha256: hex(&self.sha256.finalize()), crc32c: self.crc32c, bytes: self.bytes }
    }
}

impl Digests {
    /// The digests of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digester = Digester::default();
        digester.update(bytes);
        digester.finish()
    }

    /// The digests of everything `reader` gives; `progress` gets the length of each piece.
    pub fn read(mut reader: impl Read, mut progress: impl FnMut(u64)) -> io::Result<Self> {
        let mut digester = Digester::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match reader.read(&mut buffer) {
                Ok(0) => return Ok(digester.finish()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            digester.update(buffer.get(..length).unwrap_or_default());
            progress(length as u64);
        }
    }
}

/// Passes bytes on and keeps their digests.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    digester: Digester,
}

impl<W> DigestWriter<W> {
    /// Starts with the digests of nothing.
    pub fn new(inner: W) -> Self {
        Self { inner, digester: Digester::default() }
    }

    /// Bytes passed on so far.
    pub fn bytes(&self) -> u64 {
        self.digester.bytes
    }

    /// The inner writer.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Gives the inner writer back, unflushed, with the digests of what went through.
    pub fn finish(self) -> (W, Digests) {
        (self.inner, self.digester.finish())
    }
}

impl<W: Write> Write for DigestWriter<W> {
    /// Takes all of `bytes` or fails: a short write would leave the digests in doubt.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(bytes)?;
        self.digester.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-2 appendix B.1; CRC catalogue, CRC-32/ISCSI.
        assert_eq!(Digests::of(b"abc").sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digests::of(b"123456789").crc32c, 0xe306_9283);
        assert_eq!(Digests::of(b"").bytes, 0);
    }

    #[test]
    fn pieces_do_not_matter() {
        let data: Vec<u8> = (0..600_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut writer = DigestWriter::new(Vec::new());
        for piece in data.chunks(997) {
            writer.write_all(piece).unwrap();
        }
        let (copy, digests) = writer.finish();
        assert_eq!(copy, data);
        assert_eq!(digests, Digests::of(&data));
        let mut seen = 0;
        assert_eq!(Digests::read(&data[..], |n| seen += n).unwrap(), digests);
        assert_eq!(seen, data.len() as u64);
    }

    #[test]
    fn a_failed_write_counts_nothing() {
        let mut space = [0u8; 4];
        let mut writer = DigestWriter::new(&mut space[..]);
        writer.write_all(b"1234").unwrap();
        assert!(writer.write_all(b"5").is_err());
        assert_eq!(writer.finish().1, Digests::of(b"1234"));
    }
}
