//! The requests to S3 that `object_store` lacks or does not leave to us: conditions, checksums, and uploads that are resumed.

use super::client::{Call, Client, Reply, THINK};
use super::failure::Failure;
use super::xml;
use crate::base::error::ErrorClass;
use crate::destinations::spooled::Piece;
use crate::model::upload::Part;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use reqwest::Response;

/// The metadata that says which file an object was made of.
pub const META_SHA256: &str = "x-amz-meta-saas-export-sha256";

/// Pages of a list that are read; each holds 1,000 entries.
const MAX_PAGES: usize = 100;

/// When an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When<'a> {
    /// Whatever is there.
    Always,
    /// Nothing is there.
    Absent,
    /// This version is there.
    Is(&'a str),
}

impl<'a> When<'a> {
    fn on(self, call: Call<'a>) -> Call<'a> {
        match self {
            Self::Always => call,
            Self::Absent => call.header("if-none-match", "*"),
            Self::Is(etag) => call.header("if-match", etag),
        }
    }
}

/// What new objects are: how they are kept, and what they were made of.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// Headers of the storage class and the encryption.
    pub headers: Vec<(&'static str, String)>,
}

impl Traits {
    fn on<'a>(&self, call: Call<'a>, sha256: &str) -> Call<'a> {
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.header(META_SHA256, sha256)
    }
}

/// What the store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole, lower-case hex.
    pub sha256: Option<String>,
    /// CRC-32C of the whole.
    pub crc32c: Option<u32>,
    /// CRC-32C of the parts' CRC-32C, as the store writes it.
    pub composite: Option<String>,
    /// SHA-256 of the file that it was made of, as its writer says.
    pub made_of: Option<String>,
}

/// An upload that is open at the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The whole key.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub since: Option<Timestamp>,
}

/// What the store has of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The parts; a checksum or an ETag is empty where the store does not tell it.
    pub parts: Vec<Part>,
    /// Whether it checks the whole object when it puts the parts together.
    pub whole: bool,
}

/// A CRC-32C as S3 writes it.
pub fn crc_text(crc32c: u32) -> String {
    BASE64.encode(crc32c.to_be_bytes())
}

/// A CRC-32C as S3 writes it, read.
pub fn crc_of(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(BASE64.decode(text).ok()?.try_into().ok()?))
}

impl Client {
    /// PutObject.
    pub async fn put(&self, key: &str, body: &Piece, when: When<'_>, traits: &Traits) -> Result<Reply, Failure> {
        self.put_as(key, (body, &BASE64.encode(body.sha256)), when, traits).await
    }

    /// PutObject with a checksum that may be wrong on purpose.
    pub async fn put_as(
        &self,
        key: &str,
        (body, checksum): (&Piece, &str),
        when: When<'_>,
        traits: &Traits,
    ) -> Result<Reply, Failure> {
        let call = Call::new("store", "s3:PutObject", Method::PUT, key).header("x-amz-checksum-sha256", checksum);
        self.tell(&when.on(traits.on(call, &crate::base::ids::hex(&body.sha256))), body).await
    }

    /// HeadObject with its checksums; `None` if it is not there.
    pub async fn look(&self, key: &str) -> Result<Option<Found>, Failure> {
        let right = "s3:GetObject, and s3:ListBucket so that it can tell a missing object from a forbidden one";
        let call = Call::new("look at", right, Method::HEAD, key).header("x-amz-checksum-mode", "ENABLED");
        match self.ask(&call).await {
            Ok(reply) => found(&reply).map(Some).ok_or_else(|| self.strange(&call, "an answer without a length")),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// GetObject; `None` if it is not there. [`Client::next`] gives its pieces.
    pub async fn get(&self, key: &str) -> Result<Option<Response>, Failure> {
        match self.open(&get(key)).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// DeleteObject; one that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), Failure> {
        match self.ask(&Call::new("delete", "s3:DeleteObject", Method::DELETE, key)).await {
            Err(failure) if !failure.is_missing() => Err(failure),
            _ => Ok(()),
        }
    }

    /// CreateMultipartUpload. Whether the store will check the whole object comes back with the id.
    pub async fn begin(&self, key: &str, sha256: &str, traits: &Traits) -> Result<(String, bool), Failure> {
        let call = Call::new("begin to store", "s3:PutObject", Method::POST, key).query("uploads", "");
        let call = traits.on(call, sha256).header("x-amz-checksum-algorithm", "CRC32C");
        let reply = match self.ask(&call.clone().header("x-amz-checksum-type", "FULL_OBJECT")).await {
            Err(failure) if failure.is_unknown_to_it() => self.ask(&call).await?,
            other => other?,
        };
        let id = xml::text(&reply.body, "UploadId").filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| self.strange(&call, "an answer without an upload's id"))?;
        Ok((id, reply.header("x-amz-checksum-type") == Some("FULL_OBJECT")))
    }

    /// UploadPart; the part as it is to be noted.
    pub async fn part(&self, key: &str, upload: &str, number: u32, body: &Piece) -> Result<Part, Failure> {
        let checksum = crc_text(body.crc32c);
        let call = Call::new("store a part of", "s3:PutObject", Method::PUT, key)
            .query("partNumber", number.to_string())
            .query("uploadId", upload)
            .header("x-amz-checksum-crc32c", &checksum);
        let reply = self.tell(&call, body).await?;
        let etag = reply.header("etag").map(bare).filter(|etag| !etag.is_empty());
        let etag = etag.ok_or_else(|| self.strange(&call, "an answer without an ETag"))?.to_owned();
        Ok(Part { number, bytes: body.bytes.len() as u64, checksum, etag })
    }

    /// ListParts, all pages; `None` if the store does not know the upload.
    pub async fn parts(&self, key: &str, upload: &str) -> Result<Option<Listed>, Failure> {
        let mut listed = Listed::default();
        let mut after = String::new();
        for _ in 0..MAX_PAGES {
            let mut call = Call::new("list the parts of", "s3:ListMultipartUploadParts", Method::GET, key)
                .query("uploadId", upload);
            if !after.is_empty() {
                call = call.query("part-number-marker", after.clone());
            }
            let reply = match self.ask(&call).await {
                Err(failure) if failure.is_missing() => return Ok(None),
                other => other?,
            };
            let parts = xml::each(&reply.body, "Part").map(part_of).collect::<Option<Vec<_>>>();
            listed.parts.extend(parts.ok_or_else(|| self.strange(&call, "a list that cannot be read"))?);
            listed.whole = xml::text(&reply.body, "ChecksumType").is_some_and(|kind| kind == "FULL_OBJECT");
            let next = xml::text(&reply.body, "NextPartNumberMarker").unwrap_or_default();
            if !is_truncated(&reply.body) || next.is_empty() || next == after {
                return Ok(Some(listed));
            }
            after = next;
        }
        Ok(Some(listed))
    }

    /// CompleteMultipartUpload. With `whole`, the store compares the CRC-32C of the whole object.
    pub async fn complete(
        &self,
        (key, upload): (&str, &str),
        parts: &[Part],
        when: When<'_>,
        whole: Option<u32>,
    ) -> Result<(), Failure> {
        let mut call = Call::new("complete", "s3:PutObject", Method::POST, key).query("uploadId", upload);
        call.patience = THINK;
        if let Some(crc32c) = whole {
            call = call.header("x-amz-checksum-crc32c", &crc_text(crc32c)).header("x-amz-checksum-type", "FULL_OBJECT");
        }
        let part = |part: &Part| {
            format!(
                "<Part><PartNumber>{}</PartNumber><ETag>\"{}\"</ETag><ChecksumCRC32C>{}</ChecksumCRC32C></Part>",
                part.number,
                xml::escape(&part.etag),
                xml::escape(&part.checksum)
            )
        };
        let parts: String = parts.iter().map(part).collect();
        let space = "http://s3.amazonaws.com/doc/2006-03-01/";
        let body = format!("<CompleteMultipartUpload xmlns=\"{space}\">{parts}</CompleteMultipartUpload>");
        let call = when.on(call.header("content-type", "application/xml"));
        self.tell(&call, &Piece::of(Bytes::from(body))).await.map(drop)
    }

    /// AbortMultipartUpload, until nothing of it is left: parts that were on their way may still have arrived.
    pub async fn abort(&self, key: &str, upload: &str) -> Result<(), Failure> {
        for _ in 0..3 {
            let call = Call::new("give up the upload of", "s3:AbortMultipartUpload", Method::DELETE, key);
            match self.ask(&call.query("uploadId", upload)).await {
                Err(failure) if !failure.is_missing() => return Err(failure),
                Err(_) => return Ok(()),
                Ok(_) => {}
            }
            if self.parts(key, upload).await?.is_none_or(|left| left.parts.is_empty()) {
                break;
            }
        }
        Ok(())
    }

    /// ListMultipartUploads below a prefix, all pages.
    pub async fn open_uploads(&self, prefix: &str) -> Result<Vec<Open>, Failure> {
        let mut all = Vec::new();
        let (mut key, mut id) = (String::new(), String::new());
        for _ in 0..MAX_PAGES {
            let mut call = Call::new("list the open uploads of", "s3:ListBucketMultipartUploads", Method::GET, "")
                .query("uploads", "")
                .query("prefix", prefix);
            if !key.is_empty() {
                call = call.query("key-marker", key.clone()).query("upload-id-marker", id.clone());
            }
            let reply = self.ask(&call).await?;
            let uploads = xml::each(&reply.body, "Upload").map(open_of).collect::<Option<Vec<_>>>();
            all.extend(uploads.ok_or_else(|| self.strange(&call, "a list that cannot be read"))?);
            let next = |name| xml::text(&reply.body, name).unwrap_or_default();
            let (next_key, next_id) = (next("NextKeyMarker"), next("NextUploadIdMarker"));
            if !is_truncated(&reply.body) || next_key.is_empty() || (&next_key, &next_id) == (&key, &id) {
                break;
            }
            (key, id) = (next_key, next_id);
        }
        Ok(all)
    }

    fn strange(&self, call: &Call<'_>, what: &str) -> Failure {
        Failure::odd(call, self.location(call.key), ErrorClass::Transient, format!("the store sent {what}"))
    }
}

/// The request that reads an object.
pub fn get(key: &str) -> Call<'_> {
    Call::new("read", "s3:GetObject", Method::GET, key)
}

/// The version that an answer names.
pub fn version(headers: &http::HeaderMap) -> Option<String> {
    Some(headers.get("etag")?.to_str().ok()?.to_owned())
}

/// An ETag without its quotes, which some stores leave out.
fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

fn is_truncated(xml: &str) -> bool {
    xml::text(xml, "IsTruncated").is_some_and(|text| text == "true")
}

fn found(reply: &Reply) -> Option<Found> {
    let text = |name: &str| reply.header(name).map(str::to_owned);
    let crc = text("x-amz-checksum-crc32c");
    // `-3` behind a checksum says that it is one of three parts' checksums.
    let parted = |value: &String| value.contains('-') || reply.header("x-amz-checksum-type") == Some("COMPOSITE");
    let sha256 = text("x-amz-checksum-sha256").filter(|value| !parted(value));
    Some(Found {
        bytes: reply.header("content-length")?.parse().ok()?,
        sha256: sha256.and_then(|text| Some(crate::base::ids::hex(&BASE64.decode(text).ok()?))),
        crc32c: crc.as_ref().filter(|value| !parted(value)).and_then(|text| crc_of(text)),
        composite: crc.filter(parted),
        made_of: text(META_SHA256),
    })
}

fn part_of(xml: &str) -> Option<Part> {
    Some(Part {
        number: xml::text(xml, "PartNumber")?.parse().ok()?,
        bytes: xml::text(xml, "Size")?.parse().ok()?,
        checksum: xml::text(xml, "ChecksumCRC32C").unwrap_or_default(),
        // Not every store tells it here.
        etag: bare(&xml::text(xml, "ETag").unwrap_or_default()).to_owned(),
    })
}

fn open_of(xml: &str) -> Option<Open> {
    Some(Open {
        key: xml::text(xml, "Key")?,
        id: xml::text(xml, "UploadId")?,
        since: xml::text(xml, "Initiated").and_then(|text| text.parse().ok()),
    })
}
