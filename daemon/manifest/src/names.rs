//! Names of the objects of a published stream.

use crate::SUMS_NAME;

/// Signature of the manifest, where it is signed.
const SIGNATURE: &str = "_manifest.json.sig";

/// Names of what may lie beside a manifest and its segments: the checksums, and a signature.
pub fn beside() -> [&'static str; 2] {
    [SUMS_NAME, SIGNATURE]
}
