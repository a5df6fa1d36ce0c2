//! SHA-256 and HMAC-SHA-256 (RFC 2104) of values, in hex.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Hashes values; the work that is the same for all of them is done once.
#[derive(Clone)]
pub struct Hash {
    inner: Sha256,
    /// The outer hash of an HMAC, up to the inner digest.
    outer: Option<Sha256>,
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its states come from the key.
        f.debug_struct("Hash").field("keyed", &self.outer.is_some()).finish_non_exhaustive()
    }
}

impl Hash {
    /// A hash, with a key an HMAC.
    pub fn new(key: Option<&[u8]>) -> Self {
        let Some(key) = key else { return Self { inner: Sha256::new(), outer: None } };
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            for (to, from) in block.iter_mut().zip(Sha256::digest(key)) {
                *to = from;
            }
        } else {
            for (to, from) in block.iter_mut().zip(key) {
                *to = *from;
            }
        }
        let padded = |pad: u8| {
            let mut hash = Sha256::new();
            hash.update(block.map(|byte| byte ^ pad));
            hash
        };
        Self { inner: padded(0x36), outer: Some(padded(0x5c)) }
    }

    /// Appends the hash of a text as a JSON string.
    pub fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let mut hash = self.inner.clone();
        hash.update(text);
        let mut digest = hash.finalize();
        if let Some(outer) = &self.outer {
            let mut hash = outer.clone();
            hash.update(digest);
            digest = hash.finalize();
        }
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        out.push(b'"');
        for byte in digest {
            for digit in [byte >> 4, byte & 15] {
                out.push(DIGITS.get(usize::from(digit)).copied().unwrap_or_default());
            }
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: Option<&[u8]>, text: &[u8]) -> String {
        let mut out = Vec::new();
        Hash::new(key).write(text, &mut out);
        String::from_utf8(out).unwrap().trim_matches('"').to_owned()
    }

    #[test]
    fn known_answers() {
        // FIPS 180-2, and the test cases 1, 2 and 6 of RFC 4231.
        assert_eq!(hex(None, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex(Some(&[0x0b; 20]), b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(Some(b"Jefe"), b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(Some(&[0xaa; 131]), b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Hash::new(Some(b"pepper"))), "Hash { keyed: true, .. }");
    }
}
