//! Encryption: recipients that are public keys, and keys that come from auth.env.

use super::Check;
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{AgeEncryption, Export, FileEncryption, FileLayout, Format, ParquetEncryption};
use crate::config::units::SecretText;
use std::collections::BTreeMap;

/// Public keys of one export: each adds a stanza to every file.
const MAX_RECIPIENTS: usize = 64;
/// Columns with keys of their own.
const MAX_COLUMNS: usize = 1000;
/// Characters of a prefix of the additional data.
const MAX_PREFIX: usize = 255;

impl Check<'_> {
    pub(super) fn encryption(&mut self, path: &KeyPath, export: &Export) {
        if let Some(FileEncryption::Age(age)) = &export.encryption {
            self.recipients(&path.key("encryption").key("age").key("recipients"), age);
        }
        let Format::Parquet(parquet) = &export.format else { return };
        let Some(encryption) = &parquet.encryption else { return };
        let here = path.key("format").key("parquet").key("encryption");
        self.parquet_encryption(&here, encryption);
        if export.layout == FileLayout::Single {
            let message =
                "does not go together with layout: single: encrypted row groups cannot be moved to another file";
            self.wrong(
                Mistake::key(&here, message)
                    .hint("leave layout out, or encrypt the file as a whole: encryption: { age: … }"),
            );
        }
    }

    /// The key that manifests are signed with.
    pub(super) fn signing_key(&mut self) {
        if let Some(key) = &self.config.daemon.signing_key {
            self.key(&KeyPath::of(&["daemon", "signing_key"]), key);
        }
    }

    fn recipients(&mut self, path: &KeyPath, age: &AgeEncryption) {
        if age.recipients.len() > MAX_RECIPIENTS {
            self.wrong(Mistake::value(path, format!("has more than {MAX_RECIPIENTS} recipients")));
        }
        let mut seen = BTreeMap::new();
        for (index, text) in age.recipients.iter().enumerate() {
            let here = path.item(index);
            // A secret key that was written here by mistake must not be shown.
            let wrong = match text.trim().get(..4).map(str::to_ascii_lowercase).as_deref() {
                Some("age-") => Mistake::value(&here, "is a secret identity, not a public key")
                    .hint("take it out of this file at once; `age-keygen -y FILE` prints the recipient that goes here"),
                Some("ssh-") => Mistake::value(&here, "is an SSH key, not an X25519 recipient")
                    .hint("make one with `age-keygen`: its public key begins with age1"),
                _ => match text.parse::<age::x25519::Recipient>() {
                    Ok(key) => match seen.insert(key.to_string(), index) {
                        None => continue,
                        Some(first) => Mistake::value(&here, format!("is the same recipient as number {}", first + 1))
                            .hint("remove one of them"),
                    },
                    Err(_) => Mistake::value(&here, "is not an X25519 recipient of age")
                        .hint("write the public key that `age-keygen` prints: age1 and 58 more characters"),
                },
            };
            self.wrong(wrong);
        }
    }

    fn parquet_encryption(&mut self, path: &KeyPath, encryption: &ParquetEncryption) {
        self.key(&path.key("footer_key"), &encryption.footer_key);
        let columns = path.key("columns");
        if encryption.columns.len() > MAX_COLUMNS {
            self.wrong(Mistake::value(&columns, format!("has more than {MAX_COLUMNS} columns")));
        }
        for (name, key) in &encryption.columns {
            if name.is_empty() {
                self.wrong(Mistake::key(&columns.key(name), "a column has a name"));
            }
            self.key(&columns.key(name), key);
        }
        if encryption.aad_prefix.as_ref().is_some_and(|text| text.is_empty() || text.chars().count() > MAX_PREFIX) {
            let message = format!("is empty or longer than {MAX_PREFIX} characters");
            self.wrong(Mistake::value(&path.key("aad_prefix"), message));
        }
    }

    fn key(&mut self, path: &KeyPath, key: &SecretText) {
        self.kept_apart(path, key);
        if key.0.is_empty() {
            self.wrong(Mistake::value(path, "is empty").hint("write \"${NAME}\" here and NAME=… in auth.env"));
        }
    }
}
