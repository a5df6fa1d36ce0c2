//! The loopback listener: HTTP/1.1, `GET /metrics` and nothing else, within limits.

use super::Collector;
use crate::base::error::Chain;
use crate::config::settings::Config;
use crate::host::messages::Message;
use crate::metrics::text::CONTENT_TYPE;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE as TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Connections at the same time; a Prometheus needs one.
const CONNECTIONS: usize = 16;
/// How long a head may take to arrive; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long an answer may take to be made, and a connection to take it, as a whole.
const LIFE: Duration = Duration::from_secs(600);
/// Room for the request line and all headers.
const HEADER_BYTES: usize = 16 << 10;
/// Pause after the kernel refused to accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves metrics where the configuration says, until `stop`. A port that is taken is no reason not to export: it is told.
pub async fn listen(config: watch::Receiver<Arc<Config>>, collector: Arc<Collector>, stop: CancellationToken) {
    let Some(metrics) = config.borrow().daemon.metrics.clone() else { return };
    // Both were checked when the configuration was read.
    let Some(address) = metrics.listen.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback()) else {
        return;
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(
                MESSAGE_ID = Message::ControlTrouble.id(),
                "failed to listen for metrics at {address}: {}",
                Chain(&error)
            );
            return;
        }
    };
    tracing::info!("metrics are at http://{address}/metrics");
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (collector, stop) = (collector.clone(), stop.clone());
                tokio::spawn(async move {
                    let _seat = seat;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        _ = tokio::time::timeout(LIFE, serve(stream, collector)) => {}
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "failed to accept a connection for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, collector: Arc<Collector>) {
    let service = service_fn(|request| {
        let collector = collector.clone();
        async move { Ok::<_, Infallible>(answer(&request, &collector).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for metrics ended early");
    }
}

async fn answer<B>(request: &Request<B>, collector: &Collector) -> Response<Full<Bytes>> {
    if let Err((status, why)) = allowed(request.method(), request.uri().path(), request.headers()) {
        let mut response = text(status, "text/plain; charset=utf-8", Bytes::from_static(why.as_bytes()));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        return response;
    }
    text(StatusCode::OK, CONTENT_TYPE, collector.text().await)
}

/// What is answered: `GET /metrics`, to whoever calls this machine by an address of its own. A page in a browser is none, even
/// where a name of its own leads here (DNS rebinding).
fn allowed(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    if headers.contains_key(ORIGIN) || !headers.get(HOST).is_none_or(is_this_machine) {
        return Err((StatusCode::FORBIDDEN, "only for programs on this machine\n"));
    }
    if path != "/metrics" {
        return Err((StatusCode::NOT_FOUND, "there is /metrics\n"));
    }
    if method != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "there is GET\n"));
    }
    Ok(())
}

fn is_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn text(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_on_this_machine_get_metrics() {
        let with = |name: http::HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            allowed(&Method::GET, "/metrics", &headers).map_err(|(status, _)| status.as_u16())
        };
        for good in ["127.0.0.1:9464", "127.0.0.1", "localhost:9464", "localhost", "[::1]:9464", "[::1]"] {
            assert_eq!(with(HOST, good), Ok(()), "{good}");
        }
        for bad in ["evil.example", "evil.example:9464", "10.0.0.1:9464", "localhost.evil.example:80", ""] {
            assert_eq!(with(HOST, bad), Err(403), "{bad}");
        }
        assert_eq!(with(ORIGIN, "https://page.example"), Err(403));
        let none = HeaderMap::new();
        let status = |method: Method, path: &str| allowed(&method, path, &none).map_err(|(status, _)| status.as_u16());
        assert_eq!(status(Method::GET, "/metrics"), Ok(()));
        assert_eq!(status(Method::GET, "/"), Err(404));
        assert_eq!(status(Method::POST, "/metrics"), Err(405));
    }
}
