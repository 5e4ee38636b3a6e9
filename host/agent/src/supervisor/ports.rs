//! Free loopback ports for instances and previews.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::rand::{GetRandomFlags, getrandom};

/// Ports below the range from which the system serves outgoing connections: the proxy's own connections to instances
/// come from that range, and could take a port between its choice and its use.
const LOWEST: u16 = 15_000;

/// A port that this agent, and any other one on the machine, gives to nothing else while this lives. A process takes a while to
/// come to listen on its port, and nobody can tell from the port itself that it will.
#[derive(Debug)]
pub(crate) struct Reserved {
    port: u16,
    _name: Option<UnixDatagram>,
}

impl Reserved {
    /// Reserves a port, unless it is already. The reservation is a name in the abstract namespace of sockets, which is the
    /// same for all who share the ports (a network namespace), and which the kernel gives back whatever becomes of us.
    pub(crate) fn take(port: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("basb-host/port/{port}"));
        match name.and_then(|name| UnixDatagram::bind_addr(&name)) {
            Ok(name) => Some(Self { port, _name: Some(name) }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            // It is only that another agent may choose it too, and an instance that finds it taken gets another one.
            Err(error) => {
                tracing::debug!(port, %error, "a port cannot be reserved");
                Some(Self { port, _name: None })
            }
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A port on 127.0.0.1 that nobody listens on or has reserved, and that is not among `taken`.
pub(crate) fn free(taken: &BTreeSet<u16>) -> Option<Reserved> {
    let highest = ephemeral_start().saturating_sub(1).max(LOWEST + 1_000);
    let span = u32::from(highest - LOWEST);
    // Starting anywhere keeps two agents on one machine from trying the same ports in the same order.
    let start = random_u32() % span;
    (0..span)
        .filter_map(|step| u16::try_from((start + step) % span).ok())
        .map(|offset| LOWEST + offset)
        .filter(|port| !taken.contains(port))
        .find_map(|port| {
            let reserved = Reserved::take(port)?;
            // Looked at last: whoever reserved it before us, and let go of it, listens by now.
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(reserved)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_reserved_another_does_not_get() {
        let reserved = free(&BTreeSet::new()).unwrap();
        let port = reserved.port();
        assert!(Reserved::take(port).is_none(), "not twice");
        let all_others = (0..=u16::MAX).filter(|other| *other != port).collect();
        assert!(free(&all_others).is_none(), "nobody listens there yet, and it is not free");
        drop(reserved);
        assert_eq!(free(&all_others).map(|reserved| reserved.port()), Some(port), "given back");
    }
}
