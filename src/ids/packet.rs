//! A captured packet: which IP header the alert is about, between whom, and what it carries.
//!
//! The IDS's own offsets are hints and often wrong, so the packet is read from byte 0, header by header. What is
//! known: Ethernet, VLAN and QinQ tags, MPLS, PPPoE, Linux "cooked", BSD loopback, IPv4, IPv6 with its extension
//! headers, GRE (also with Ethernet inside), IP in IP in all four pairs, VXLAN.
//!
//! Invariants:
//! - Nothing outside of the slice is read, whatever a length field says.
//! - Each step goes forward, and there are at most `HEADERS_MAX`: time is bounded, nothing recurses.
//! - A layer's offsets pass the checks of `wire::item`: the server may rely on them.

#![forbid(unsafe_code)]

use super::LinkType;
use crate::alert::{
    Flow, LINK_ETHERNET, LINK_NULL, LINK_RAW, LINK_SLL, Packet, Payload, Transport,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// More headers than this around a packet are an attack on whoever reads them. Snort's own limit is 40.
const HEADERS_MAX: u8 = 64;

const ICMP: u8 = 1;
const IP_IN_IP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const ICMPV6: u8 = 58;
const MPLS_IN_IP: u8 = 137;

const VXLAN_PORT: u16 = 4789;

/// An IP header, and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct IpLayer {
    /// Where its IP header begins.
    pub(super) start: usize,
    /// Whether its version is 4 or 6. The link layer may have promised IPv4 where another version stands: Snort
    /// alerts on that (116:1), and the addresses are worth having.
    pub(super) has_version: bool,
    pub(super) flow: Flow,
    /// Where its complete TCP or UDP header, or the first four bytes of its ICMP header, begin.
    pub(super) transport: Option<usize>,
    /// What follows the transport header, or the IP headers where there is none, within the IP length.
    pub(super) payload: Range<usize>,
    is_fragment: bool,
}

impl IpLayer {
    /// Tells `packet` where this layer is; returns its payload.
    pub(super) fn mark(&self, packet: &mut Packet<'_>) -> Payload<'static> {
        let offset = |offset: usize| u32::try_from(offset).expect("a packet is below 4 GiB");
        if self.has_version {
            packet.ip = Some(offset(self.start));
            packet.transport = self.transport.map(offset);
        }
        Payload::InPacket {
            offset: offset(self.payload.start),
            bytes: offset(self.payload.len()),
        }
    }
}

/// The link type that is meant, as libpcap numbers them.
///
/// No field of Snort's datagram tells it, so `Auto` looks: Ethernet if that leads to an IP header, else IP from the
/// first byte or behind an address family if its length fits, else Ethernet (ARP, a header that was cut).
pub(super) fn link(meant: LinkType, bytes: &[u8], wire_bytes: u32) -> u32 {
    match meant {
        LinkType::Ethernet => LINK_ETHERNET,
        LinkType::Raw => LINK_RAW,
        LinkType::Null => LINK_NULL,
        LinkType::Auto => {
            let length = bytes.len().max(wire_bytes as usize);
            let family = bytes.first_chunk().copied().unwrap_or_default();
            if leads_to_ip(bytes) {
                LINK_ETHERNET
            } else if !is_arp(bytes) && ip_version_that_fits(bytes, length).is_some() {
                LINK_RAW
            } else if bytes.get(4..).is_some_and(|ip| {
                let version = ip_version_that_fits(ip, length.saturating_sub(4));
                version.is_some() && version == version_of_family(family)
            }) {
                LINK_NULL
            } else {
                LINK_ETHERNET
            }
        }
    }
}

fn leads_to_ip(frame: &[u8]) -> bool {
    IpLayers::new(frame, LINK_ETHERNET, Vxlan::Closed)
        .next()
        .is_some()
}

fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x06])
}

fn ip_version_that_fits(bytes: &[u8], length: usize) -> Option<u8> {
    let version = bytes.first()? >> 4;
    let (header, total) = match version {
        4 => (20, usize::from(be16(bytes, 2)?)),
        6 => (40, 40 + usize::from(be16(bytes, 4)?)),
        _ => return None,
    };
    (bytes.len() >= header && (header..=length).contains(&total)).then_some(version)
}

/// The address family of BSD loopback is in the byte order of the machine that captured; IPv6 has a number of its
/// own on Linux, Windows, NetBSD and OpenBSD, FreeBSD, and macOS.
fn version_of_family(family: [u8; 4]) -> Option<u8> {
    match u32::from_le_bytes(family).min(u32::from_be_bytes(family)) {
        2 => Some(4),
        10 | 23 | 24 | 28 | 30 => Some(6),
        _ => None,
    }
}

/// Whether the IDS looks into VXLAN: Snort 3 and Suricata do, Snort 2.9 does not. Which Snort is behind barnyard2
/// cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vxlan {
    Opened,
    Closed,
}

/// The IP layers of a packet, the outermost first.
#[derive(Debug)]
pub(super) struct IpLayers<'a> {
    /// The packet up to the end of the innermost IP layer so far.
    bytes: &'a [u8],
    next: Option<(Header, usize)>,
    headers_left: u8,
    vxlan: Vxlan,
}

/// What stands at an offset.
#[derive(Clone, Copy, Debug)]
enum Header {
    Ethernet,
    /// Two bytes which say what follows.
    EtherType,
    Mpls,
    Pppoe,
    Gre,
    Vxlan,
    /// IPv4 by the word of the header in front.
    Ipv4,
    /// IP of the version it says itself.
    Ip,
}

impl Iterator for IpLayers<'_> {
    type Item = IpLayer;

    fn next(&mut self) -> Option<IpLayer> {
        while let Some((header, at)) = self.next.take() {
            self.headers_left = self.headers_left.checked_sub(1)?;
            if matches!(header, Header::Ipv4 | Header::Ip) {
                let layer = ip_layer(self.bytes, at, header)?;
                self.bytes = &self.bytes[..layer.payload.end];
                self.next = self.behind_ip(&layer);
                return Some(layer);
            }
            self.next = behind(self.bytes, header, at);
        }
        None
    }
}

impl<'a> IpLayers<'a> {
    pub(super) fn new(bytes: &'a [u8], link: u32, vxlan: Vxlan) -> IpLayers<'a> {
        let next = match link {
            LINK_ETHERNET => Some((Header::Ethernet, 0)),
            LINK_RAW => Some((Header::Ip, 0)),
            LINK_NULL => Some((Header::Ip, 4)),
            LINK_SLL => Some((Header::EtherType, 14)),
            _ => None,
        };
        IpLayers {
            bytes,
            next,
            headers_left: HEADERS_MAX,
            vxlan,
        }
    }

    fn behind_ip(&self, layer: &IpLayer) -> Option<(Header, usize)> {
        if layer.is_fragment {
            return None; // No IDS looks into a tunnel before its packet is rebuilt.
        }
        let header = match (layer.flow.proto, layer.flow.transport) {
            (IP_IN_IP | IPV6_IN_IP, _) => Header::Ip,
            (GRE, _) => Header::Gre,
            (MPLS_IN_IP, _) => Header::Mpls,
            (UDP, Transport::Ports { destination, .. })
                if destination == VXLAN_PORT && self.vxlan == Vxlan::Opened =>
            {
                Header::Vxlan
            }
            _ => return None,
        };
        Some((header, layer.payload.start))
    }
}

/// What follows a header that is not IP, and where.
///
/// | header | bytes | what says what follows |
/// |---|---:|---|
/// | Ethernet | 12 | the type behind |
/// | type | 2 | itself; of a VLAN tag: 2 bytes of tag, then a type again |
/// | MPLS | 4 | bit 0 of byte 2: the last label, then IP |
/// | PPPoE | 6 | PPP's two bytes of protocol behind |
/// | GRE | 4, and 4 for each of checksum, key and sequence number | bytes 2 and 3, a type |
/// | VXLAN | 8 | always Ethernet; bit 3 of byte 0 is set |
fn behind(bytes: &[u8], header: Header, at: usize) -> Option<(Header, usize)> {
    match header {
        Header::Ethernet => Some((Header::EtherType, at + 12)),
        Header::EtherType => behind_type(be16(bytes, at)?, at + 2),
        Header::Mpls => match bytes.get(at + 2)? & 1 {
            0 => Some((Header::Mpls, at + 4)),
            _ => Some((Header::Ip, at + 4)),
        },
        Header::Pppoe => match be16(bytes, at + 6)? {
            0x0021 | 0x0057 => Some((Header::Ip, at + 8)),
            _ => None,
        },
        Header::Gre => behind_gre(bytes, at),
        Header::Vxlan => (bytes.get(at)? & 0x08 != 0).then_some((Header::Ethernet, at + 8)),
        Header::Ipv4 | Header::Ip => None, // Read by `ip_layer`.
    }
}

fn behind_type(kind: u16, at: usize) -> Option<(Header, usize)> {
    match kind {
        0x0800 => Some((Header::Ipv4, at)),
        0x86dd => Some((Header::Ip, at)),
        0x8100 | 0x88a8 | 0x9100 => Some((Header::EtherType, at + 2)),
        0x8847 | 0x8848 => Some((Header::Mpls, at)),
        0x8864 => Some((Header::Pppoe, at)),
        _ => None,
    }
}

/// Version 0 only (RFC 2784, 2890); bit 1 is the source routing of RFC 1701, which nobody sends.
fn behind_gre(bytes: &[u8], at: usize) -> Option<(Header, usize)> {
    let flags = be16(bytes, at)?;
    if flags & 0x4007 != 0 {
        return None;
    }
    let words = [0x8000, 0x2000, 0x1000]
        .into_iter()
        .filter(|flag| flags & flag != 0);
    let end = at + 4 + 4 * words.count();
    match be16(bytes, at + 2)? {
        0x6558 => Some((Header::Ethernet, end)),
        kind => behind_type(kind, end),
    }
}

/// The IP header at `at`; `None` if the capture ends within its fixed part.
fn ip_layer(bytes: &[u8], at: usize, header: Header) -> Option<IpLayer> {
    let from = bytes.get(at..)?;
    match (from.first()? >> 4, header) {
        (4, _) => ipv4_layer(from.first_chunk()?, bytes, at),
        (6, _) => ipv6_layer(from.first_chunk()?, bytes, at),
        (_, Header::Ipv4) => {
            let layer = ipv4_layer(from.first_chunk()?, bytes, at)?;
            Some(IpLayer {
                has_version: false,
                ..layer
            })
        }
        _ => None,
    }
}

/// | offset | size | field |
/// |---:|---:|---|
/// | 0 | 1 | version, length of the header in words: taken as 5 if less (Snort's 116:2) |
/// | 2 | 2 | total length; 0 is what a card that cuts segments itself leaves behind: then all that was captured |
/// | 6 | 2 | flags (0x2000: more fragments), offset of the fragment |
/// | 9 | 1 | protocol |
/// | 12 | 4 + 4 | source and destination address |
fn ipv4_layer(ip: &[u8; 20], bytes: &[u8], start: usize) -> Option<IpLayer> {
    let word = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
    let total = match usize::from(word(2)) {
        0 => usize::MAX,
        total => total,
    };
    let end = start.saturating_add(total).clamp(start + 20, bytes.len());
    let header_end = start + usize::from(ip[0] & 15).max(5) * 4;
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    let mut layer = IpLayer {
        start,
        has_version: true,
        flow: Flow {
            src: address(12).into(),
            dst: address(16).into(),
            proto: ip[9],
            transport: Transport::Unknown,
        },
        transport: None,
        payload: header_end.min(end)..end,
        is_fragment: word(6) & 0x3fff != 0,
    };
    if word(6) & 0x1fff == 0 {
        layer.read_transport(bytes);
    }
    Some(layer)
}

/// | offset | size | field |
/// |---:|---:|---|
/// | 4 | 2 | length behind these 40 bytes; 0 for a jumbogram: then all that was captured |
/// | 6 | 1 | next header |
/// | 8 | 16 + 16 | source and destination address |
fn ipv6_layer(ip: &[u8; 40], bytes: &[u8], start: usize) -> Option<IpLayer> {
    let length = match usize::from(u16::from_be_bytes([ip[4], ip[5]])) {
        0 if ip[6] != NO_NEXT_HEADER => usize::MAX,
        length => length,
    };
    let end = (start + 40).saturating_add(length).min(bytes.len());
    let address = |at: usize| -> IpAddr {
        let octets: &[u8; 16] = ip[at..].first_chunk().expect("offsets 8 and 24 of 40");
        Ipv6Addr::from(*octets).into()
    };
    let chain = extension_headers(&bytes[..end], start + 40, ip[6]);
    let mut layer = IpLayer {
        start,
        has_version: true,
        flow: Flow {
            src: address(8),
            dst: address(24),
            proto: chain.proto,
            transport: Transport::Unknown,
        },
        transport: None,
        payload: chain.end..end,
        is_fragment: chain.is_fragment,
    };
    if !chain.is_later_fragment {
        layer.read_transport(bytes);
    }
    Some(layer)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

struct Chain {
    proto: u8,
    end: usize,
    is_fragment: bool,
    is_later_fragment: bool,
}

/// Skips IPv6 extension headers, each `next header, length, ...`; one that was cut stays the protocol.
fn extension_headers(bytes: &[u8], at: usize, first: u8) -> Chain {
    let mut chain = Chain {
        proto: first,
        end: at,
        is_fragment: false,
        is_later_fragment: false,
    };
    for _ in 0..HEADERS_MAX {
        let Some(&[next, length, ref rest @ ..]) = bytes.get(chain.end..) else {
            break;
        };
        let size = match chain.proto {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY => 8 + usize::from(length) * 8,
            AUTHENTICATION => 8 + usize::from(length) * 4,
            FRAGMENT => 8,
            _ => break,
        };
        if rest.len() + 2 < size {
            break;
        }
        if chain.proto == FRAGMENT {
            let offset_and_more = u16::from_be_bytes([rest[0], rest[1]]);
            chain.is_fragment |= offset_and_more & 0xfff9 != 0;
            chain.is_later_fragment |= offset_and_more & 0xfff8 != 0;
        }
        chain.proto = next;
        chain.end += size;
        if chain.is_later_fragment {
            break; // What follows is a piece out of the middle.
        }
    }
    chain
}

impl IpLayer {
    /// Takes ports or ICMP type from the front of the payload, if a header is there, and the header out of it.
    fn read_transport(&mut self, bytes: &[u8]) {
        let at = self.payload.start;
        let segment = &bytes[self.payload.clone()];
        let header = match self.flow.proto {
            TCP => tcp_header(segment),
            UDP if segment.len() >= 8 => Some(8),
            // Type and code are in the first four bytes, the other four belong to the type.
            ICMP | ICMPV6 if segment.len() >= 4 => Some(segment.len().min(8)),
            _ => None,
        };
        let (Some(header), Some(&[a, b, c, d])) = (header, segment.first_chunk()) else {
            return;
        };
        self.transport = Some(at);
        self.payload.start += header;
        self.flow.transport = match self.flow.proto {
            TCP | UDP => Transport::Ports {
                source: u16::from_be_bytes([a, b]),
                destination: u16::from_be_bytes([c, d]),
            },
            _ => Transport::Icmp { kind: a, code: b },
        };
    }
}

/// The length of a TCP header, if it is one that fits: its upper half of byte 12 counts words.
fn tcp_header(segment: &[u8]) -> Option<usize> {
    let length = usize::from(segment.get(12)? >> 4) * 4;
    (length >= 20 && length <= segment.len()).then_some(length)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*word))
}
