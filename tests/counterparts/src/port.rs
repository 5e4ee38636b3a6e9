//! Ports that nobody uses.

use std::fs::File;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

/// A port of 127.0.0.1 that nobody listens on, outside of the range that outgoing connections are served from: a client that
/// waits for a server on a port of that range can end up connected to itself.
///
/// It is reserved by a locked file until this process ends: to look whether a port is free means to listen on it for a
/// moment, and that must not be when another process's server is about to.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free() -> u16 {
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("basb-counterparts-ports");
    std::fs::create_dir_all(&folder).expect("a folder for reserved ports");
    // Different test processes begin at different places.
    let first = u16::try_from(std::process::id() % 150).unwrap_or(0) * 20;
    (0..3_000)
        .map(|n| 15_000 + (first + n) % 3_000)
        .find(|port| {
            let file = File::options().create(true).append(true).open(folder.join(port.to_string()));
            let file = file.expect("a file for a reserved port");
            let is_free = file.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok();
            if is_free {
                RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(file);
            }
            is_free
        })
        .expect("a port of 127.0.0.1")
}
