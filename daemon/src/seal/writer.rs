//! The way of a file's bytes to where they are stored: digest of the plain bytes, encryption, digest of what is stored.

use super::frames::FrameWriter;
use super::{Recipients, Seal};
use age::stream::StreamWriter;
use saas_export_manifest::{DigestWriter, Digester, Digests};
use std::io::{self, Write};
use std::sync::Arc;

/// How the bytes of a file are protected.
#[derive(Clone, Debug, Default)]
pub enum Sealing {
    /// They are not.
    #[default]
    None,
    /// Encrypted to public keys; what is published.
    Age(Recipients),
    /// Sealed with the state-key; what only this daemon reads again, by a [`super::FrameFile`].
    Own(Arc<Seal>),
}

/// Takes the plain bytes of a file, writes them as `sealing` says. It must be finished; nothing but the last bytes is held.
pub struct Writer<W: Write> {
    plain: Option<Digester>,
    body: Body<W>,
}

enum Body<W: Write> {
    None(DigestWriter<W>),
    Age(Box<StreamWriter<DigestWriter<W>>>),
    Own(Box<FrameWriter<DigestWriter<W>>>),
}

/// What went through a [`Writer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Digests of the file as it is stored.
    pub stored: Digests,
    /// Digests of what is in it, where that differs.
    pub plain: Option<Digests>,
}

impl<W: Write> Writer<W> {
    /// Starts a file; writes the header that its sealing has. `about` is what a file that is sealed with the state-key is
    /// bound to.
    pub fn new(sealing: &Sealing, about: &str, inner: W) -> io::Result<Self> {
        let inner = DigestWriter::new(inner);
        Ok(match sealing {
            Sealing::None => Self { plain: None, body: Body::None(inner) },
            Sealing::Age(recipients) => {
                Self { plain: Some(Digester::default()), body: Body::Age(Box::new(recipients.encrypt(inner)?)) }
            }
            Sealing::Own(seal) => {
                let frames = FrameWriter::new(seal, about, inner)?;
                Self { plain: Some(Digester::default()), body: Body::Own(Box::new(frames)) }
            }
        })
    }

    /// Ends the file and gives the inner writer back, unflushed.
    pub fn finish(self) -> io::Result<(W, Written)> {
        let digests = match self.body {
            Body::None(digests) => digests,
            Body::Age(age) => age.finish()?,
            Body::Own(frames) => frames.finish()?,
        };
        let (inner, stored) = digests.finish();
        Ok((inner, Written { stored, plain: self.plain.map(Digester::finish) }))
    }
}

impl<W: Write> Write for Writer<W> {
    /// Takes all of `bytes` or fails: a short write would leave the digests in doubt.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.body {
            Body::None(inner) => inner.write_all(bytes)?,
            Body::Age(inner) => inner.write_all(bytes)?,
            Body::Own(inner) => inner.write_all(bytes)?,
        }
        if let Some(plain) = &mut self.plain {
            plain.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.body {
            Body::None(inner) => inner.flush(),
            Body::Age(inner) => inner.flush(),
            Body::Own(inner) => inner.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::FrameFile;
    use age::x25519::Identity;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn write(sealing: &Sealing, plain: &[u8], piece: usize) -> (Vec<u8>, Written) {
        let mut writer = Writer::new(sealing, "x", Vec::new()).unwrap();
        plain.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        let (stored, written) = writer.finish().unwrap();
        assert_eq!(written.stored, Digests::of(&stored));
        (stored, written)
    }

    fn decrypt(identity: &Identity, sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let decryptor = age::Decryptor::new(sealed).unwrap();
        decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).unwrap().read_to_end(&mut plain).unwrap();
        plain
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn each_identity_decrypts_and_the_digests_are_right(
            length in prop_oneof![0usize..3, 65_530usize..65_540, 131_070usize..131_075],
            piece in 1usize..90_000,
        ) {
            let plain: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let identities = [Identity::generate(), Identity::generate()];
            let texts: Vec<String> = identities.iter().map(|identity| identity.to_public().to_string()).collect();
            let recipients = Recipients::parse(&texts).unwrap();
            prop_assert_eq!(recipients.texts(), texts);
            let (sealed, written) = write(&Sealing::Age(recipients.clone()), &plain, piece);
            for identity in &identities {
                prop_assert_eq!(decrypt(identity, &sealed), plain.clone());
            }
            prop_assert_eq!(written.plain, Some(Digests::of(&plain)));
            prop_assert!(age::Decryptor::new(&sealed[..]).unwrap()
                .decrypt(std::iter::once(&Identity::generate() as &dyn age::Identity)).is_err());
            prop_assert_ne!(write(&Sealing::Age(recipients), &plain, piece).0, sealed, "never the same file twice");

            let seal = Arc::new(Seal::new(&[1; 32]).unwrap());
            let (own, written) = write(&Sealing::Own(seal.clone()), &plain, piece);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&own).unwrap();
            let (file, mut back) = (FrameFile::new(&seal, "x", file).unwrap(), Vec::new());
            while back.len() < plain.len() {
                back.extend(file.read_from(back.len() as u64).unwrap());
            }
            prop_assert_eq!(&back, &plain);
            prop_assert_eq!(written.plain, Some(Digests::of(&plain)));

            let (same, written) = write(&Sealing::None, &plain, piece);
            prop_assert_eq!(same, plain);
            prop_assert_eq!(written.plain, None);
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        for texts in [vec![], vec!["age1x".to_owned()], vec!["hunter2".to_owned()]] {
            let told = Recipients::parse(&texts).unwrap_err().to_string();
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
