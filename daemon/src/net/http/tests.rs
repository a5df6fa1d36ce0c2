//! What the client accepts of a TLS server, and what it says where it does not.

pub mod server;

use super::*;
use crate::base::error::{Chain, Classify as _, ErrorClass};
use crate::base::secret::Secret;
use crate::net::error::FetchError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

struct NoSecrets;
impl Resolve for NoSecrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text))
    }
}

pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/net/http/testdata").join(name)
}

/// A server that answers `ok` to each request on `versions`, and asks for a client certificate if it is told to.
fn serve(versions: &[&'static SupportedProtocolVersion], wants_client: bool) -> String {
    serve_text(versions, wants_client, "ok")
}

/// The same with another body.
pub(crate) fn serve_text(versions: &[&'static SupportedProtocolVersion], wants_client: bool, body: &str) -> String {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let builder = if wants_client {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.pem")).unwrap();
    let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream.unwrap());
            let mut bytes = [0; 4096];
            // One read is one small request; a failed handshake ends here.
            if tls.read(&mut bytes).is_ok_and(|read| read > 0) {
                let _ = tls.write_all(answer.as_bytes());
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    format!("https://127.0.0.1:{port}/")
}

fn tls(ca: &str, min_version: TlsVersion, identity: Option<&str>) -> Tls {
    Tls { ca_file: Some(file(ca)), min_version, client_identity: identity.map(file) }
}

fn build(tls: &Tls) -> Result<Client, SetupError> {
    let keep_alive = KeepAlive::default();
    client(
        &ClientSettings { keep_alive: &keep_alive, proxy: None, tls, needs_tls: true },
        &NoSecrets,
        &mut Mask::default(),
    )
}

async fn get(url: &str, tls: &Tls) -> Result<String, FetchError> {
    let told = |error| FetchError::from_client(error, Duration::from_secs(1));
    build(tls).unwrap().get(url).send().await.map_err(told)?.text().await.map_err(told)
}

#[tokio::test]
async fn tls_1_2_needs_the_explicit_key() {
    use TlsVersion::{V1_2, V1_3};
    let (old, new) = (serve(&[&version::TLS12], false), serve(&[&version::TLS13], false));
    assert_eq!(get(&new, &tls("ca.pem", V1_3, None)).await.unwrap(), "ok");
    assert_eq!(get(&new, &tls("ca.pem", V1_2, None)).await.unwrap(), "ok");
    assert_eq!(get(&old, &tls("ca.pem", V1_2, None)).await.unwrap(), "ok");
    let refused = get(&old, &tls("ca.pem", V1_3, None)).await.unwrap_err();
    assert_eq!((refused.class(), refused.retryable()), (ErrorClass::Config, false), "{}", Chain(&refused));
    assert!(refused.to_string().contains("`tls.min_version`"), "{refused}");
}

#[tokio::test]
async fn only_the_named_authorities_are_trusted() {
    let url = serve(&[&version::TLS13], false);
    let system = Tls::default();
    for trust in [tls("other.pem", TlsVersion::V1_3, None), system] {
        let refused = get(&url, &trust).await.unwrap_err();
        assert_eq!((refused.class(), refused.retryable()), (ErrorClass::Config, false), "{}", Chain(&refused));
    }
    let wrong_name = url.replace("127.0.0.1", "127.0.0.1.nip.invalid");
    assert!(get(&wrong_name, &tls("ca.pem", TlsVersion::V1_3, None)).await.is_err());
    let other_name = Client::builder()
        .tls_certs_only(Certificate::from_pem_bundle(&std::fs::read(file("ca.pem")).unwrap()).unwrap());
    let port = url.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    let other_name = other_name.resolve("shop.example", ([127, 0, 0, 1], port).into()).build().unwrap();
    let refused = other_name.get(format!("https://shop.example:{port}/")).send().await.unwrap_err();
    let refused = FetchError::from_client(refused, Duration::from_secs(1));
    assert!(matches!(refused, FetchError::Tls(_)), "{}", Chain(&refused));
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let url = serve(&[&version::TLS12, &version::TLS13], true);
    assert_eq!(get(&url, &tls("ca.pem", TlsVersion::V1_3, Some("client.pem"))).await.unwrap(), "ok");
    let refused = get(&url, &tls("ca.pem", TlsVersion::V1_3, None)).await.unwrap_err();
    // The server's word may be lost with its connection.
    assert!(matches!(refused, FetchError::Tls(_) | FetchError::Reset(_)), "{}", Chain(&refused));
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let missing = build(&tls("none.pem", TlsVersion::V1_3, None)).unwrap_err().to_string();
    assert!(missing.contains("none.pem (`tls.ca_file`)"), "{missing}");
    let empty = build(&tls("README", TlsVersion::V1_3, None)).unwrap_err().to_string();
    assert!(empty.contains("README (`tls.ca_file`) does not hold certificates"), "{empty}");
    let keyless = build(&tls("ca.pem", TlsVersion::V1_3, Some("ca.pem"))).unwrap_err().to_string();
    assert!(keyless.contains("ca.pem (`tls.client_identity`) does not hold a certificate and its key"), "{keyless}");
}

#[test]
fn a_proxy_that_is_none_is_told_without_its_password() {
    let settings = serde_json::json!({ "url": "http://me:c4nary@ bad", "no_proxy": [] });
    let proxy: Proxy = serde_json::from_value(settings).unwrap();
    let (keep_alive, tls) = (KeepAlive::default(), Tls::default());
    let settings = ClientSettings { keep_alive: &keep_alive, proxy: Some(&proxy), tls: &tls, needs_tls: false };
    let error = client(&settings, &NoSecrets, &mut Mask::default()).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("c4nary"), "{error:?}");
}
