//! The public keys that files are encrypted to, in the age format (age-encryption.org/v1).

use super::SealError;
use age::stream::StreamWriter;
use age::x25519::Recipient;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// Word of the format, as manifests say it.
pub const AGE: &str = "age";

/// Public keys; at least one.
#[derive(Clone)]
pub struct Recipients(Arc<[Recipient]>);

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

impl Recipients {
    /// Reads `age1…` texts.
    pub fn parse(texts: &[String]) -> Result<Self, SealError> {
        let keys = texts.iter().map(|text| text.parse::<Recipient>().map_err(|_| SealError::Recipient));
        let keys = keys.collect::<Result<Arc<[_]>, _>>()?;
        if keys.is_empty() { Err(SealError::Recipient) } else { Ok(Self(keys)) }
    }

    /// The keys as texts, in order.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Starts a file that any one of the identities decrypts; writes its header. Each call makes a key of its own, so that the
    /// same bytes never give the same file.
    pub(super) fn encrypt<W: Write>(&self, inner: W) -> io::Result<StreamWriter<W>> {
        let recipients = self.0.iter().map(|key| key as &dyn age::Recipient);
        age::Encryptor::with_recipients(recipients)
            .map_err(|_| io::Error::other("the recipients cannot be used together"))?
            .wrap_output(inner)
    }
}
