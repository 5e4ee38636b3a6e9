//! Ports that nobody uses, and waiting until somebody does.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A port of 127.0.0.1 that nobody listens on, outside of the range that outgoing connections are served from: a client that
/// waits for a server on a port of that range can end up connected to itself.
#[must_use]
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static START: Once = Once::new();
    // Different test processes begin at different places.
    START.call_once(|| NEXT.store(u16::try_from(std::process::id() % 150).unwrap_or(0) * 20, Ordering::Relaxed));
    (0..3_000)
        .map(|_| 15_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 3_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port of 127.0.0.1")
}

/// Waits until somebody accepts connections on `port` of 127.0.0.1; `false` when nobody does in the time.
#[must_use]
pub fn wait_until_open(port: u16, longest: Duration) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    while began.elapsed() < longest {
        if TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
