//! EVE records of Suricata: one JSON object a datagram, ended by a newline.
//!
//! | key | becomes |
//! |---|---|
//! | `timestamp` | the time; needed, as `2025-10-09T08:53:20.100003+0000` |
//! | `event_type` | `alert`, or `stats`, else the record is left out; needed |
//! | `alert.signature_id` | sid; needed |
//! | `alert.gid`, `.rev`, `.severity`, `.signature`, `.category`, `.action` | 1, 0, 0 and empty if absent |
//! | `src_ip`, `dest_ip`, `proto` | the flow; none without `src_ip` (no IP) |
//! | `src_port` and `dest_port`, or `icmp_type` and `icmp_code` | its transport |
//! | `payload` | the payload; if absent, the one in `packet` |
//! | `stream`, `packet`, `packet_info.linktype` | the packet; not if `stream` is 1: then it is a made-up header |
//! | `in_iface`, `app_proto` | themselves |
//!
//! Of a record whose `event_type` is `stats` only what Suricata counts itself is taken (`stats`).

#![forbid(unsafe_code)]

mod fields;
mod protocols;
mod quick;
mod stats;
mod walk;

pub use stats::Stats;

use super::packet::{IpLayer, IpLayers, Vxlan};
use super::{Decoded, EVE_BYTES_MAX, Refusal, Scratch};
use crate::alert::{
    Alert, Flow, Ids, LINK_ETHERNET, LINK_RAW, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Packet, Payload,
    Transport,
};
use crate::calendar;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fields::{Fields, Key, Kind};
use std::borrow::Cow;
use std::net::IpAddr;

/// A protocol without number: IANA keeps this one free.
const PROTO_UNKNOWN: u8 = 255;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Decodes a datagram that begins with `{`.
pub(super) fn decode<'a>(
    datagram: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<Decoded<'a>, Refusal> {
    let Scratch {
        packet,
        payload,
        text,
    } = scratch;
    let record = utf8(without_newline(datagram), text)?;
    let mut fields = Fields::default();
    match fields.read(record)? {
        Kind::Alert => {}
        Kind::Stats => {
            let stats = Stats::of(fields);
            return Ok(stats.map_or(Decoded::OtherRecord, Decoded::Stats));
        }
        Kind::Other => return Ok(Decoded::OtherRecord),
    }
    let mut alert = alert(&mut fields, record)?;
    let packet = packet_of(&mut fields, alert.time_us, packet)?;
    if let Some(encoded) = fields.text(Key::Payload)? {
        alert.payload = Payload::Own(base64(Key::Payload, &encoded, payload)?);
    }
    if let Some(packet) = packet {
        add_packet(&mut alert, packet);
    }
    Ok(Decoded::Alert(alert))
}

fn without_newline(datagram: &[u8]) -> &[u8] {
    let end = datagram
        .iter()
        .rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    &datagram[..end.map_or(0, |last| last + 1)]
}

/// The record as text. What is not UTF-8 becomes U+FFFD in a copy: an alert is not lost for a byte.
fn utf8<'a>(record: &'a [u8], copy: &'a mut String) -> Result<&'a str, Refusal> {
    if record.len() > EVE_BYTES_MAX {
        return Err(Refusal::TooLong(record.len()));
    }
    if let Ok(text) = std::str::from_utf8(record) {
        return Ok(text);
    }
    copy.clear();
    for chunk in record.utf8_chunks() {
        copy.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            copy.push(char::REPLACEMENT_CHARACTER);
        }
        if copy.len() > EVE_BYTES_MAX {
            return Err(Refusal::TooLong(copy.len())); // One bad byte becomes three.
        }
    }
    Ok(copy)
}

/// All but packet and payload.
fn alert<'a>(fields: &mut Fields<'a>, record: &'a str) -> Result<Alert<'a>, Refusal> {
    fields.object(Key::Alert)?;
    let stamp = fields.text(Key::Timestamp)?;
    let stamp = stamp.ok_or(Refusal::Missing(Key::Timestamp.name()))?;
    let time_us = time(stamp.as_bytes()).ok_or(Refusal::Wrong(Key::Timestamp.name()))?;
    let sid = fields.number(Key::SignatureId)?;
    let message = match text(fields, Key::Signature, MESSAGE_BYTES_MAX)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    Ok(Alert {
        ids: Ids::Suricata,
        time_us,
        gid: fields.number(Key::Gid)?.unwrap_or(1),
        sid: sid.ok_or(Refusal::Missing(Key::SignatureId.name()))?,
        rev: fields.number(Key::Rev)?.unwrap_or(0),
        class_id: None,
        class_name: text(fields, Key::Category, NAME_BYTES_MAX)?,
        priority: fields.number(Key::Severity)?.unwrap_or(0),
        event_id: None,
        event_reference: None,
        message,
        interface: text(fields, Key::InIface, NAME_BYTES_MAX)?,
        action: text(fields, Key::Action, NAME_BYTES_MAX)?,
        app_proto: text(fields, Key::AppProto, NAME_BYTES_MAX)?,
        flow: flow(fields)?,
        packet: None,
        payload: Payload::None,
        record: record.as_bytes(),
    })
}

/// The text of a key, empty if absent, cut to `most` bytes but not within a character.
fn text<'a>(fields: &mut Fields<'a>, key: Key, most: usize) -> Result<Cow<'a, str>, Refusal> {
    let text = fields.text(key)?.unwrap_or_default();
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .expect("0 is a boundary");
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    })
}

fn flow(fields: &mut Fields<'_>) -> Result<Option<Flow>, Refusal> {
    let proto = fields.text(Key::Proto)?;
    let (src, dst) = match (address(fields, Key::SrcIp)?, address(fields, Key::DestIp)?) {
        (Some(src), Some(dst)) if src.is_ipv4() == dst.is_ipv4() => (src, dst),
        (None, None) => return Ok(None),
        (None, _) => return Err(Refusal::Missing(Key::SrcIp.name())),
        (_, None) => return Err(Refusal::Missing(Key::DestIp.name())),
        _ => return Err(Refusal::Wrong(Key::DestIp.name())),
    };
    let proto = proto.ok_or(Refusal::Missing(Key::Proto.name()))?;
    let proto = protocols::number(&proto).unwrap_or(PROTO_UNKNOWN);
    Ok(Some(Flow {
        src,
        dst,
        proto,
        transport: transport(fields, proto)?,
    }))
}

fn address(fields: &mut Fields<'_>, key: Key) -> Result<Option<IpAddr>, Refusal> {
    match fields.text(key)? {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(Refusal::Wrong(key.name())),
        },
    }
}

fn transport(fields: &Fields<'_>, proto: u8) -> Result<Transport, Refusal> {
    let ports = (fields.number(Key::SrcPort)?, fields.number(Key::DestPort)?);
    let icmp = (fields.number(Key::IcmpType)?, fields.number(Key::IcmpCode)?);
    Ok(match (proto, ports, icmp) {
        (ICMP | ICMPV6, _, (Some(kind), Some(code))) => Transport::Icmp { kind, code },
        (ICMP | ICMPV6, ..) => Transport::Unknown,
        (_, (Some(source), Some(destination)), _) => Transport::Ports {
            source,
            destination,
        },
        _ => Transport::Unknown,
    })
}

/// The packet, if it was on the wire: with `stream` 1 it is only the headers of one that Suricata made up.
fn packet_of<'a>(
    fields: &mut Fields<'_>,
    time_us: i64,
    memory: &'a mut Vec<u8>,
) -> Result<Option<Packet<'a>>, Refusal> {
    let made_up = fields.number::<u64>(Key::Stream)?.unwrap_or(0) != 0;
    let link = fields.number(Key::LinkType)?.unwrap_or(LINK_ETHERNET);
    let Some(encoded) = fields.text(Key::Packet)? else {
        return Ok(None);
    };
    let bytes = base64(Key::Packet, &encoded, memory)?;
    if made_up || bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Packet {
        time_us,
        wire_bytes: u32::try_from(bytes.len()).expect("a record is at most EVE_BYTES_MAX long"),
        link: portable(link),
        bytes,
        ip: None,
        transport: None,
    }))
}

/// Raw IP has other numbers in captures of Linux and OpenBSD (12, 14), and two for one version only.
fn portable(link: u32) -> u32 {
    match link {
        12 | 14 | 228 | 229 => LINK_RAW,
        other => other,
    }
}

fn base64<'a>(key: Key, text: &str, memory: &'a mut Vec<u8>) -> Result<&'a [u8], Refusal> {
    memory.clear();
    match BASE64.decode_vec(text, memory) {
        Ok(()) => Ok(memory),
        Err(_) => Err(Refusal::NotBase64(key.name())),
    }
}

/// Adds the packet, and marks in it the innermost IP layer between the record's two addresses, if there is one.
fn add_packet<'a>(alert: &mut Alert<'a>, mut packet: Packet<'a>) {
    let layer = alert.flow.as_ref().and_then(|flow| {
        let is_meant = |layer: &IpLayer| layer.flow.src == flow.src && layer.flow.dst == flow.dst;
        IpLayers::new(packet.bytes, packet.link, Vxlan::Opened)
            .filter(is_meant)
            .last()
    });
    if let (Some(layer), Some(flow)) = (layer, &mut alert.flow) {
        let payload = layer.mark(&mut packet);
        if alert.payload == Payload::None {
            alert.payload = payload;
        }
        if flow.proto == PROTO_UNKNOWN {
            flow.proto = layer.flow.proto;
        }
        if flow.proto != layer.flow.proto {
            packet.transport = None; // It would be read as another protocol's header.
        }
    }
    alert.packet = Some(packet);
}

/// `2025-10-09T08:53:20.100003+0000` -> microseconds since 1970 UTC; `None` for anything else.
fn time(stamp: &[u8]) -> Option<i64> {
    let stamp: &[u8; 31] = stamp.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
    ];
    if marks.iter().any(|(at, mark)| stamp[*at] != *mark) {
        return None;
    }
    let day = calendar::days(
        number(&stamp[..4])?,
        number(&stamp[5..7])?,
        number(&stamp[8..10])?,
    )?;
    let of_day = clock(&stamp[11..13], &stamp[14..16])? * 60 + below(61, &stamp[17..19])?;
    let zone = clock(&stamp[27..29], &stamp[29..31])? * 60;
    let east = match stamp[26] {
        b'+' => zone,
        b'-' => -zone,
        _ => return None,
    };
    Some((day * 86_400 + of_day - east) * 1_000_000 + number(&stamp[20..26])?)
}

/// Minutes of a day.
fn clock(hours: &[u8], minutes: &[u8]) -> Option<i64> {
    Some(below(24, hours)? * 60 + below(60, minutes)?)
}

fn below(limit: i64, digits: &[u8]) -> Option<i64> {
    number(digits).filter(|number| *number < limit)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(number * 10 + i64::from(digit))
    })
}
