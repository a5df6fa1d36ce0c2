//! The way to a source's server: proxy, name, connection, TLS and certificate.

use super::steps::{Found, Steps};
use crate::base::clock;
use crate::base::error::Chain;
use crate::config::Secrets;
use crate::config::settings::{Rest, Tls};
use crate::net::error::SetupError;
use crate::net::probe::{self, Certificate, Handshake, ProbeError, Trust, Way};
use rustls::{AlertDescription, CertificateError};
use saas_export_api::plural;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use url::Url;

/// A certificate that expires sooner is worth a warning.
const EXPIRES_SOON_DAYS: i64 = 21;

/// Goes the way to the server of `rest`; the error is the name of the step at which it ends.
pub async fn reach(steps: &mut Steps, subject: &str, rest: &Rest, secrets: &Secrets) -> Result<(), &'static str> {
    let way = Url::parse(&rest.base_url).map_err(|_| ProbeError::NoHost);
    let way = match way.and_then(|url| Way::to(&url, rest.proxy.as_ref(), secrets)) {
        Ok(way) => way,
        Err(error) => {
            steps.tell(subject, "setup", Found::fail(format!("failed to {}", Chain(&error)), ""));
            return Err("setup");
        }
    };
    if let Some(proxy) = &way.proxy {
        let text = format!("requests go through {}: name and connection are those of the proxy", proxy.at);
        steps.tell(subject, "proxy", Found::ok(text));
    }
    let skipped = |steps: &mut Steps, names: &[&'static str], step: &'static str| {
        for name in names {
            steps.skip(subject, name, &format!("{step} failed"));
        }
        step
    };
    let addresses = steps.make(subject, "dns", name(&way)).await;
    let addresses = addresses.ok_or_else(|| skipped(steps, &["tcp", "tls"], "dns"))?;
    let stream = steps.make(subject, "tcp", connection(&way, &addresses)).await;
    let stream = stream.ok_or_else(|| skipped(steps, &["tls"], "tcp"))?;
    if !way.tls {
        steps.tell(subject, "tls", unencrypted(stream.peer_addr().ok()));
    } else if !way.shows_tls() {
        steps.skip(subject, "tls", "a proxy of this kind is not looked through; the first page shows whether it works");
    } else {
        let seen = steps.make(subject, "tls", handshake(&way, &rest.tls, stream)).await;
        seen.ok_or("tls")?;
    }
    Ok(())
}

async fn name(way: &Way) -> Result<(Found, Vec<SocketAddr>), Found> {
    let at = way.first();
    let hint = match &way.proxy {
        Some(_) => "check `proxy.url`, and whether this machine resolves names: getent hosts NAME",
        None => "check `base_url`, and whether this machine resolves names: getent hosts NAME",
    };
    let found = probe::resolve(at).await.map_err(|error| Found::fail(format!("failed to {}", Chain(&error)), hint))?;
    let first = found.first().map(|at| at.ip().to_string()).unwrap_or_default();
    let text = match found.len() {
        1 if first == at.host => format!("{first} is an address already"),
        1 => format!("{} is {first}", at.host),
        more => format!("{} is {first} (and {} more)", at.host, more - 1),
    };
    Ok((Found::ok(text), found))
}

async fn connection(way: &Way, addresses: &[SocketAddr]) -> Result<(Found, TcpStream), Found> {
    let told = |error: &ProbeError| {
        let hint = match (&way.proxy, error) {
            (_, ProbeError::Refused { status: 407, .. }) => "check `proxy.username` and `proxy.password`",
            (_, ProbeError::Refused { .. }) => "the proxy does not let this host through: ask its operator",
            (Some(_), _) => "check `proxy.url`, and whether a firewall stands between",
            (None, _) => "nothing listens there, or a firewall stands between (then `proxy` may be needed)",
        };
        Found::fail(format!("failed to {}", Chain(error)), hint)
    };
    let (stream, at) = probe::connect(addresses).await.map_err(|error| told(&error))?;
    match &way.proxy {
        Some(proxy) if way.tls && way.shows_tls() => {
            let stream = probe::tunnel(stream, proxy, &way.server).await.map_err(|error| told(&error))?;
            Ok((Found::ok(format!("connected to {at}, and from there to {}", way.server)), stream))
        }
        _ => Ok((Found::ok(format!("connected to {at}")), stream)),
    }
}

fn unencrypted(peer: Option<SocketAddr>) -> Found {
    if peer.is_some_and(|peer| peer.ip().is_loopback()) {
        return Found::skip("http, to this machine itself");
    }
    Found::warn("http: credentials and data travel unencrypted", "write https in `base_url` if the server speaks it")
}

async fn handshake(way: &Way, tls: &Tls, stream: TcpStream) -> Result<(Found, ()), Found> {
    let settings = tls.clone();
    let trust = tokio::task::spawn_blocking(move || Trust::new(&settings)).await;
    let trust = trust.map_err(|error| Found::fail(error.to_string(), ""))?.map_err(|error| {
        let hint = match error {
            SetupError::Tls(_) => "does this machine have certificate authorities? apt install ca-certificates",
            _ => "",
        };
        Found::fail(format!("failed to {}", Chain(&error)), hint)
    })?;
    let Handshake { version, certificate } = trust.shake(&way.server.host, stream).await;
    match version {
        Ok(version) => Ok((agreed(version, certificate.as_ref(), days(certificate.as_ref())), ())),
        Err(error) => Err(refused(&error, certificate.as_ref())),
    }
}

/// Days until a certificate expires.
fn days(certificate: Option<&Certificate>) -> i64 {
    certificate.map_or(i64::MAX, |found| found.expires.duration_since(clock::now()).as_hours() / 24)
}

fn agreed(version: &str, certificate: Option<&Certificate>, days: i64) -> Found {
    let Some(found) = certificate else { return Found::ok(version) };
    let day = found.expires.strftime("%Y-%m-%d");
    let names = found.names.join(", ");
    let text =
        format!("{version}; certificate of {names} by {}, until {day} ({days} {})", found.issuer, plural(days, "day"));
    if days < EXPIRES_SOON_DAYS {
        let hint = format!("it expires on {day}: from then on every export from here fails until it is renewed");
        return Found::warn(text, hint);
    }
    Found::ok(text)
}

fn refused(error: &io::Error, certificate: Option<&Certificate>) -> Found {
    use rustls::Error as E;
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    let hint = match cause {
        Some(E::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
            "the server's certificate has expired: ask its operator; and look at this machine's clock"
        }
        Some(E::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "the certificate is for other names: check the host in `base_url`",
        Some(E::InvalidCertificate(_)) => {
            "this machine does not trust its issuer: apt install ca-certificates, or name the issuer's in `tls.ca_file`"
        }
        Some(E::PeerIncompatible(_) | E::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "the server speaks only older versions: tls: { min_version: \"1.2\" } allows TLS 1.2"
        }
        Some(E::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure)) => {
            "the server may want a client certificate: `tls.client_identity`"
        }
        _ => "is this a TLS port? check scheme and port of `base_url`",
    };
    let found = certificate.map(|found| {
        let day = found.expires.strftime("%Y-%m-%d");
        format!(" (its certificate is of {} by {}, until {day})", found.names.join(", "), found.issuer)
    });
    Found::fail(format!("failed to agree on TLS: {error}{}", found.unwrap_or_default()), hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::preflight::steps::Steps;
    use saas_export_api::{PreflightStep, StepResult};
    use std::time::Duration;

    fn told(found: Found) -> PreflightStep {
        let mut steps = Steps::new(Duration::from_secs(1));
        steps.tell("source x", "tls", found);
        steps.report(vec![]).steps.remove(0)
    }

    fn certificate() -> Certificate {
        let expires = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        Certificate { names: vec!["a.example".into()], issuer: "CN=ca".into(), expires }
    }

    #[test]
    fn a_certificate_that_soon_expires_is_a_warning() {
        let found = certificate();
        assert_eq!(told(agreed("TLS 1.3", Some(&found), 21)).result, StepResult::Ok);
        let soon = told(agreed("TLS 1.3", Some(&found), 20));
        assert_eq!(soon.result, StepResult::Warn);
        assert!(soon.message.contains("a.example") && soon.hint.unwrap().contains("2027-01-15"), "{}", soon.message);
        assert_eq!(told(agreed("TLS 1.3", None, 3)).message, "TLS 1.3");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let wrap = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let cases = [
            (rustls::Error::InvalidCertificate(CertificateError::Expired), "expired"),
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "tls.ca_file"),
            (rustls::Error::InvalidCertificate(CertificateError::NotValidForName), "base_url"),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), "min_version"),
        ];
        for (error, word) in cases {
            let found = told(refused(&wrap(error), Some(&certificate())));
            assert_eq!(found.result, StepResult::Fail);
            assert!(found.hint.as_ref().unwrap().contains(word), "{found:?}");
            assert!(found.message.contains("a.example"), "{found:?}");
        }
        assert!(told(refused(&io::ErrorKind::UnexpectedEof.into(), None)).hint.unwrap().contains("TLS port"));
    }

    #[test]
    fn plain_http_is_told() {
        assert_eq!(told(unencrypted("127.0.0.1:80".parse().ok())).result, StepResult::Skip);
        assert_eq!(told(unencrypted("192.0.2.1:80".parse().ok())).result, StepResult::Warn);
    }
}
