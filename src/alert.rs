//! `Alert`: what an IDS reported, as it travels from the IDS's socket to the database.
//!
//! An alert borrows from the datagram it was decoded from, or from the buffer it was received in: nothing is
//! copied before it is encoded or stored. Offsets inside `Packet` and `Payload::InPacket` are checked by whoever
//! makes an `Alert` (`ids` on the sensor, `wire` on the server), so that the slices below cannot panic.

use std::borrow::Cow;
use std::net::IpAddr;

/// Which program reported the alert. The numbers are the ones on the wire and in `flop_event.ids`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ids {
    /// Snort 2.9, with or without OpenAppID.
    Snort2 = 1,
    /// Snort 3.
    Snort3 = 2,
    /// barnyard2's `alert_unixsock`.
    Barnyard2 = 3,
    /// An EVE record of Suricata.
    Suricata = 4,
}

impl Ids {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Ids; 4] = [Ids::Snort2, Ids::Snort3, Ids::Barnyard2, Ids::Suricata];

    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Ids> {
        Ids::ALL.into_iter().find(|ids| *ids as u8 == number)
    }

    /// The name as an operator knows it.
    pub fn name(self) -> &'static str {
        match self {
            Ids::Snort2 => "Snort 2.9",
            Ids::Snort3 => "Snort 3",
            Ids::Barnyard2 => "barnyard2",
            Ids::Suricata => "Suricata",
        }
    }
}

/// Who a sensor says it is; checked by `wire` (length, characters).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SensorName {
    /// `sensor.hostname`.
    pub name: String,
    /// `sensor.interface`; empty for none (NULL in the database).
    pub interface: String,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert<'a> {
    /// The program that reported it.
    pub ids: Ids,
    /// When the event happened: microseconds since 1970-01-01 00:00:00 UTC.
    pub time_us: i64,
    /// Generator id.
    pub gid: u32,
    /// Signature id; up to 4,294,967,295.
    pub sid: u32,
    /// Revision of the rule; 0 where the rule has none.
    pub rev: u32,
    /// 1-based position of the class in the sensor's configuration, 0 for none; `None` where the IDS tells
    /// classes by name only (EVE).
    pub class_id: Option<u32>,
    /// The class's name where the IDS tells it (EVE's `category`), else empty.
    pub class_name: Cow<'a, str>,
    /// 1 is the most important; 0 where the rule has none (Snort).
    pub priority: u32,
    /// The IDS's own number of the event; not unique in a flood.
    pub event_id: Option<u32>,
    /// The event id of the first event of a tagged flow.
    pub event_reference: Option<u32>,
    /// The rule's message, without Snort 3's quotes: any bytes, at most `MESSAGE_BYTES_MAX`.
    pub message: Cow<'a, [u8]>,
    /// Where the IDS saw the packet, when the alert itself says so (EVE's `in_iface`), else empty.
    pub interface: Cow<'a, str>,
    /// What the IDS did (EVE's `allowed` or `blocked`), else empty.
    pub action: Cow<'a, str>,
    /// Application protocol (EVE's `app_proto`, Snort 2.9's application name), else empty.
    pub app_proto: Cow<'a, str>,
    /// Addresses and ports; `None` when the IDS did not send them (no packet, ARP).
    pub flow: Option<Flow>,
    /// The packet, as far as it was captured.
    pub packet: Option<Packet<'a>>,
    /// What follows the transport header.
    pub payload: Payload<'a>,
    /// The EVE record as it came, without the newline; empty for others.
    pub record: &'a [u8],
}

/// A message longer than this is cut (EVE; Snort's are 255 bytes at most): `sig_name` is indexed, and
/// PostgreSQL refuses index entries beyond 2,704 bytes. A byte that is no UTF-8 becomes three in the database.
pub const MESSAGE_BYTES_MAX: usize = 800;
/// The same for the class's name, indexed as well, and the other short texts.
pub const NAME_BYTES_MAX: usize = 255;

/// The two ends of what the alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub src: IpAddr,
    /// Destination address; of the same family as `src`.
    pub dst: IpAddr,
    /// IP protocol number, behind IPv6 extension headers.
    pub proto: u8,
    /// What is known of the transport layer.
    pub transport: Transport,
}

/// Ports or ICMP type, where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Another protocol, a fragment without header, a header that was cut.
    Unknown,
    /// TCP, UDP, or (EVE) SCTP.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
}

/// Captured bytes, from the link layer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When the packet was seen: microseconds since 1970-01-01 00:00:00 UTC.
    pub time_us: i64,
    /// Length on the wire; may be more than was captured.
    pub wire_bytes: u32,
    /// Link type as libpcap numbers them (`LINK_*`).
    pub link: u32,
    /// What was captured, from byte 0 of the link header; not empty.
    pub bytes: &'a [u8],
    /// Offset of the IP header the alert is about; at least 20 bytes (IPv4) or 40 (IPv6) follow.
    pub ip: Option<u32>,
    /// Offset of the TCP (20 bytes follow), UDP (8) or ICMP (4) header behind `ip`.
    pub transport: Option<u32>,
}

/// BSD loopback: four bytes of address family in host order, then IP.
pub const LINK_NULL: u32 = 0;
/// Ethernet.
pub const LINK_ETHERNET: u32 = 1;
/// IP without link header (`DLT_RAW`'s portable number).
pub const LINK_RAW: u32 = 101;
/// Linux "cooked" capture: 16 bytes, then IP.
pub const LINK_SLL: u32 = 113;

/// What follows the transport header, within the IP length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Not known: no packet came.
    None,
    /// A part of `Packet::bytes`; may be empty.
    InPacket {
        /// Where it begins.
        offset: u32,
        /// Its length in bytes.
        bytes: u32,
    },
    /// Told by the IDS (EVE's `payload`, which may be reassembled from many packets).
    Own(&'a [u8]),
}

impl<'a> Alert<'a> {
    /// The payload's bytes; `None` when nothing is known of them, an empty slice when there were none.
    pub fn payload(&self) -> Option<&'a [u8]> {
        match self.payload {
            Payload::None => None,
            Payload::Own(bytes) => Some(bytes),
            Payload::InPacket { offset, bytes } => {
                let packet = self.packet.as_ref()?.bytes;
                packet.get(offset as usize..)?.get(..bytes as usize)
            }
        }
    }

    /// The message as an operator reads it: what is not UTF-8 shows as U+FFFD.
    pub fn message_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.message)
    }
}
