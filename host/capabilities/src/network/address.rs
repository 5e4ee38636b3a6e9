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

/// Metadata and credentials services:
///
/// - 169.254.169.254: AWS IMDS, Azure IMDS, Google, Oracle, DigitalOcean, OpenStack and most others;
/// - 169.254.170.2: AWS ECS task credentials; 169.254.170.23: AWS EKS pod identity;
/// - 168.63.129.16: Azure WireServer, which hands out a machine's certificates and extension settings;
/// - 100.100.100.200: Alibaba Cloud; 169.254.0.23: Tencent Cloud; 169.254.42.42: Scaleway.
const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 42, 42),
];

/// The same in IPv6: AWS IMDS and EKS pod identity, Google, Scaleway, OpenStack, Oracle, Akamai (Linode).
const METADATA_V6: [Ipv6Addr; 7] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
];

/// Names of metadata services: Google's, the short form that its machines know too, AWS's old one, Tencent's and
/// Scaleway's. What they lead to is refused by address as well; the name is refused in case it leads elsewhere.
const METADATA_NAMES: [&str; 7] = [
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
    "api.metadata.scaleway.com",
];

/// Whether a name in lower case is that of a metadata service, or lies below one.
#[must_use]
pub fn is_metadata_name(name: &str) -> bool {
    METADATA_NAMES.iter().any(|known| {
        let front = name.strip_suffix(known);
        front.is_some_and(|front| front.is_empty() || (known.contains('.') && front.ends_with('.')))
    })
}

/// What kind of address it is.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// By the registries of special addresses: RFC 6890 and its successors.
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
    } else if a == 0 || a >= 224 || (a == 198 && (b == 18 || b == 19)) {
        // "This network" (RFC 791: many systems take it for themselves), multicast, reserved, broadcast, benchmarking.
        AddressClass::Unusable
    } else if matches!((a, b, c), (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) | (192, 88, 99)) {
        // Protocol assignments, the three ranges for documentation (RFC 5737), 6to4 relays (RFC 7526).
        AddressClass::Unusable
    } else {
        AddressClass::Public
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    let [a, b, c, d, e, f, g, h] = address.segments();
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0) if g == 0 && h == 0 => AddressClass::Unusable,
        (0, 0, 0, 0, 0, 0) if g == 0 && h == 1 => AddressClass::Loopback,
        // Mapped (RFC 4291), compatible (the same, obsolete), translated (RFC 2765), NAT64 (RFC 6052).
        (0, 0, 0, 0, 0, 0 | 0xffff) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => classify_v4(v4(g, h)),
        // NAT64 of the network's own making (RFC 8215): where it leads depends on how the network cuts it.
        (0x64, 0xff9b, 1, ..) => local_nat64(address),
        // 6to4 (RFC 3056), which nobody relays any more except towards where the packet already is.
        (0x2002, ..) => classify_v4(v4(b, c)),
        // Teredo (RFC 4380): a tunnel to an address that is hidden in it. ORCHID and its successor, documentation
        // (RFC 3849, RFC 9637), discard-only (RFC 6666), multicast.
        (0x2001, 0, ..) | (0x2001, 0xdb8, ..) | (0x0100, 0, 0, 0, ..) => AddressClass::Unusable,
        (0x2001, 0x10..=0x2f, ..) => AddressClass::Unusable,
        _ if a & 0xff00 == 0xff00 || (a == 0x3fff && b < 0x1000) => AddressClass::Unusable,
        _ if a & 0xffc0 == 0xfe80 => AddressClass::LinkLocal,
        // Unique local (RFC 4193), and what it replaced.
        _ if a & 0xfe00 == 0xfc00 || a & 0xffc0 == 0xfec0 => AddressClass::Private,
        _ => AddressClass::Public,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// 64:ff9b:1::/48 may embed an IPv4 address in four ways (RFC 6052 section 2.2). The worst of them counts, and it is
/// private at best.
fn local_nat64(address: Ipv6Addr) -> AddressClass {
    let o = address.octets();
    let pick = |[i, j, k, l]: [usize; 4]| {
        let at = |index: usize| o.get(index).copied().unwrap_or_default();
        classify_v4(Ipv4Addr::new(at(i), at(j), at(k), at(l)))
    };
    let readings = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]].map(pick);
    let worst = [AddressClass::Metadata, AddressClass::Loopback, AddressClass::LinkLocal];
    worst.into_iter().find(|class| readings.contains(class)).unwrap_or(AddressClass::Private)
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
            // Anybody's.
            ("93.184.216.34", Public),
            ("2606:4700::1", Public),
            ("172.32.0.1", Public),
            ("100.63.255.255", Public),
            ("100.128.0.1", Public),
            // RFC 1122: this machine, in every form of IPv6 that can hold it.
            ("127.0.0.1", Loopback),
            ("127.9.9.9", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("::ffff:0:127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("64:ff9b:1::7f00:1", Loopback),
            ("64:ff9b:1:7f00:0:100::", Loopback),
            ("2002:7f00:1::1", Loopback),
            // Metadata: AWS, Azure and most others; the same embedded.
            ("169.254.169.254", Metadata),
            ("::ffff:169.254.169.254", Metadata),
            ("::169.254.169.254", Metadata),
            ("64:ff9b::a9fe:a9fe", Metadata),
            ("64:ff9b:1::a9fe:a9fe", Metadata),
            ("64:ff9b:1:a9fe:a9:fe00::", Metadata),
            ("2002:a9fe:a9fe::1", Metadata),
            // AWS over IPv6, ECS, EKS.
            ("fd00:ec2::254", Metadata),
            ("fd00:ec2::23", Metadata),
            ("169.254.170.2", Metadata),
            ("169.254.170.23", Metadata),
            // Azure WireServer, Alibaba, Google, Tencent, Scaleway, OpenStack.
            ("168.63.129.16", Metadata),
            ("::ffff:168.63.129.16", Metadata),
            ("100.100.100.200", Metadata),
            ("fd20:ce::254", Metadata),
            ("169.254.0.23", Metadata),
            ("169.254.42.42", Metadata),
            ("fd00:42::42", Metadata),
            ("fe80::a9fe:a9fe", Metadata),
            // Oracle, Akamai (Linode).
            ("fd00:c1::a9fe:a9fe", Metadata),
            ("fd00:a9fe:a9fe::1", Metadata),
            // RFC 3927, RFC 4291.
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            // RFC 1918.
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("::ffff:10.1.2.3", Private),
            ("64:ff9b::a01:203", Private),
            ("64:ff9b:1::5db8:d822", Private),
            // RFC 6598: behind a carrier's NAT.
            ("100.64.0.1", Private),
            ("100.127.255.255", Private),
            // RFC 4193, and the site-local addresses before it.
            ("fd12::1", Private),
            ("fc00::1", Private),
            ("fec0::1", Private),
            // RFC 791 "this network", unspecified.
            ("0.0.0.0", Unusable),
            ("0.1.2.3", Unusable),
            ("::", Unusable),
            ("::ffff:0.0.0.0", Unusable),
            // Multicast, reserved, broadcast.
            ("224.0.0.1", Unusable),
            ("239.255.255.255", Unusable),
            ("240.0.0.1", Unusable),
            ("255.255.255.255", Unusable),
            ("::ffff:255.255.255.255", Unusable),
            ("ff02::1", Unusable),
            // RFC 6890, RFC 2544, RFC 5737, RFC 7526.
            ("192.0.0.192", Unusable),
            ("198.18.0.1", Unusable),
            ("192.0.2.1", Unusable),
            ("198.51.100.1", Unusable),
            ("203.0.113.1", Unusable),
            ("192.88.99.1", Unusable),
            // Teredo (RFC 4380), ORCHIDv2 (RFC 7343), documentation (RFC 3849, RFC 9637), discard (RFC 6666).
            ("2001::1", Unusable),
            ("2001:0:a9fe:a9fe::1", Unusable),
            ("2001:20::1", Unusable),
            ("2001:db8::1", Unusable),
            ("3fff::1", Unusable),
            ("100::1", Unusable),
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
