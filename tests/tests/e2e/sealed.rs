//! Opens what the daemon sealed with its state-key: a second implementation of the format, so that tests can look inside.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use std::path::Path;

/// What sealed bytes begin with.
const MAGIC: &[u8] = b"saas-export sealed 1\n";

/// Opens bytes that were sealed about `about`.
fn open(state_key: &[u8], about: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let rest = sealed.strip_prefix(MAGIC)?;
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"saas-export state-key 1").extract(state_key);
    let key: UnboundKey = secret.expand(&[b"seal"], &CHACHA20_POLY1305).ok()?.into();
    let (nonce, body) = rest.split_first_chunk::<12>()?;
    let mut body = body.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    Some(LessSafeKey::new(key).open_in_place(nonce, Aad::from(about), &mut body).ok()?.to_vec())
}

/// The entries of a journal, unpacked; with the state-key in the file `key`, those of a sealed one, too.
pub fn journal(path: &Path, key: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let key = std::fs::read(key).unwrap_or_default();
    let parts: Vec<_> = path.iter().rev().take(3).map(|part| part.to_str().unwrap()).collect();
    let about = format!("journal {}/{}/{}", parts[2], parts[1], parts[0]);
    let (mut plain, mut rest, mut first) = (Vec::new(), &bytes[..], String::new());
    for number in 0.. {
        let Some((length, tail)) = rest.split_first_chunk::<4>() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(entry) = tail.get(4..4 + length) else { break };
        let packed = match entry.starts_with(MAGIC) {
            true => open(&key, &format!("{about} {number} {first}"), entry).expect("an entry opens with the state-key"),
            false => entry.to_vec(),
        };
        if number == 0 {
            first = entry[entry.len() - 16..].iter().map(|byte| format!("{byte:02x}")).collect();
        }
        plain.extend(zstd::decode_all(&packed[..]).expect("an entry is packed with zstd"));
        rest = &tail[4 + length..];
    }
    plain
}
