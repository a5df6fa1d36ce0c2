//! Object stores: endpoints, buckets, prefixes, who writes and how much at a time.

use super::Check;
use super::sources::{bare, has_user, web_url};
use crate::config::path::KeyPath;
use crate::config::problem::Mistake;
use crate::config::settings::{
    AzureCredentials, AzureDestination, Destination, GcsCredentials, GcsDestination, S3Credentials, S3Destination,
    S3Encryption, Transfer,
};

/// The smallest part of a multipart upload that S3 takes, but for the last one.
const SMALLEST_PART: u64 = 5 << 20;

/// Bytes of a prefix; a key has 1,024 in all.
const MAX_PREFIX: usize = 500;

/// Classes from which an object must be ordered back before it can be read.
const COLD: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl Check<'_> {
    pub(super) fn stores(&mut self) {
        for (name, destination) in &self.config.destinations {
            let path = KeyPath::of(&["destinations", name.as_str()]);
            match destination {
                Destination::S3(s3) => self.s3(&path.key("s3"), s3),
                Destination::Gcs(gcs) => self.gcs(&path.key("gcs"), gcs),
                Destination::Azure(azure) => self.azure(&path.key("azure"), azure),
                _ => {}
            }
        }
    }

    fn s3(&mut self, path: &KeyPath, s3: &S3Destination) {
        self.bucket(&path.key("bucket"), &s3.bucket);
        self.words(&path.key("region"), &s3.region, "a region", "eu-central-1");
        self.store(path, s3.endpoint.as_deref(), &s3.prefix, &s3.transfer);
        let credentials = path.key("credentials");
        match &s3.credentials {
            S3Credentials::Static(key) => {
                let path = credentials.key("static");
                self.kept_apart(&path.key("secret_access_key"), &key.secret_access_key);
                if let Some(token) = &key.session_token {
                    self.kept_apart(&path.key("session_token"), token);
                }
            }
            S3Credentials::WebIdentity(identity) => {
                let path = credentials.key("web_identity");
                if let Some(file) = &identity.token_file {
                    self.absolute(&path.key("token_file"), file);
                }
                if identity.role_arn.as_ref().is_some_and(|arn| !arn.starts_with("arn:")) {
                    let mistake = Mistake::value(&path.key("role_arn"), "is no ARN of a role");
                    self.wrong(mistake.hint("write e.g. arn:aws:iam::123456789012:role/exports"));
                }
            }
            S3Credentials::Instance {} => {}
        }
        if let Some(S3Encryption::SseKms(kms)) = &s3.encryption
            && let Some(id) = &kms.key_id
            && (id.is_empty() || !is_visible(id))
        {
            let path = path.key("encryption").key("sse_kms").key("key_id");
            self.wrong(Mistake::value(&path, "is no id of a key"));
        }
        if let Some(class) = &s3.storage_class {
            self.storage_class(&path.key("storage_class"), class);
        }
        let tls = path.key("tls");
        for (key, file) in [("ca_file", &s3.tls.ca_file), ("client_identity", &s3.tls.client_identity)] {
            if let Some(file) = file {
                self.absolute(&tls.key(key), file);
            }
        }
        if s3.transfer.in_flight.0 < SMALLEST_PART {
            let message = format!("is less than one part of a file, which has at least {SMALLEST_PART} bytes");
            self.wrong(Mistake::value(&path.key("transfer").key("in_flight"), message));
        }
    }

    fn gcs(&mut self, path: &KeyPath, gcs: &GcsDestination) {
        self.bucket(&path.key("bucket"), &gcs.bucket);
        self.store(path, gcs.endpoint.as_deref(), &gcs.prefix, &gcs.transfer);
        if let GcsCredentials::ServiceAccount(account) = &gcs.credentials {
            self.kept_apart(&path.key("credentials").key("service_account"), account);
        }
    }

    fn azure(&mut self, path: &KeyPath, azure: &AzureDestination) {
        self.words(&path.key("account"), &azure.account, "a storage account", "acme");
        self.bucket(&path.key("container"), &azure.container);
        self.store(path, azure.endpoint.as_deref(), &azure.prefix, &azure.transfer);
        let credentials = path.key("credentials");
        match &azure.credentials {
            AzureCredentials::Key(key) => self.kept_apart(&credentials.key("key"), key),
            AzureCredentials::Sas(sas) => self.kept_apart(&credentials.key("sas"), sas),
            AzureCredentials::Instance {} => {}
        }
    }

    /// What all object stores have.
    fn store(&mut self, path: &KeyPath, endpoint: Option<&str>, prefix: &str, transfer: &Transfer) {
        if let Some(endpoint) = endpoint {
            self.store_url(&path.key("endpoint"), endpoint);
        }
        let here = path.key("prefix");
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if prefix.len() > MAX_PREFIX {
            self.wrong(Mistake::value(&here, format!("is longer than {MAX_PREFIX} bytes")));
        } else if !prefix.is_empty() && (prefix.split('/').any(odd) || !prefix.chars().all(is_plain)) {
            let mistake = Mistake::value(&here, "is no prefix of keys");
            self.wrong(mistake.hint("letters, digits and -_.=/ , not starting or ending with /, e.g. exports/shop"));
        }
        if transfer.per_second.is_some_and(|rate| rate.0 < u64::from(transfer.connections) * 2_000) {
            let path = path.key("transfer").key("per_second");
            self.wrong(Mistake::value(&path, "is too slow for so many connections").hint("lower connections"));
        }
    }

    /// The URL is not shown: an operator may have put a password into it.
    fn store_url(&mut self, path: &KeyPath, text: &str) {
        let mistake = match web_url(text) {
            None => Mistake::value(path, "is not an absolute http or https URL"),
            Some(url) if has_user(&url) => Mistake::value(path, "must not hold a user name or password"),
            // An account's name stands in the path of an emulator of Azure.
            Some(url) if url.query().is_some() || url.fragment().is_some() => {
                Mistake::value(path, "must not have a query or fragment")
            }
            Some(url) if !bare(&url) && path.key_at(2) != Some("azure") => Mistake::value(path, "must not have a path"),
            Some(_) => return,
        };
        self.wrong(mistake.hint("write e.g. https://s3.example.com, and the bucket under its own key"));
    }

    fn bucket(&mut self, path: &KeyPath, name: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_' | '$');
        if !(3..=222).contains(&name.len()) || !name.chars().all(plain) || name.starts_with(['-', '.']) {
            let mistake = Mistake::value(path, "is no name of a bucket or container");
            self.wrong(mistake.hint("3 or more lower-case letters, digits, - and ."));
        }
    }

    fn words(&mut self, path: &KeyPath, text: &str, what: &str, example: &str) {
        if text.is_empty() || text.len() > 64 || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            let mistake = Mistake::value(path, format!("is no name of {what}"));
            self.wrong(mistake.hint(format!("write e.g. {example}")));
        }
    }

    fn storage_class(&mut self, path: &KeyPath, class: &str) {
        if COLD.contains(&class) {
            let mistake = Mistake::value(path, "objects of this class cannot be read without being restored first");
            self.wrong(mistake.hint("write GLACIER_IR or STANDARD_IA, and move them by a rule of the bucket"));
        } else if class.is_empty() || !class.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            self.wrong(Mistake::value(path, "is no storage class").hint("write e.g. STANDARD_IA"));
        }
    }
}

fn is_visible(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic())
}

/// Characters of keys that no store, URL or shell reads differently.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '/')
}
