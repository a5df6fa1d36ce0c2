//! A TLS handshake with the trust of a source's settings, that also tells of the certificate which it refuses.

use super::super::error::SetupError;
use super::Certificate;
use crate::base::fsio;
use crate::config::settings::{Tls, TlsVersion};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, version};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// PEM files are small; a larger file is the wrong one.
const MAX_PEM: u64 = 4 << 20;

/// What came of a handshake.
#[derive(Debug)]
pub struct Handshake {
    /// The version that was agreed on, or why there is none.
    pub version: Result<&'static str, io::Error>,
    /// The server's certificate, also where it is refused.
    pub certificate: Option<Certificate>,
}

/// Which servers are trusted, and in which versions of TLS.
pub struct Trust {
    config: ClientConfig,
    seen: Arc<Seen>,
}

impl Trust {
    /// The trust of a source's settings: what its requests go by. Reads files.
    pub fn new(tls: &Tls) -> Result<Self, SetupError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let seen = Arc::new(Seen { inner: verifier(tls, &provider)?, last: Mutex::default() });
        let versions: &[_] = match tls.min_version {
            TlsVersion::V1_2 => &[&version::TLS13, &version::TLS12],
            TlsVersion::V1_3 => &[&version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(SetupError::Tls)?
            .dangerous()
            // It asks the real one, and only keeps what passed by.
            .with_custom_certificate_verifier(seen.clone());
        let mut config = match &tls.client_identity {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let (chain, key) = identity(path)?;
                builder.with_client_auth_cert(chain, key).map_err(SetupError::Tls)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, seen })
    }

    /// Shakes hands with `host` over an open connection.
    pub async fn shake(self, host: &str, stream: TcpStream) -> Handshake {
        let version =
            match ServerName::try_from(host.to_owned()) {
                Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "its name can be in no certificate")),
                Ok(name) => TlsConnector::from(Arc::new(self.config)).connect(name, stream).await.map(|stream| {
                    match stream.get_ref().1.protocol_version() {
                        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
                        _ => "TLS",
                    }
                }),
            };
        let last = self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        Handshake { version, certificate: last.and_then(|der| Certificate::of_der(&der)) }
    }
}

/// Asks the system's certificate authorities, or those of `ca_file` alone.
fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, SetupError> {
    let Some(path) = &tls.ca_file else {
        // Reading them takes a while, and they are the same for every source.
        static SYSTEM: OnceLock<Arc<rustls_platform_verifier::Verifier>> = OnceLock::new();
        if let Some(known) = SYSTEM.get() {
            return Ok(known.clone());
        }
        let system = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(SetupError::Tls)?;
        return Ok(SYSTEM.get_or_init(|| Arc::new(system)).clone());
    };
    let wrong = || SetupError::Pem { key: "ca_file", path: path.display().to_string(), wanted: "certificates" };
    let pem = read("ca_file", path)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    Ok(verifier.map_err(|_| wrong())?)
}

fn identity(path: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), SetupError> {
    let wanted = "a certificate and its key";
    let wrong = || SetupError::Pem { key: "client_identity", path: path.display().to_string(), wanted };
    let pem = read("client_identity", path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong())?;
    if chain.is_empty() { Err(wrong()) } else { Ok((chain, key)) }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SetupError> {
    fsio::read_limited(path, MAX_PEM).map_err(|cause| SetupError::File { key, path: path.display().to_string(), cause })
}

/// Asks another verifier, and keeps the certificate that it was asked about.
#[derive(Debug)]
struct Seen {
    inner: Arc<dyn ServerCertVerifier>,
    last: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
