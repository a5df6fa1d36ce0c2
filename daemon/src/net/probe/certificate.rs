//! What a check tells of a server's certificate (RFC 5280): for whom, from whom, until when.

use jiff::Timestamp;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Characters of a name in a certificate that are repeated.
const MAX_NAME: usize = 100;
/// Names of a certificate that are told.
const MAX_NAMES: usize = 5;

/// A certificate, as far as people ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The hosts that it is for.
    pub names: Vec<String>,
    /// Whose signature it bears.
    pub issuer: String,
    /// Until when it is valid.
    pub expires: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is none.
    pub fn of_der(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let of = read.tbs_certificate();
        let expires = i64::try_from(of.validity().not_after.to_unix_duration().as_secs()).ok()?;
        let alternative = of.get_extension::<SubjectAltName>().ok().flatten();
        let mut names: Vec<String> = alternative.iter().flat_map(|(_, names)| &names.0).filter_map(name).collect();
        if names.is_empty() {
            names.push(short(&of.subject().to_string()));
        }
        names.truncate(MAX_NAMES);
        let issuer = short(&of.issuer().to_string());
        Some(Self { names, issuer, expires: Timestamp::from_second(expires).ok()? })
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(host) => Some(short(host.as_str())),
        GeneralName::IpAddress(address) => {
            let bytes = address.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(|four| std::net::IpAddr::from(four).to_string());
            four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|all| std::net::IpAddr::from(all).to_string())).ok()
        }
        _ => None,
    }
}

/// A text of the server's, without what could disturb a terminal.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    fn server() -> CertificateDer<'static> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/net/http/testdata/server.pem");
        CertificateDer::from_pem_file(path).unwrap()
    }

    #[test]
    fn names_issuer_and_end_are_read() {
        let found = Certificate::of_der(&server()).unwrap();
        assert!(found.names.contains(&"127.0.0.1".to_owned()), "{found:?}");
        assert!(found.issuer.contains("CN="), "{found:?}");
        assert!(found.expires > Timestamp::from_second(1_700_000_000).unwrap(), "{found:?}");
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
            let mut der = server().to_vec();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(cut.max(1));
            let _ = Certificate::of_der(&der);
        }
    }
}
