//! The way to a server: rules of proxies, tunnels, and what is told of certificates that are refused.

use super::*;
use crate::base::secret::Secret;
use crate::config::settings::{Tls, TlsVersion};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

struct NoSecrets;
impl Resolve for NoSecrets {
    fn resolve(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text.replace("${P}", "pass")))
    }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/net/http/testdata").join(name)
}

fn proxy(url: &str, no_proxy: &[&str]) -> Proxy {
    serde_json::from_value(serde_json::json!({
        "url": url, "username": "user", "password": "${P}", "no_proxy": no_proxy
    }))
    .unwrap()
}

fn way(url: &str, proxy: Option<&Proxy>) -> Way {
    Way::to(&Url::parse(url).unwrap(), proxy, &NoSecrets).unwrap()
}

/// A server of TLS 1.3 alone that shakes hands once for each connection.
fn serve() -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth();
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.pem")).unwrap();
    let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = stream.unwrap();
            let _ = Stream::new(&mut connection, &mut stream).read(&mut [0; 16]);
        }
    });
    port
}

/// A proxy that answers one CONNECT with `answer` and keeps what it was asked.
fn answer_once(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        sender.send(String::from_utf8_lossy(&bytes[..read]).into_owned()).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        let _ = stream.read(&mut bytes);
    });
    (port, asked)
}

#[test]
fn the_way_is_that_of_the_requests() {
    let direct = way("https://api.shop.example/v2", None);
    assert_eq!((direct.first().to_string(), direct.tls), ("api.shop.example:443".to_owned(), true));
    let through = proxy("http://proxy.example:3128", &[".intern.example", "10.0.0.0/8"]);
    let hop = way("https://api.shop.example/v2", Some(&through));
    assert_eq!((hop.first().to_string(), hop.shows_tls()), ("proxy.example:3128".to_owned(), true));
    for near in ["https://a.intern.example/", "http://10.1.2.3:8080/"] {
        assert!(way(near, Some(&through)).proxy.is_none(), "{near}");
    }
    let socks = way("https://api.shop.example/", Some(&proxy("socks5h://proxy.example", &[])));
    assert_eq!((socks.first().to_string(), socks.shows_tls()), ("proxy.example:1080".to_owned(), false));
    assert_eq!(way("http://[::1]:8080/", None).first().to_string(), "[::1]:8080");
}

#[tokio::test]
async fn names_and_connections_say_where_they_end() {
    let nowhere = Endpoint { host: "no-such-host.invalid".into(), port: 443 };
    let error = resolve(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = connect(&[free]).await.unwrap_err();
    assert!(matches!(error, ProbeError::Connect { at, .. } if at == free), "{error}");
    assert!(connect(&[]).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_told_whether_it_is_trusted_or_not() {
    let port = serve();
    let at = Endpoint { host: "127.0.0.1".into(), port };
    let ours = Tls { ca_file: Some(file("ca.pem")), ..Tls::default() };
    for (tls, good) in [(ours, true), (Tls::default(), false)] {
        let trust = match Trust::new(&tls) {
            Ok(trust) => trust,
            // A machine without certificate authorities trusts nobody, and says so.
            Err(SetupError::Tls(_)) if !good => continue,
            Err(error) => panic!("{error}"),
        };
        let (stream, _) = connect(&resolve(&at).await.unwrap()).await.unwrap();
        let seen = trust.shake(&at.host, stream).await;
        assert_eq!(seen.version.as_ref().ok().copied(), good.then_some("TLS 1.3"), "{seen:?}");
        assert!(seen.certificate.unwrap().names.contains(&"127.0.0.1".to_owned()));
    }
    let (stream, _) = connect(&resolve(&at).await.unwrap()).await.unwrap();
    let tls = Tls { ca_file: Some(file("ca.pem")), min_version: TlsVersion::V1_2, ..Tls::default() };
    let seen = Trust::new(&tls).unwrap().shake("other.example", stream).await;
    assert!(seen.version.is_err() && seen.certificate.is_some(), "{seen:?}");
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel() {
    for (answer, status) in [
        ("HTTP/1.1 200 Connection established\r\n\r\n", None),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Some(407)),
        ("nonsense\r\n\r\n", Some(0)),
    ] {
        let (port, asked) = answer_once(answer);
        let way = way("https://api.shop.example/v2", Some(&proxy(&format!("http://127.0.0.1:{port}"), &[])));
        let (stream, _) = connect(&resolve(way.first()).await.unwrap()).await.unwrap();
        let done = tunnel(stream, way.proxy.as_ref().unwrap(), &way.server).await;
        match (done, status) {
            (Ok(_), None) => {}
            (Err(ProbeError::Refused { status, .. }), Some(wanted)) => assert_eq!(status, wanted),
            (other, _) => panic!("{answer}: {:?}", other.err()),
        }
        let asked = asked.recv().unwrap();
        assert!(asked.starts_with("CONNECT api.shop.example:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{asked}");
    }
}
