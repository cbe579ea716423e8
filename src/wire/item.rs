//! Items of a stream: an alert or a loss <-> bytes.
//!
//! # Item
//!
//! | offset | size | field   | meaning                                                                   |
//! |-------:|-----:|---------|---------------------------------------------------------------------------|
//! |      0 |    4 | length  | bytes that follow, `ITEM_BYTES_MIN - 4` to `ITEM_BYTES_MAX - 4`; checked first |
//! |      4 |    1 | kind    | 1 alert, 2 loss, 3 gap (never on the wire)                                |
//! |      5 |    1 | version | of this item's layout: 1                                                  |
//! |      6 |      | body    | as below                                                                  |
//!
//! # Body of an alert
//!
//! | offset | size | field           | meaning                                                              |
//! |-------:|-----:|-----------------|----------------------------------------------------------------------|
//! |      0 |    1 | ids             | 1 Snort 2.9, 2 Snort 3, 3 barnyard2, 4 Suricata                      |
//! |      1 |    1 | has             | bits: 1 class id, 2 event id, 4 event reference, 8 flow, 16 packet, 32 IPv6 flow, 64 ports, 128 ICMP |
//! |      2 |    1 | payload         | 0 not known, 1 part of the packet, 2 own bytes                       |
//! |      3 |    1 | IP protocol     | 0 without flow                                                       |
//! |      4 |    8 | time            | i64, microseconds since 1970                                         |
//! |     12 |    4 | gid             |                                                                      |
//! |     16 |    4 | sid             |                                                                      |
//! |     20 |    4 | rev             |                                                                      |
//! |     24 |    4 | class id        | 0 if absent                                                          |
//! |     28 |    4 | priority        |                                                                      |
//! |     32 |    4 | event id        | 0 if absent                                                          |
//! |     36 |    4 | event reference | 0 if absent                                                          |
//! |     40 |      | message, class name, interface, action, application protocol | each u16 length, bytes  |
//! |        |      | flow            | if present: source and destination address (2 x 4 or 2 x 16), then 2 x u16 ports or ICMP type and code |
//! |        |      | packet          | if present: i64 time, u32 length on the wire, u32 link type, u32 offset of IP, u32 offset of transport (0xffffffff: none), u32 length, bytes |
//! |        |      | payload         | 1: u32 offset, u32 length; 2: u32 length, bytes                      |
//! |        |      | record          | u32 length, bytes                                                    |
//!
//! # Body of a loss
//!
//! | size | field  | meaning                                        |
//! |-----:|--------|------------------------------------------------|
//! |    8 | count  | u64: alerts that are lost                      |
//! |    8 | from   | i64: when the first was lost, microseconds since 1970 |
//! |    8 | to     | i64: when the last was lost                    |
//! |      | reason | u16 length, text of at most `REASON_BYTES_MAX`; begins with `BEFORE` if they never came to sockserv |
//!
//! # Body of a gap
//!
//! | size | field   | meaning                                                    |
//! |-----:|---------|------------------------------------------------------------|
//! |    8 | numbers | u64: sequence numbers it stands for, 1 to `LOSS_COUNT_MAX`  |
//! |      | loss    | as the body of a loss                                      |
//!
//! Only a worker's own buffer has gaps: a run of items that it dropped. One that a sensor sends is refused.

#![forbid(unsafe_code)]

use super::{DecodeError, Fields, error, put_text};
use crate::alert::{
    Alert, Flow, Ids, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Packet, Payload, Transport,
};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The shortest item is a loss without reason; an alert has more bytes.
pub const ITEM_BYTES_MIN: usize = 6 + 26;
/// The longest item: an EVE record of 1 MiB whose `payload` and `packet` fill it, decoded beside it, and 64 KiB for
/// the rest.
pub const ITEM_BYTES_MAX: usize = (1 << 20) * 2 + (64 << 10);
/// A loss's reason is a sentence, not a dump.
pub const REASON_BYTES_MAX: usize = 500;

/// How the reason begins of alerts that never came to sockserv: they are no part of what it received.
pub const BEFORE: &str = "before sockserv: ";

/// A hundred years of a million alerts a second: so that sums of losses cannot overflow.
pub const LOSS_COUNT_MAX: u64 = 1 << 52;

const VERSION: u8 = 1;
const KIND_ALERT: u8 = 1;
const KIND_LOSS: u8 = 2;
const KIND_GAP: u8 = 3;

const HAS_CLASS_ID: u8 = 1;
const HAS_EVENT_ID: u8 = 2;
const HAS_EVENT_REFERENCE: u8 = 4;
const HAS_FLOW: u8 = 8;
const HAS_PACKET: u8 = 16;
const HAS_IPV6: u8 = 32;
const HAS_PORTS: u8 = 64;
const HAS_ICMP: u8 = 128;

const PAYLOAD_NONE: u8 = 0;
const PAYLOAD_IN_PACKET: u8 = 1;
const PAYLOAD_OWN: u8 = 2;

const NO_OFFSET: u32 = u32::MAX;

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are alerts, and they live on the stack"
)]
pub enum Item<'a> {
    /// An alert.
    Alert(Alert<'a>),
    /// Alerts that were dropped.
    Loss(Loss<'a>),
    /// Items that a worker dropped after they had got their numbers.
    Gap(Gap<'a>),
}

impl Item<'_> {
    /// How many sequence numbers it stands for.
    pub fn numbers(&self) -> u64 {
        match self {
            Item::Alert(_) | Item::Loss(_) => 1,
            Item::Gap(gap) => gap.numbers,
        }
    }
}

/// A run of dropped items, in their place in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Sequence numbers of the items: at least 1.
    pub numbers: u64,
    /// The alerts among them, and those that losses among them speak of.
    pub loss: Loss<'a>,
}

/// Alerts that will not come, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss<'a> {
    /// How many.
    pub count: u64,
    /// When the first was lost: microseconds since 1970-01-01 00:00:00 UTC.
    pub from_us: i64,
    /// When the last was lost.
    pub to_us: i64,
    /// Why.
    pub reason: Cow<'a, str>,
}

impl Loss<'_> {
    /// Whether these alerts never came to sockserv, so that it has neither received nor dropped them.
    pub fn is_before(&self) -> bool {
        self.reason.starts_with(BEFORE)
    }
}

/// Appends the item of an alert. The caller's decoder has bounded each part (`ids`), so it fits `ITEM_BYTES_MAX`.
pub fn put_alert(out: &mut Vec<u8>, alert: &Alert<'_>) {
    let start = begin(out, KIND_ALERT);
    out.extend_from_slice(&[
        alert.ids as u8,
        has(alert),
        payload_kind(&alert.payload),
        alert.flow.map_or(0, |flow| flow.proto),
    ]);
    out.extend_from_slice(&alert.time_us.to_le_bytes());
    for number in [
        alert.gid,
        alert.sid,
        alert.rev,
        alert.class_id.unwrap_or(0),
        alert.priority,
        alert.event_id.unwrap_or(0),
        alert.event_reference.unwrap_or(0),
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_text(out, &alert.message);
    for text in [
        &alert.class_name,
        &alert.interface,
        &alert.action,
        &alert.app_proto,
    ] {
        put_text(out, text.as_bytes());
    }
    if let Some(flow) = &alert.flow {
        put_flow(out, flow);
    }
    if let Some(packet) = &alert.packet {
        put_packet(out, packet);
    }
    match alert.payload {
        Payload::None => {}
        Payload::InPacket { offset, bytes } => {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }
        Payload::Own(bytes) => put_bytes(out, bytes),
    }
    put_bytes(out, alert.record);
    end(out, start);
}

/// Appends the item of a loss; its reason is cut at `REASON_BYTES_MAX`.
pub fn put_loss(out: &mut Vec<u8>, loss: &Loss<'_>) {
    let start = begin(out, KIND_LOSS);
    put_loss_body(out, loss);
    end(out, start);
}

/// Appends the item of a gap, for a worker's own buffer.
pub fn put_gap(out: &mut Vec<u8>, gap: &Gap<'_>) {
    let start = begin(out, KIND_GAP);
    out.extend_from_slice(&gap.numbers.to_le_bytes());
    put_loss_body(out, &gap.loss);
    end(out, start);
}

fn put_loss_body(out: &mut Vec<u8>, loss: &Loss<'_>) {
    out.extend_from_slice(&loss.count.to_le_bytes());
    out.extend_from_slice(&loss.from_us.to_le_bytes());
    out.extend_from_slice(&loss.to_us.to_le_bytes());
    let reason = &loss.reason[..loss.reason.floor_char_boundary(REASON_BYTES_MAX)];
    put_text(out, reason.as_bytes());
}

/// The item's whole length, from the bytes at its front; `None` while fewer than four are there.
///
/// # Errors
///
/// The length is out of its range.
pub fn length(front: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(word) = front.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = (u32::from_le_bytes(*word) as usize).saturating_add(4);
    if !(ITEM_BYTES_MIN..=ITEM_BYTES_MAX).contains(&length) {
        return error(format!(
            "an item of {length} bytes, {ITEM_BYTES_MIN} to {ITEM_BYTES_MAX} allowed"
        ));
    }
    Ok(Some(length))
}

/// Checks the version of an item's layout: what a newer sensor sends is not to be lost, but to be refused.
///
/// # Errors
///
/// Names both versions.
pub fn check_version(item: &[u8]) -> Result<(), DecodeError> {
    match item.get(5) {
        Some(&VERSION) => Ok(()),
        version => error(format!(
            "an item of version {}, version {VERSION} is known here",
            version.unwrap_or(&0)
        )),
    }
}

/// Whether the item is an alert, from its header alone.
pub fn is_alert(item: &[u8]) -> bool {
    item.get(4) == Some(&KIND_ALERT)
}

/// Whether an item is a gap, by its kind alone.
pub fn is_gap(item: &[u8]) -> bool {
    item.get(4) == Some(&KIND_GAP)
}

/// Checks that a sensor may send an item of this kind: a gap stands for many sequence numbers, and those are counted
/// here alone.
///
/// # Errors
///
/// It may not.
pub fn check_sent(item: &[u8]) -> Result<(), DecodeError> {
    match is_gap(item) {
        true => error("a gap, which only servsock itself makes"),
        false => Ok(()),
    }
}

/// Decodes one item of exactly this length.
///
/// # Errors
///
/// Says which field is wrong; offsets that point outside the packet are among it.
pub fn decode(item: &[u8]) -> Result<Item<'_>, DecodeError> {
    match length(item)? {
        Some(length) if length == item.len() => {}
        _ => return error("an item whose length is not its own"),
    }
    check_version(item)?;
    let fields = Fields::new(&item[6..]);
    match item[4] {
        KIND_ALERT => decode_alert(fields).map(Item::Alert),
        KIND_LOSS => decode_loss(fields).map(Item::Loss),
        KIND_GAP => decode_gap(fields).map(Item::Gap),
        other => error(format!("an item of the unknown kind {other}")),
    }
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind, VERSION]);
    start
}

fn end(out: &mut [u8], start: usize) {
    let length = out.len() - start - 4;
    debug_assert!(length + 4 <= ITEM_BYTES_MAX);
    let length = u32::try_from(length).expect("ITEM_BYTES_MAX fits u32");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn has(alert: &Alert<'_>) -> u8 {
    let mut has = 0;
    let mut set = |bit: u8, present: bool| has |= if present { bit } else { 0 };
    set(HAS_CLASS_ID, alert.class_id.is_some());
    set(HAS_EVENT_ID, alert.event_id.is_some());
    set(HAS_EVENT_REFERENCE, alert.event_reference.is_some());
    set(HAS_PACKET, alert.packet.is_some());
    if let Some(flow) = &alert.flow {
        set(HAS_FLOW, true);
        set(HAS_IPV6, flow.src.is_ipv6());
        set(HAS_PORTS, matches!(flow.transport, Transport::Ports { .. }));
        set(HAS_ICMP, matches!(flow.transport, Transport::Icmp { .. }));
    }
    has
}

fn payload_kind(payload: &Payload<'_>) -> u8 {
    match payload {
        Payload::None => PAYLOAD_NONE,
        Payload::InPacket { .. } => PAYLOAD_IN_PACKET,
        Payload::Own(_) => PAYLOAD_OWN,
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("parts are bounded by ITEM_BYTES_MAX");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_flow(out: &mut Vec<u8>, flow: &Flow) {
    for address in [flow.src, flow.dst] {
        match address {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    match flow.transport {
        Transport::Unknown => {}
        Transport::Ports {
            source,
            destination,
        } => {
            out.extend_from_slice(&source.to_le_bytes());
            out.extend_from_slice(&destination.to_le_bytes());
        }
        Transport::Icmp { kind, code } => out.extend_from_slice(&[kind, code]),
    }
}

fn put_packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    out.extend_from_slice(&packet.time_us.to_le_bytes());
    for number in [
        packet.wire_bytes,
        packet.link,
        packet.ip.unwrap_or(NO_OFFSET),
        packet.transport.unwrap_or(NO_OFFSET),
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    put_bytes(out, packet.bytes);
}

fn decode_alert(mut fields: Fields<'_>) -> Result<Alert<'_>, DecodeError> {
    let ids = fields.u8("the kind of IDS")?;
    let Some(ids) = Ids::from_number(ids) else {
        return error(format!("an alert of the unknown IDS kind {ids}"));
    };
    let has = fields.u8("the alert's parts")?;
    let payload = fields.u8("the kind of payload")?;
    let proto = fields.u8("the IP protocol")?;
    let time_us = fields.i64("the time")?;
    let gid = fields.u32("the gid")?;
    let sid = fields.u32("the sid")?;
    let rev = fields.u32("the rev")?;
    let class_id = fields.u32("the class id")?;
    let priority = fields.u32("the priority")?;
    let event_id = fields.u32("the event id")?;
    let event_reference = fields.u32("the event reference")?;
    let optional = |bit: u8, number: u32| (has & bit != 0).then_some(number);
    let message = decode_message(&mut fields)?;
    let class_name = fields.text("the class name", NAME_BYTES_MAX)?;
    let interface = fields.text("the interface", NAME_BYTES_MAX)?;
    let action = fields.text("the action", NAME_BYTES_MAX)?;
    let app_proto = fields.text("the application protocol", NAME_BYTES_MAX)?;
    let flow = match has & HAS_FLOW {
        0 => None,
        _ => Some(decode_flow(&mut fields, has, proto)?),
    };
    let packet = match has & HAS_PACKET {
        0 => None,
        _ => Some(decode_packet(&mut fields)?),
    };
    let payload = decode_payload(&mut fields, payload, packet.as_ref())?;
    let record = part(&mut fields, "the record")?;
    fields.end("the alert")?;
    Ok(Alert {
        ids,
        time_us,
        gid,
        sid,
        rev,
        class_id: optional(HAS_CLASS_ID, class_id),
        class_name: Cow::Borrowed(class_name),
        priority,
        event_id: optional(HAS_EVENT_ID, event_id),
        event_reference: optional(HAS_EVENT_REFERENCE, event_reference),
        message: Cow::Borrowed(message),
        interface: Cow::Borrowed(interface),
        action: Cow::Borrowed(action),
        app_proto: Cow::Borrowed(app_proto),
        flow,
        packet,
        payload,
        record,
    })
}

fn decode_message<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], DecodeError> {
    let length = usize::from(fields.u16("the message")?);
    if length > MESSAGE_BYTES_MAX {
        return error(format!(
            "a message of {length} bytes, at most {MESSAGE_BYTES_MAX} allowed"
        ));
    }
    fields.bytes("the message", length)
}

fn decode_flow(fields: &mut Fields<'_>, has: u8, proto: u8) -> Result<Flow, DecodeError> {
    let mut address = || -> Result<IpAddr, DecodeError> {
        Ok(match has & HAS_IPV6 {
            0 => Ipv4Addr::from(fields.array::<4>("an address")?).into(),
            _ => Ipv6Addr::from(fields.array::<16>("an address")?).into(),
        })
    };
    let (src, dst) = (address()?, address()?);
    let transport = match has & (HAS_PORTS | HAS_ICMP) {
        0 => Transport::Unknown,
        HAS_PORTS => Transport::Ports {
            source: fields.u16("the source port")?,
            destination: fields.u16("the destination port")?,
        },
        HAS_ICMP => Transport::Icmp {
            kind: fields.u8("the ICMP type")?,
            code: fields.u8("the ICMP code")?,
        },
        _ => return error("an alert with both ports and ICMP type"),
    };
    Ok(Flow {
        src,
        dst,
        proto,
        transport,
    })
}

fn decode_packet<'a>(fields: &mut Fields<'a>) -> Result<Packet<'a>, DecodeError> {
    let time_us = fields.i64("the packet's time")?;
    let wire_bytes = fields.u32("the packet's length")?;
    let link = fields.u32("the link type")?;
    let ip = fields.u32("the IP header's offset")?;
    let transport = fields.u32("the transport header's offset")?;
    let bytes = part(fields, "the packet")?;
    let offset = |offset: u32| (offset != NO_OFFSET).then_some(offset);
    let packet = Packet {
        time_us,
        wire_bytes,
        link,
        bytes,
        ip: offset(ip),
        transport: offset(transport),
    };
    check_offsets(&packet)?;
    Ok(packet)
}

/// What the store relies on when it reads header fields.
fn check_offsets(packet: &Packet<'_>) -> Result<(), DecodeError> {
    let from = |offset: u32| packet.bytes.get(offset as usize..).unwrap_or_default();
    let Some(ip) = packet.ip else {
        return match packet.transport {
            None => Ok(()),
            Some(_) => error("a packet with a transport header but no IP header"),
        };
    };
    let needed = match from(ip).first().map(|byte| byte >> 4) {
        Some(4) => 20,
        Some(6) => 40,
        _ => return error("a packet without IP where its IP header should be"),
    };
    if from(ip).len() < needed {
        return error("a packet that ends within its IP header");
    }
    match packet.transport {
        Some(transport) if transport <= ip || from(transport).len() < 4 => {
            error("a packet that ends within its transport header")
        }
        _ => Ok(()),
    }
}

fn decode_payload<'a>(
    fields: &mut Fields<'a>,
    kind: u8,
    packet: Option<&Packet<'_>>,
) -> Result<Payload<'a>, DecodeError> {
    match kind {
        PAYLOAD_NONE => Ok(Payload::None),
        PAYLOAD_IN_PACKET => {
            let offset = fields.u32("the payload's offset")?;
            let bytes = fields.u32("the payload's length")?;
            let end = u64::from(offset) + u64::from(bytes);
            match packet {
                Some(packet) if end <= packet.bytes.len() as u64 => {
                    Ok(Payload::InPacket { offset, bytes })
                }
                _ => error("a payload outside of its packet"),
            }
        }
        PAYLOAD_OWN => part(fields, "the payload").map(Payload::Own),
        other => error(format!("a payload of the unknown kind {other}")),
    }
}

fn part<'a>(fields: &mut Fields<'a>, what: &str) -> Result<&'a [u8], DecodeError> {
    let length = fields.u32(what)? as usize;
    fields.bytes(what, length)
}

fn decode_loss(mut fields: Fields<'_>) -> Result<Loss<'_>, DecodeError> {
    let count = fields.u64("the loss's count")?;
    if count > LOSS_COUNT_MAX {
        return error(format!(
            "a loss of {count} alerts, at most {LOSS_COUNT_MAX} allowed"
        ));
    }
    let loss = Loss {
        count,
        from_us: fields.i64("the loss's begin")?,
        to_us: fields.i64("the loss's end")?,
        reason: Cow::Borrowed(fields.text("the loss's reason", REASON_BYTES_MAX)?),
    };
    fields.end("the loss")?;
    Ok(loss)
}

fn decode_gap(mut fields: Fields<'_>) -> Result<Gap<'_>, DecodeError> {
    let numbers = fields.u64("the gap's numbers")?;
    if !(1..=LOSS_COUNT_MAX).contains(&numbers) {
        return error(format!(
            "a gap of {numbers} items, 1 to {LOSS_COUNT_MAX} allowed"
        ));
    }
    let loss = decode_loss(fields)?;
    Ok(Gap { numbers, loss })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An IPv4 UDP packet without link header: 20 + 8 + 3 bytes.
    const PACKET: [u8; 31] = [
        0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IP
        0, 53, 4, 0, 0, 11, 0, 0, // UDP
        b'a', b'b', b'c',
    ];

    fn alert() -> Alert<'static> {
        Alert {
            ids: Ids::Snort3,
            time_us: 0x0102_0304,
            gid: 1,
            sid: u32::MAX,
            rev: 3,
            class_id: Some(0),
            class_name: "".into(),
            priority: 5,
            event_id: Some(6),
            event_reference: None,
            message: Cow::Borrowed(b"hi\xff"),
            interface: "".into(),
            action: "".into(),
            app_proto: "".into(),
            flow: Some(Flow {
                src: [192, 0, 2, 1].into(),
                dst: [192, 0, 2, 2].into(),
                proto: 17,
                transport: Transport::Ports {
                    source: 53,
                    destination: 1024,
                },
            }),
            packet: Some(Packet {
                time_us: 7,
                wire_bytes: 31,
                link: 101,
                bytes: &PACKET,
                ip: Some(0),
                transport: Some(20),
            }),
            payload: Payload::InPacket {
                offset: 28,
                bytes: 3,
            },
            record: b"",
        }
    }

    fn encoded(alert: &Alert<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_alert(&mut bytes, alert);
        bytes
    }

    #[test]
    fn an_alert_has_these_bytes() {
        let mut bytes = vec![138, 0, 0, 0, 1, 1];
        bytes.extend_from_slice(&[2, 1 | 2 | 8 | 16 | 64, 1, 17]);
        bytes.extend_from_slice(&[4, 3, 2, 1, 0, 0, 0, 0]);
        for number in [1, u32::MAX, 3, 0, 5, 6, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(b"\x03\x00hi\xff\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2, 53, 0, 0, 4]);
        bytes.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0]);
        for number in [31u32, 101, 0, 20, 31] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&PACKET);
        bytes.extend_from_slice(&[28, 0, 0, 0, 3, 0, 0, 0]);
        bytes.extend_from_slice(&[0; 4]);
        assert_eq!(encoded(&alert()), bytes);
        assert_eq!(decode(&bytes), Ok(Item::Alert(alert())));
        assert!(is_alert(&bytes));
    }

    #[test]
    fn a_loss_has_these_bytes_and_a_bounded_reason() {
        let loss = Loss {
            count: 9,
            from_us: 1,
            to_us: 2,
            reason: "why".into(),
        };
        let mut bytes = Vec::new();
        put_loss(&mut bytes, &loss);
        let mut expected = vec![
            31, 0, 0, 0, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0why");
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(Item::Loss(loss.clone())));
        let long = Loss {
            reason: "ü".repeat(REASON_BYTES_MAX).into(),
            ..loss
        };
        bytes.clear();
        put_loss(&mut bytes, &long);
        assert!(decode(&bytes).is_ok(), "cut between two characters");
    }

    #[test]
    fn a_gap_stands_for_its_numbers_and_no_sensor_sends_one() {
        let mut gap = Gap {
            numbers: 7,
            loss: Loss {
                count: 5,
                from_us: 1,
                to_us: 2,
                reason: "why".into(),
            },
        };
        let mut bytes = Vec::new();
        put_gap(&mut bytes, &gap);
        assert_eq!(bytes[..14], [39, 0, 0, 0, 3, 1, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes), Ok(Item::Gap(gap.clone())));
        assert_eq!(Item::Gap(gap.clone()).numbers(), 7);
        assert!(check_sent(&bytes).is_err());
        assert_eq!(check_sent(&encoded(&alert())), Ok(()));
        assert_eq!(Item::Alert(alert()).numbers(), 1);
        for numbers in [0, LOSS_COUNT_MAX + 1] {
            gap.numbers = numbers;
            bytes.clear();
            put_gap(&mut bytes, &gap);
            assert!(decode(&bytes).is_err(), "{numbers}");
        }
    }

    #[test]
    fn ipv6_icmp_and_own_payload_survive() {
        let alert = Alert {
            flow: Some(Flow {
                src: std::net::Ipv6Addr::LOCALHOST.into(),
                dst: std::net::Ipv6Addr::UNSPECIFIED.into(),
                proto: 58,
                transport: Transport::Icmp { kind: 128, code: 1 },
            }),
            packet: None,
            payload: Payload::Own(b"xyz"),
            record: b"{}",
            class_name: "Class".into(),
            class_id: None,
            ..alert()
        };
        assert_eq!(decode(&encoded(&alert)), Ok(Item::Alert(alert)));
    }

    #[test]
    fn nothing_known_but_the_ids_survives() {
        let alert = Alert {
            flow: None,
            packet: None,
            payload: Payload::None,
            class_id: None,
            event_id: None,
            ..alert()
        };
        assert_eq!(decode(&encoded(&alert)), Ok(Item::Alert(alert)));
    }

    #[test]
    fn offsets_outside_of_the_packet_are_refused() {
        type Change = fn(&mut Packet<'_>, &mut Payload<'_>);
        let changes: [Change; 6] = [
            |packet, _| packet.ip = Some(12),
            |packet, _| packet.ip = Some(31),
            |packet, _| packet.transport = Some(28),
            |packet, _| packet.transport = Some(0),
            |packet, _| packet.ip = None,
            |_, payload| {
                *payload = Payload::InPacket {
                    offset: 30,
                    bytes: 2,
                }
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut alert = alert();
            let mut packet = alert.packet.unwrap();
            change(&mut packet, &mut alert.payload);
            alert.packet = Some(packet);
            assert!(decode(&encoded(&alert)).is_err(), "change {number}");
        }
    }

    #[test]
    fn lengths_are_bounded_on_both_sides() {
        let front = |length: usize| u32::try_from(length - 4).unwrap().to_le_bytes();
        assert_eq!(length(&front(ITEM_BYTES_MIN)), Ok(Some(ITEM_BYTES_MIN)));
        assert_eq!(length(&front(ITEM_BYTES_MAX)), Ok(Some(ITEM_BYTES_MAX)));
        assert!(length(&front(ITEM_BYTES_MIN - 1)).is_err());
        assert!(length(&front(ITEM_BYTES_MAX + 1)).is_err());
        assert!(length(&[255; 4]).is_err());
        assert_eq!(length(&[0; 3]), Ok(None));
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_panics(at in 0usize..142, byte: u8, cut in 0usize..=142) {
            let mut bytes = encoded(&alert());
            bytes[at] = byte;
            let _ = decode(&bytes);
            bytes.truncate(cut);
            let _ = decode(&bytes);
            if bytes.len() >= 4 {
                let length = u32::try_from(bytes.len() - 4).unwrap();
                bytes[..4].copy_from_slice(&length.to_le_bytes());
                let _ = decode(&bytes);
            }
        }

        #[test]
        fn no_random_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), ITEM_BYTES_MIN..400), kind in 0u8..5) {
            let length = u32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            (bytes[4], bytes[5]) = (kind, 1);
            let _ = decode(&bytes);
        }
    }
}
