//! Addresses that are no public host's.
//!
//! Who may speak to every host means hosts of the internet. The machine itself, its network
//! and the services that a cloud keeps at fixed addresses trust whoever can reach them, and
//! a name may resolve to any of them, at the will of whoever owns the name. So such an
//! address needs a grant of its own ([`Permit::also_address`](crate::Permit::also_address)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is special about an address, in a few words; `None` for one that may be a public
/// host's.
///
/// The ranges are those of IANA's special-purpose address registries that are not globally
/// reachable, and multicast. An address of version 6 that carries one of version 4, which
/// whoever passes the packet on will send it to, is as special as the one it carries.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

/// Address, leading bits, and what it is.
const V4: [([u8; 4], u32, &str); 18] = [
    ([169, 254, 169, 254], 32, "cloud metadata"),
    // Azure's host, at an address of the public kind.
    ([168, 63, 129, 16], 32, "cloud metadata"),
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by a carrier"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "reserved"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    let within = |network: [u8; 4], bits: u32| {
        (address.to_bits() ^ u32::from_be_bytes(network)).leading_zeros() >= bits
    };
    V4.iter().find(|(network, bits, _)| within(*network, *bits)).map(|(_, _, what)| *what)
}

/// Where in an address of version 6 one of version 4 stands.
enum Carried {
    /// None is in there.
    No,
    /// After so many bits.
    After(u32),
    /// In the last 32 bits, each of them turned over.
    Inverted,
}

/// First segments, leading bits, what it is, and the address in it. The first that fits.
const V6: [([u16; 8], u32, &str, Carried); 19] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", Carried::No),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", Carried::No),
    // Compatible addresses are gone from the standards and from routers, not from every
    // system, and mapped ones are version 4 to the system.
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "", Carried::After(96)),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "", Carried::After(96)),
    // RFC 2765's translated form.
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "", Carried::After(96)),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "", Carried::After(96)),
    // Where the address stands in it is the operator's choice (RFC 8215).
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "translated locally", Carried::No),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata", Carried::No),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private", Carried::No),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local", Carried::No),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local", Carried::No),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", Carried::No),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "", Carried::Inverted),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking", Carried::No),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved", Carried::No),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", Carried::No),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "", Carried::After(16)),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", Carried::No),
    // The rest of what is handed out for hosts of the internet.
    ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "", Carried::No),
];

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within =
        |network: [u16; 8], length: u32| (bits ^ Ipv6Addr::from(network).to_bits()).leading_zeros() >= length;
    let Some((_, _, what, carried)) = V6.iter().find(|(network, length, ..)| within(*network, *length))
    else {
        return Some("reserved");
    };
    // The shifts leave the 32 bits that are meant at the end.
    let v4 = |bits: u128| Ipv4Addr::from_bits((bits & u128::from(u32::MAX)) as u32);
    match carried {
        Carried::No => Some(*what).filter(|what| !what.is_empty()),
        Carried::After(before) => special_v4(v4(bits >> (96 - before))),
        // Of Teredo both the client, which is turned over, and the server are contacted.
        Carried::Inverted => special_v4(v4(!bits)).or_else(|| special_v4(v4(bits >> 64))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::{V4, special};

    fn of(text: &str) -> Option<&'static str> {
        special(text.parse().unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn every_range_from_its_first_to_its_last_address() {
        let ranges = [
            ("0.0.0.0", "0.255.255.255", "this network"),
            ("10.0.0.0", "10.255.255.255", "private"),
            ("100.64.0.0", "100.127.255.255", "shared by a carrier"),
            ("127.0.0.0", "127.255.255.255", "loopback"),
            ("168.63.129.16", "168.63.129.16", "cloud metadata"),
            ("169.254.0.0", "169.254.255.255", "link-local"),
            ("169.254.169.254", "169.254.169.254", "cloud metadata"),
            ("172.16.0.0", "172.31.255.255", "private"),
            ("192.0.0.0", "192.0.0.255", "reserved"),
            ("192.0.2.0", "192.0.2.255", "documentation"),
            ("192.88.99.0", "192.88.99.255", "reserved"),
            ("192.168.0.0", "192.168.255.255", "private"),
            ("198.18.0.0", "198.19.255.255", "benchmarking"),
            ("198.51.100.0", "198.51.100.255", "documentation"),
            ("203.0.113.0", "203.0.113.255", "documentation"),
            ("224.0.0.0", "239.255.255.255", "multicast"),
            ("240.0.0.0", "255.255.255.254", "reserved"),
            ("255.255.255.255", "255.255.255.255", "broadcast"),
            ("::", "::", "unspecified"),
            ("::1", "::1", "loopback"),
            ("::2", "::00ff:ffff", "this network"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "translated locally"),
            ("64:ff9b:2::", "64:ff9b:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("100::", "100::ffff:ffff:ffff:ffff", "reserved"),
            ("2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarking"),
            ("2001:2:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
            ("fd00:ec2::254", "fd00:ec2::254", "cloud metadata"),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
        ];
        for (first, last, what) in ranges {
            assert_eq!((of(first), of(last)), (Some(what), Some(what)), "{first} to {last}");
        }
    }

    #[test]
    fn what_lies_between_the_ranges_may_be_public() {
        for address in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
            "2600::1",
            "3ffe:ffff::",
            "3fff:1000::",
        ] {
            assert_eq!(of(address), None, "{address}");
        }
    }

    #[test]
    fn an_address_in_an_address_is_seen() {
        // Each with 127.0.0.1, and with 8.8.8.8, in it.
        for (inner, public) in [
            ("::127.0.0.1", "::8.8.8.8"),
            ("::ffff:127.0.0.1", "::ffff:8.8.8.8"),
            ("::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"),
            ("64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8"),
            ("2002:7f00:1::1", "2002:808:808::1"),
            // Teredo, with 8.8.8.8 as the server.
            ("2001:0:808:808:8000:63bf:80ff:fffe", "2001:0:808:808:8000:63bf:f7f7:f7f7"),
            // Teredo, with the server at 127.0.0.1.
            ("2001:0:7f00:1:8000:63bf:f7f7:f7f7", "2001:0:808:808::f7f7:f7f7"),
        ] {
            assert_eq!((of(inner), of(public)), (Some("loopback"), None), "{inner} {public}");
        }
        assert_eq!(of("::ffff:169.254.169.254"), Some("cloud metadata"));
        assert_eq!(of("64:ff9b::10.0.0.1"), Some("private"));
    }

    proptest! {
        #[test]
        fn every_carrier_is_as_special_as_what_it_carries(bits: u32, rest: u64) {
            let v4 = Ipv4Addr::from_bits(bits);
            let expected = special(IpAddr::V4(v4));
            let mut teredo = Ipv6Addr::from([0x2001, 0, 0x0808, 0x0808, 0, 0, 0, 0]).to_bits();
            teredo |= u128::from(rest as u32) << 32 | u128::from(!bits);
            let relayed = 0x2002_u128 << 112 | u128::from(bits) << 80 | u128::from(rest);
            let translated = 0x64_ff9b_u128 << 96 | u128::from(bits);
            prop_assert_eq!(special(v4.to_ipv6_mapped().into()), expected);
            for carrier in [teredo, relayed, translated] {
                prop_assert_eq!(special(Ipv6Addr::from_bits(carrier).into()), expected);
            }
        }

        #[test]
        fn what_the_standard_library_calls_special_is(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified()
            {
                prop_assert!(special(v4.into()).is_some());
            }
            let v6 = Ipv6Addr::from_bits(wide);
            if v6.is_loopback() || v6.is_multicast() || v6.is_unique_local() || v6.is_unicast_link_local() {
                prop_assert!(special(v6.into()).is_some());
            }
        }

        #[test]
        fn every_address_of_every_range_is_special(row in 0..V4.len(), below: u32) {
            let (network, bits, _) = V4[row];
            let host = below.checked_shr(bits).unwrap_or(0);
            prop_assert!(special(Ipv4Addr::from_bits(u32::from_be_bytes(network) | host).into()).is_some());
        }
    }
}
