//! Names of the objects of a published stream.

use crate::{SIGNATURE_NAME, SUMS_NAME};

/// Names of what may lie beside a manifest and its segments: the checksums, and a signature.
pub fn beside() -> [&'static str; 2] {
    [SUMS_NAME, SIGNATURE_NAME]
}
