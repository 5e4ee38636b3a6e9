//! Free loopback ports for instances and previews.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use rustix::rand::{GetRandomFlags, getrandom};

/// Ports below the range from which the system serves outgoing connections: the proxy's own connections to instances
/// come from that range, and could take a port between its choice and its use.
const LOWEST: u16 = 15_000;

/// A port on 127.0.0.1 that nobody listens on and that is not among `taken`.
pub(crate) fn free(taken: &BTreeSet<u16>) -> Option<u16> {
    let highest = ephemeral_start().saturating_sub(1).max(LOWEST + 1_000);
    let span = u32::from(highest - LOWEST);
    // Starting anywhere keeps two agents on one machine from trying the same ports in the same order.
    let start = random_u32() % span;
    (0..span)
        .filter_map(|step| u16::try_from((start + step) % span).ok())
        .map(|offset| LOWEST + offset)
        .filter(|port| !taken.contains(port))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

fn ephemeral_start() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness every search starts at the same place, which is slower, not wrong.
    let _ = getrandom(&mut bytes, GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}

/// A token that nobody else has: 128 random bits in hexadecimal.
pub(crate) fn random_token() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
