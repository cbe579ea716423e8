//! An Ethernet packet around a payload.

use super::{Draft, Proto};

/// Both addresses, and the type field's two bytes in front of the IP header.
const ETHERNET_BYTES: usize = 14;
const IP4_BYTES: usize = 20;
const IP6_BYTES: usize = 40;

impl Proto {
    /// Its number behind an IP header.
    pub(super) fn number(self, is_ip6: bool) -> u8 {
        match self {
            Proto::Tcp => 6,
            Proto::Udp => 17,
            Proto::Icmp if is_ip6 => 58,
            Proto::Icmp => 1,
        }
    }

    fn header_bytes(self) -> usize {
        match self {
            Proto::Tcp => 20,
            Proto::Udp | Proto::Icmp => 8,
        }
    }
}

impl Draft {
    /// Length of its packet.
    pub(super) fn packet_bytes(&self) -> usize {
        let ip = if self.is_ip6 { IP6_BYTES } else { IP4_BYTES };
        ETHERNET_BYTES + ip + self.proto.header_bytes() + self.payload.len()
    }

    /// Appends its packet; checksums are 0, as with a network card that computes them.
    pub(super) fn put_packet(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[2, 0, 0, 0, 0, 10, 2, 0, 0, 0, 0, 11]);
        match self.is_ip6 {
            true => self.put_ip6(out),
            false => self.put_ip4(out),
        }
        self.put_transport(out);
        out.extend_from_slice(&self.payload);
    }

    fn put_ip4(&self, out: &mut Vec<u8>) {
        let length = (self.packet_bytes() - ETHERNET_BYTES) as u16;
        out.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&(self.number as u16).to_be_bytes());
        out.extend_from_slice(&[0x40, 0, 64, self.proto.number(false), 0, 0]);
        let (source, destination) = self.hosts;
        out.extend_from_slice(&[10, 1]);
        out.extend_from_slice(&source.to_be_bytes());
        out.extend_from_slice(&[172, 16]);
        out.extend_from_slice(&destination.to_be_bytes());
    }

    fn put_ip6(&self, out: &mut Vec<u8>) {
        let length = (self.packet_bytes() - ETHERNET_BYTES - IP6_BYTES) as u16;
        out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[self.proto.number(true), 64]);
        for (network, host) in [(1, self.hosts.0), (2, self.hosts.1)] {
            out.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, network, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend_from_slice(&host.to_be_bytes());
        }
    }

    fn put_transport(&self, out: &mut Vec<u8>) {
        let (source, destination) = self.ports;
        if self.proto == Proto::Icmp {
            out.extend_from_slice(&[if self.is_ip6 { 128 } else { 8 }, 0, 0, 0]);
        } else {
            out.extend_from_slice(&source.to_be_bytes());
            out.extend_from_slice(&destination.to_be_bytes());
        }
        match self.proto {
            Proto::Tcp => {
                out.extend_from_slice(&(self.number as u32).to_be_bytes());
                out.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
            }
            Proto::Udp => {
                let length = (self.proto.header_bytes() + self.payload.len()) as u16;
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&[0, 0]);
            }
            Proto::Icmp => {
                out.extend_from_slice(&source.to_be_bytes());
                out.extend_from_slice(&(self.number as u16).to_be_bytes());
            }
        }
    }
}
