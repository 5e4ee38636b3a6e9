//! Which addresses a granted name may lead to.
//!
//! Stops a plugin from reaching what trusts its own machine or network: loopback services, the metadata service of a
//! cloud (which hands out credentials to whoever asks from the machine), and private networks; in IPv4, and in every
//! IPv6 form that embeds an IPv4 address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Anybody's.
    Public,
    /// Of a private network (RFC 1918, RFC 4193) or behind a carrier's NAT (RFC 6598).
    Private,
    /// This machine.
    Loopback,
    /// The wire (RFC 3927, RFC 4291).
    LinkLocal,
    /// A cloud's metadata or credentials service.
    Metadata,
    /// Nothing to connect to: unspecified, multicast, broadcast, reserved.
    Unusable,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "an address of a private network",
            Self::Loopback => "this machine",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a metadata service, which no plugin may reach",
            Self::Unusable => "not an address of one machine",
        })
    }
}

/// How far a name may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// To public addresses.
    Public,
    /// To private ones too.
    Private,
    /// To this machine only: the operator wrote `localhost`.
    Loopback,
    /// To the very address that the operator, or the host, wrote.
    Literal,
}

impl Reach {
    /// Whether it leads to addresses of this class. Metadata services are never within reach.
    #[must_use]
    pub fn allows(self, class: AddressClass) -> bool {
        match class {
            AddressClass::Public => matches!(self, Self::Public | Self::Private | Self::Literal),
            AddressClass::Private => matches!(self, Self::Private | Self::Literal),
            AddressClass::Loopback => matches!(self, Self::Loopback | Self::Literal),
            AddressClass::LinkLocal => self == Self::Literal,
            AddressClass::Metadata | AddressClass::Unusable => false,
        }
    }
}

/// Metadata and credentials services: AWS IMDS, ECS, EKS; Azure; Alibaba; Oracle and others use the first.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];

/// AWS IMDS and EKS, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What kind of address it is.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| classify_v6(address), classify_v4),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    let [a, b, c, _] = address.octets();
    if METADATA_V4.contains(&address) {
        AddressClass::Metadata
    } else if address.is_loopback() {
        AddressClass::Loopback
    } else if address.is_link_local() {
        AddressClass::LinkLocal
    } else if address.is_private() || (a == 100 && (64..128).contains(&b)) {
        AddressClass::Private
    } else if a == 0 || a >= 224 || (a, b, c) == (192, 0, 0) || (a == 198 && (b == 18 || b == 19)) {
        // "This network", multicast and reserved, protocol assignments, benchmarking: RFC 6890.
        AddressClass::Unusable
    } else {
        AddressClass::Public
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    let [first, ..] = address.segments();
    if METADATA_V6.contains(&address) {
        AddressClass::Metadata
    } else if address.is_loopback() {
        AddressClass::Loopback
    } else if first & 0xffc0 == 0xfe80 {
        AddressClass::LinkLocal
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        AddressClass::Private
    } else if address.is_unspecified() || first & 0xff00 == 0xff00 {
        AddressClass::Unusable
    } else {
        AddressClass::Public
    }
}

/// The IPv4 address inside an IPv6 one: mapped, compatible, translated (RFC 6052, RFC 8215), 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let low = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) | (0, 0, 0, 0, 0xffff, 0) => Some(low(g, h)),
        (0x64, 0xff9b, 1, _, _, _) => Some(low(g, h)),
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(low(g, h)),
        (0x2002, ..) => Some(low(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn every_form_of_an_address_is_the_same_address() {
        use AddressClass::{LinkLocal, Loopback, Metadata, Private, Public, Unusable};
        let cases = [
            ("93.184.216.34", Public),
            ("2606:4700::1", Public),
            ("127.0.0.1", Loopback),
            ("127.9.9.9", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("2002:7f00:1::1", Loopback),
            ("::127.0.0.1", Loopback),
            ("169.254.169.254", Metadata),
            ("::ffff:169.254.169.254", Metadata),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("fd00:ec2::254", Metadata),
            ("169.254.170.2", Metadata),
            ("168.63.129.16", Metadata),
            ("100.100.100.200", Metadata),
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("fd12::1", Private),
            ("::ffff:10.1.2.3", Private),
            ("0.0.0.0", Unusable),
            ("::", Unusable),
            ("255.255.255.255", Unusable),
            ("224.0.0.1", Unusable),
            ("ff02::1", Unusable),
        ];
        for (text, expected) in cases {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn no_reach_includes_metadata() {
        for reach in [Reach::Public, Reach::Private, Reach::Loopback, Reach::Literal] {
            assert!(!reach.allows(AddressClass::Metadata), "{reach:?}");
            assert!(!reach.allows(AddressClass::Unusable), "{reach:?}");
        }
        assert!(!Reach::Loopback.allows(AddressClass::Public), "localhost that leads outside is not localhost");
    }

    proptest! {
        #[test]
        fn embedding_never_changes_the_class(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let expected = classify(IpAddr::V4(v4));
            prop_assert_eq!(classify(IpAddr::V6(v4.to_ipv6_mapped())), expected);
            let [a, b, c, d] = v4.octets();
            let high = u16::from_be_bytes([a, b]);
            let low = u16::from_be_bytes([c, d]);
            prop_assert_eq!(classify(IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low))), expected);
            prop_assert_eq!(classify(IpAddr::V6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1))), expected);
        }
    }
}
