//! Ports that nobody uses, and waiting until somebody does.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port of 127.0.0.1 that was free a moment ago.
#[must_use]
pub fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of 127.0.0.1");
    listener.local_addr().expect("a bound listener has an address").port()
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
