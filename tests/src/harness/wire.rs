//! A wire between the daemon and a server: counts what goes up, and can be cut after any byte.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Bytes that are passed on at once.
const PIECE: usize = 16 << 10;

/// A wire to a server; it lasts as long as the process.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Where to connect instead of to the server.
    pub port: u16,
    up: Arc<AtomicU64>,
    /// Bytes until the next cut; never where it is negative.
    left: Arc<AtomicI64>,
}

impl Wire {
    /// A wire to a server.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let wire = Self { port, up: Arc::default(), left: Arc::new(AtomicI64::new(-1)) };
        let this = wire.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let ends =
                    [(client.try_clone(), server.try_clone(), true), (server.try_clone(), client.try_clone(), false)];
                for (from, to, up) in ends {
                    let (Ok(from), Ok(to), wire) = (from, to, this.clone()) else { continue };
                    std::thread::spawn(move || wire.pass(from, to, up));
                }
            }
        });
        wire
    }

    /// Bytes that went to the server.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::SeqCst)
    }

    /// Cuts the wire after so many more bytes to the server, once.
    pub fn cut_after(&self, bytes: u64) {
        self.left.store(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Whether a cut is still to come.
    pub fn is_armed(&self) -> bool {
        self.left.load(Ordering::SeqCst) >= 0
    }

    /// No cut is to come any more.
    pub fn mend(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, up: bool) {
        let mut piece = vec![0; PIECE];
        while let Ok(got @ 1..) = from.read(&mut piece) {
            let mut pass = got;
            if up && self.left.load(Ordering::SeqCst) >= 0 {
                let left = self.left.fetch_sub(got as i64, Ordering::SeqCst);
                if left < got as i64 {
                    self.left.store(-1, Ordering::SeqCst);
                    pass = usize::try_from(left).unwrap_or(0).min(got);
                }
            }
            if to.write_all(&piece[..pass]).is_err() {
                break;
            }
            if up {
                self.up.fetch_add(pass as u64, Ordering::SeqCst);
            }
            if pass < got {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
