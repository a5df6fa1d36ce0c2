//! A TCP proxy before a server: it counts what passes, and on request resets, stalls, damages, swallows answers, or answers itself.

use super::netns::go_home;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest that a connection may be silent; nothing is left waiting at the end of a test.
const SILENCE: Duration = Duration::from_secs(60);

/// What goes wrong, once or again and again. Bytes and requests are counted over all connections, from when it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Nothing.
    Fine,
    /// The connection that carries the n-th byte to the server is reset.
    ResetAfter(u64),
    /// From the n-th byte on nothing passes in either direction, until another fault is set.
    StallAfter(u64),
    /// The n-th request passes, and its connection ends before an answer comes back: a time-out after success.
    SwallowAnswer(u64),
    /// A bit of the n-th byte to the server is another one when it arrives.
    Damage(u64),
    /// The n-th HTTP request is answered with this status and does not pass.
    Answer(u64, u16),
}

struct State {
    to: SocketAddr,
    wire: Mutex<Wire>,
    /// Bytes to the server since the fault was set, and since the start.
    since: AtomicU64,
    forwarded: AtomicU64,
    requests: AtomicU64,
    struck: AtomicU64,
    end: AtomicBool,
}

/// A running proxy; ends when it is dropped.
pub struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
}

impl Proxy {
    /// Starts one before a server: it listens in the network of the calling thread, and the server is in that of the program.
    pub fn before(to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            to,
            wire: Mutex::new(Wire::Fine),
            since: AtomicU64::new(0),
            forwarded: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            end: AtomicBool::new(false),
        });
        let accepting = state.clone();
        std::thread::spawn(move || {
            go_home();
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.end.load(SeqCst) {
                    return;
                }
                let state = accepting.clone();
                std::thread::spawn(move || drop(carry(&state, client)));
            }
        });
        Ok(Self { state, address })
    }

    /// Starts one before the server of a URL; the URL that leads through it comes along.
    pub fn before_url(url: &str) -> (Self, String) {
        let url = url::Url::parse(url).expect("a URL");
        let to = (url.host_str().expect("a host"), url.port_or_known_default().expect("a port"));
        let to = to.to_socket_addrs().expect("an address").next().expect("an address");
        let proxy = Self::before(to).expect("a proxy");
        let url = format!("http://{}{}", proxy.address(), url.path().trim_end_matches('/'));
        (proxy, url)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what goes wrong from now on, and counts from zero.
    pub fn set(&self, wire: Wire) {
        let mut now = self.state.wire.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.since.store(0, SeqCst);
        self.state.requests.store(0, SeqCst);
        *now = wire;
    }

    /// Bytes that went to the server since the start.
    pub fn forwarded(&self) -> u64 {
        self.state.forwarded.load(SeqCst)
    }

    /// How often something went wrong on purpose.
    pub fn struck(&self) -> u64 {
        self.state.struck.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.end.store(true, SeqCst);
        self.set(Wire::Fine);
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn wire(&self) -> Wire {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn strikes(&self) {
        self.struck.fetch_add(1, SeqCst);
    }

    /// Waits while everything stalls.
    fn while_stalled(&self) {
        while !self.end.load(SeqCst) {
            match self.wire() {
                Wire::StallAfter(bytes) if self.since.load(SeqCst) >= bytes => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// What becomes of a piece that a client sends.
enum Passage {
    /// It passes.
    Whole,
    /// So many of its bytes pass, then the connection is reset.
    Cut(usize),
    /// It passes, and the connection ends with it.
    Last,
    /// It passes, with this byte changed.
    Changed(usize),
    /// It does not pass; this is the answer.
    Answered(u16),
}

impl State {
    fn passage(&self, piece: &[u8]) -> Passage {
        let before = self.since.fetch_add(piece.len() as u64, SeqCst);
        let asks = begins_request(piece);
        let request = if asks { self.requests.fetch_add(1, SeqCst) + 1 } else { 0 };
        let within = |at: u64| at.checked_sub(before).filter(|at| *at < piece.len() as u64);
        let place = |at: u64| within(at).and_then(|at| usize::try_from(at).ok());
        match self.wire() {
            Wire::ResetAfter(at) => place(at).map_or(Passage::Whole, Passage::Cut),
            Wire::Damage(at) => place(at).map_or(Passage::Whole, Passage::Changed),
            Wire::SwallowAnswer(nth) if request == nth => Passage::Last,
            Wire::Answer(nth, status) if request == nth => Passage::Answered(status),
            _ => Passage::Whole,
        }
    }
}

/// Whether a piece begins an HTTP request; of other protocols each piece counts as one.
fn begins_request(piece: &[u8]) -> bool {
    const METHODS: [&[u8]; 6] = [b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ", b"OPTIONS "];
    METHODS.iter().any(|method| piece.starts_with(method))
}

/// Answers a request in the server's place.
fn answer(client: &mut TcpStream, status: u16) {
    let text = format!("HTTP/1.1 {status} Fault\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let _ = client.write_all(text.as_bytes());
    // What the client still sends is read, so that it sees the answer and no reset.
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.set_read_timeout(Some(Duration::from_secs(2)));
    while client.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
}

fn carry(state: &Arc<State>, mut client: TcpStream) -> io::Result<()> {
    let mut server = TcpStream::connect(state.to)?;
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_nodelay(true)?;
    }
    let swallow = Arc::new(AtomicBool::new(false));
    let (back, mut answers, mut asks) = (state.clone(), server.try_clone()?, client.try_clone()?);
    let swallowed = swallow.clone();
    let answers = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match answers.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                // Of an answer to what was swallowed or cut nothing comes back.
                Ok(_) if swallowed.load(SeqCst) => break,
                Ok(read) => {
                    back.while_stalled();
                    if asks.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            }
        }
        let _ = asks.shutdown(Shutdown::Both);
        let _ = answers.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match client.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        match state.passage(&buffer[..read]) {
            Passage::Whole => state.while_stalled(),
            Passage::Changed(at) => {
                state.strikes();
                state.set_fine();
                buffer[at] ^= 1;
            }
            Passage::Last => {
                state.strikes();
                swallow.store(true, SeqCst);
            }
            Passage::Cut(bytes) => {
                state.strikes();
                state.set_fine();
                // A server may answer what it has of a request: the reset is what the client sees.
                swallow.store(true, SeqCst);
                state.forwarded.fetch_add(bytes as u64, SeqCst);
                let _ = server.write_all(&buffer[..bytes]);
                reset(&client);
                reset(&server);
                break;
            }
            Passage::Answered(status) => {
                state.strikes();
                answer(&mut client, status);
                break;
            }
        }
        state.forwarded.fetch_add(read as u64, SeqCst);
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}

impl State {
    fn set_fine(&self) {
        *self.wire.lock().unwrap_or_else(PoisonError::into_inner) = Wire::Fine;
    }
}

/// Makes the end of a connection a reset.
fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger);
    let _ = stream.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::http::call;

    /// A server that answers 200 to every request and counts what it read.
    fn server() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicU64::new(0));
        let counted = seen.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let counted = counted.clone();
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        counted.fetch_add(1, SeqCst);
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                    }
                });
            }
        });
        (address, seen)
    }

    #[test]
    fn each_fault_is_what_it_says() {
        let (to, seen) = server();
        let proxy = Proxy::before(to).unwrap();
        let ask = || call(proxy.address(), "GET", "/", &[], b"");
        assert_eq!(ask().unwrap().body, b"ok");
        assert!(proxy.forwarded() > 20);

        proxy.set(Wire::Answer(2, 503));
        assert_eq!((ask().unwrap().status, ask().unwrap().status, ask().unwrap().status), (200, 503, 200));
        let before = seen.load(SeqCst);
        proxy.set(Wire::SwallowAnswer(1));
        assert!(ask().is_err(), "no answer");
        assert_eq!(seen.load(SeqCst), before + 1, "but the server has seen it");
        proxy.set(Wire::ResetAfter(10));
        assert!(ask().is_err());
        assert_eq!(ask().unwrap().status, 200, "once");
        assert_eq!(proxy.struck(), 3);
        proxy.set(Wire::StallAfter(5));
        let (address, waiting) = (proxy.address(), std::sync::mpsc::channel());
        let told = waiting.0;
        std::thread::spawn(move || told.send(call(address, "GET", "/", &[], b"").unwrap().status));
        assert!(waiting.1.recv_timeout(Duration::from_millis(200)).is_err());
        proxy.set(Wire::Fine);
        assert_eq!(waiting.1.recv_timeout(Duration::from_secs(10)), Ok(200));
    }
}
