//! The server: one thread, HTTP/1.1 on loopback, and the handle that starts, steers and stops it.

use super::answer::{answer, issue};
use super::data::Data;
use super::faults::{Fault, Rules};
use super::issuer::Issuer;
use super::pages::PageCache;
use super::table::Table;
use super::truth::{PageKey, Truth};
use http_body_util::BodyExt as _;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How to serve which data set.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Records in all.
    pub records: u64,
    /// Decides every value, cursor and chance.
    pub seed: u64,
    /// Records of a page unless the client asks for fewer.
    pub page_size: u64,
    /// Most records of a page.
    pub max_page: u64,
    /// Accounts; order i is one of account i mod `accounts`.
    pub accounts: u64,
    /// Bytes of serialised pages that are kept.
    pub cache_bytes: usize,
    /// What next URLs and links start with, instead of this server's own origin.
    pub next_origin: Option<String>,
    /// Whether answers are compressed for clients that accept gzip.
    pub gzip: bool,
    /// Whether pages have a `Content-Digest`.
    pub digests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            records: 1000,
            seed: 42,
            page_size: 100,
            max_page: 1000,
            accounts: 20,
            cache_bytes: 64 << 20,
            next_origin: None,
            gzip: false,
            digests: false,
        }
    }
}

/// What every connection shares.
pub struct State {
    pub options: Options,
    pub cache: PageCache,
    rules: Mutex<Rules>,
    truth: Mutex<Truth>,
    table: Mutex<Table>,
    issuer: Mutex<Issuer>,
}

impl State {
    fn new(options: Options) -> Self {
        let rules = Mutex::new(Rules::new(options.seed));
        Self {
            cache: PageCache::new(options.cache_bytes),
            rules,
            truth: Mutex::default(),
            table: Mutex::default(),
            issuer: Mutex::new(Issuer::new()),
            options,
        }
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn issuer(&self) -> MutexGuard<'_, Issuer> {
        self.issuer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn data(&self) -> Data {
        Data { seed: self.options.seed, records: self.options.records, shape: self.rules().shape() }
    }

    /// Counts a page as served whole.
    pub fn served(&self, key: PageKey) {
        if let Some(page) = self.truth().pages.get_mut(&key) {
            page.served += 1;
        }
    }

    /// Forgets faults and counts.
    pub fn reset(&self) {
        *self.rules() = Rules::new(self.options.seed);
        *self.truth() = Truth::default();
    }
}

/// A running sample API; dropping it stops it.
pub struct SampleApi {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where its token server listens: another origin. It also answers at `addr`.
    pub issuer_addr: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SampleApi {
    /// Starts the API in a thread of its own.
    pub fn start(options: Options) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let issuer = std::net::TcpListener::bind((addr.ip(), 0))?;
        issuer.set_nonblocking(true)?;
        let issuer_addr = issuer.local_addr()?;
        let state = Arc::new(State::new(options));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = state.clone();
        let thread = std::thread::Builder::new().name("sample-api".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, shared.clone()) => {}
                    () = accept_issuer(issuer, shared) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { addr, issuer_addr, state, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Origin of the token server.
    pub fn issuer_origin(&self) -> String {
        format!("http://{}", self.issuer_addr)
    }

    /// The token server, to be steered and asked what it saw. It stands still meanwhile.
    pub fn issuer(&self) -> MutexGuard<'_, Issuer> {
        self.state.issuer()
    }

    /// The data set, as the faults in force shape it.
    pub fn data(&self) -> Data {
        self.state.data()
    }

    /// Replaces the faults in force.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.state.rules().set(faults);
    }

    /// What the API has seen so far.
    pub fn truth(&self) -> Truth {
        self.state.truth().clone()
    }

    /// The collection that changes.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.state.table()
    }

    /// Forgets faults and counts.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// Requests for data so far; cheaper than the whole truth.
    pub fn requests(&self) -> u64 {
        self.state.truth().requests
    }

    /// Waits until `reached` holds of the truth; false after `limit`.
    pub fn wait_until(&self, limit: Duration, reached: impl Fn(&Truth) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !reached(&self.state.truth()) {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for SampleApi {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("sample-api: {error}"),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        // A second handle lets a fault change how the connection closes.
        let Ok(handle) = stream.as_fd().try_clone_to_owned() else { continue };
        let handle = Arc::new(handle);
        state.truth().connections += 1;
        let state = state.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let (state, handle) = (state.clone(), handle.clone());
                async move { Ok::<_, Infallible>(answer(state, handle, request).await) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

/// The token server on a port of its own.
async fn accept_issuer(listener: std::net::TcpListener, state: Arc<State>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let state = state.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let state = state.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                    Ok::<_, Infallible>(issue(&state, &head, &body).await)
                }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::data::Shape;
    use crate::sample::faults::Kind;

    #[test]
    fn faults_shape_the_data_set() {
        let state = State::new(Options::default());
        assert_eq!(state.data().shape, Shape::default());
        state.rules().set(vec![Fault::new(Kind::LateField).after(10)]);
        assert_eq!(state.data().shape.late_field, Some(10));
    }
}
