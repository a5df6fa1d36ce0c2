//! Compares a body with the digests that came with it: `Content-Digest` and `Repr-Digest` (RFC 9530), `Digest` (RFC 3230)
//! and `Content-MD5` (RFC 1864).
//!
//! All of them are about the bytes as they were sent, compressed or not. What stands between us and the server may have
//! compressed the body, and left the digest as it was: one of a compressed body that is that of neither says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512};

/// Characters of a header of digests that are looked at, and digests in it.
const MAX_HEADER: usize = 4096;
const MAX_DIGESTS: usize = 16;

/// The headers, and whether each is about the representation, which only the answer to a GET is sure to be.
const HEADERS: [(&str, bool); 4] =
    [("content-digest", false), ("repr-digest", true), ("digest", true), ("content-md5", false)];

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// There is no digest that is known here.
    Absent,
    /// All of them are those of the body.
    Same,
    /// The body came compressed, and a digest is neither that of the compressed body nor that of the body.
    Unknown,
}

/// A digest that is not that of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs {
    /// Name of the header.
    pub header: &'static str,
    /// Name of the algorithm.
    pub algorithm: &'static str,
}

/// Algorithms of digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5: against accidents alone.
    Md5,
    /// CRC-32C (Castagnoli): against accidents alone.
    Crc32c,
}

impl Algorithm {
    /// The name that headers have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
            Self::Md5 => "md5",
            Self::Crc32c => "crc32c",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Sha256, Self::Sha512, Self::Md5];
        all.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The digest of some bytes; a CRC with its highest byte first.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
            Self::Md5 => Md5::digest(bytes).to_vec(),
            Self::Crc32c => crc32c::crc32c(bytes).to_be_bytes().to_vec(),
        }
    }

    /// Whether a text says the digest of some bytes, in hex or base64.
    pub fn matches(self, text: &str, bytes: &[u8]) -> bool {
        let digest = self.of(bytes);
        let hex = crate::base::ids::hex(&digest);
        let text = text.trim();
        text.eq_ignore_ascii_case(&hex) || text.trim_end_matches('=') == STANDARD.encode(&digest).trim_end_matches('=')
    }
}

/// Compares a body as it was sent, and as it was before it was compressed if it was, with the digests in the headers of its answer.
pub fn compare(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    (sent, unpacked): (&[u8], Option<&[u8]>),
) -> Result<Compared, Differs> {
    let mut compared = Compared::Absent;
    for (header, of_representation) in HEADERS {
        if of_representation && (method != Method::GET || status != StatusCode::OK) {
            continue;
        }
        let values = headers.get_all(HeaderName::from_static(header)).iter().filter_map(|value| value.to_str().ok());
        for (algorithm, digest) in values.filter(|text| text.len() <= MAX_HEADER).flat_map(|text| digests(header, text))
        {
            if digest == algorithm.of(sent) || unpacked.is_some_and(|body| digest == algorithm.of(body)) {
                compared = if compared == Compared::Unknown { compared } else { Compared::Same };
            } else if unpacked.is_none() {
                return Err(Differs { header, algorithm: algorithm.name() });
            } else {
                compared = Compared::Unknown;
            }
        }
    }
    Ok(compared)
}

/// The digests of a header whose algorithm is known; what cannot be read is none.
fn digests(header: &'static str, text: &str) -> Vec<(Algorithm, Vec<u8>)> {
    if header == "content-md5" {
        return STANDARD.decode(text.trim()).map(|digest| (Algorithm::Md5, digest)).into_iter().collect();
    }
    let one = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let algorithm = Algorithm::from_name(name.trim())?;
        // A byte sequence of a structured field (RFC 8941) stands between colons, and may have parameters.
        let value = value.trim();
        let value = match value.strip_prefix(':') {
            Some(rest) => rest.split_once(':')?.0,
            None => value.split(';').next()?.trim(),
        };
        Some((algorithm, STANDARD.decode(value).ok()?))
    };
    text.split(',').take(MAX_DIGESTS).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9530, appendix B.1.
    const BODY: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA256: &str = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";
    const SHA512: &str = "YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn look(pairs: &[(&'static str, &str)], body: &[u8]) -> Result<Compared, Differs> {
        compare(&Method::GET, StatusCode::OK, &headers(pairs), (body, None))
    }

    #[test]
    fn the_examples_of_the_documents() {
        let (sha256, sha512) = (format!("sha-256=:{SHA256}:"), format!("sha-512=:{SHA512}:"));
        let old = format!("SHA-256={SHA256},unixsum=30637");
        for (header, text) in [
            ("content-digest", sha256.as_str()),
            ("repr-digest", &sha512),
            ("content-digest", &format!("sha-512=:{SHA512}:, sha-256=:{SHA256}:;x=1")),
            ("digest", &old),
            ("content-md5", &STANDARD.encode(Md5::digest(BODY))),
        ] {
            assert_eq!(look(&[(header, text)], BODY), Ok(Compared::Same), "{header}: {text}");
            let told = look(&[(header, text)], b"other").unwrap_err();
            assert_eq!(told.header, header);
            let packed =
                |sent, body| compare(&Method::GET, StatusCode::OK, &headers(&[(header, text)]), (sent, Some(body)));
            assert_eq!(packed(BODY, b"unpacked"), Ok(Compared::Same), "{header}: {text}");
            assert_eq!(packed(b"packed", BODY), Ok(Compared::Same), "{header}: {text}");
            assert_eq!(packed(b"packed", b"unpacked"), Ok(Compared::Unknown), "{header}: {text}");
        }
    }

    #[test]
    fn what_is_not_known_says_nothing() {
        for (header, text) in [("content-digest", "crc=:AA==:"), ("digest", "sha-256"), ("content-md5", "no base64")] {
            assert_eq!(look(&[(header, text)], BODY), Ok(Compared::Absent));
        }
        let wrong = headers(&[("repr-digest", "md5=:AA==:")]);
        let post = compare(&Method::POST, StatusCode::OK, &wrong, (BODY, None));
        assert_eq!(post, Ok(Compared::Absent), "the answer to a POST need not be the representation");
        assert!(compare(&Method::GET, StatusCode::OK, &wrong, (BODY, None)).is_err());
    }

    #[test]
    fn hex_and_base64_are_read() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Md5, Algorithm::Crc32c] {
            let digest = algorithm.of(BODY);
            let hex = crate::base::ids::hex(&digest);
            for text in [hex.to_uppercase(), format!(" {hex}\n"), STANDARD.encode(&digest)] {
                assert!(algorithm.matches(&text, BODY), "{text}");
                assert!(!algorithm.matches(&text, b"x"), "{text}");
            }
        }
        assert!(Algorithm::Crc32c.matches("e3069283", b"123456789"));
    }

    proptest! {
        #[test]
        fn any_header_is_survived(text in "[ -~]{0,200}", body in prop::collection::vec(any::<u8>(), 0..50)) {
            for (header, _) in HEADERS {
                let _ = look(&[(header, &text)], &body);
            }
        }
    }
}
