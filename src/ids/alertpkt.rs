//! What the datagrams of Snort and barnyard2 have in common: C structs, a message of 256 bytes, an area for the packet.

#![forbid(unsafe_code)]

use super::packet::{self, IpLayer, IpLayers, Vxlan};
use super::{LinkType, Refusal};
use crate::alert::{Alert, Flow, Ids, Packet, Payload};
use std::borrow::Cow;

/// The message stands first in each layout, padded with NUL.
const MESSAGE_AREA_BYTES: usize = 256;
const MICROSECONDS: u32 = 1_000_000;

/// The fields of a datagram, whatever their order and byte order are.
pub(super) struct AlertPkt<'a> {
    pub(super) ids: Ids,
    pub(super) message: &'a [u8],
    pub(super) event: Event,
    pub(super) app_proto: Cow<'a, str>,
    /// Microseconds since 1970.
    pub(super) packet_time_us: i64,
    pub(super) caplen: u32,
    pub(super) wire_bytes: u32,
    /// Where the IDS found the IP header; 0 if it does not say.
    pub(super) nethdr: u32,
    pub(super) vxlan: Vxlan,
    pub(super) area: &'a [u8],
}

/// The event's words.
pub(super) struct Event {
    pub(super) gid: u32,
    pub(super) sid: u32,
    pub(super) rev: u32,
    pub(super) class_id: u32,
    pub(super) priority: u32,
    pub(super) event_id: u32,
    pub(super) event_reference: Option<u32>,
    pub(super) seconds: u32,
    pub(super) microseconds: u32,
}

/// What the packet tells.
struct Seen<'a> {
    flow: Option<Flow>,
    packet: Option<Packet<'a>>,
    payload: Payload<'a>,
}

impl<'a> AlertPkt<'a> {
    /// The alert. Refused is what no IDS says: it comes of another layout, or of noise of the right length.
    pub(super) fn into_alert(self, link: LinkType) -> Result<Alert<'a>, Refusal> {
        let event = &self.event;
        if event.microseconds >= MICROSECONDS {
            return Err(Refusal::Microseconds(self.ids, event.microseconds));
        }
        if event.gid == 0 && event.sid == 0 {
            return Err(Refusal::NoSignature(self.ids));
        }
        let Seen {
            flow,
            packet,
            payload,
        } = self.seen(link);
        Ok(Alert {
            ids: self.ids,
            time_us: micros(event.seconds, event.microseconds),
            gid: event.gid,
            sid: event.sid,
            rev: event.rev,
            class_id: Some(event.class_id),
            class_name: Cow::Borrowed(""),
            priority: event.priority,
            event_id: Some(event.event_id),
            event_reference: event.event_reference,
            message: Cow::Borrowed(self.message),
            interface: Cow::Borrowed(""),
            action: Cow::Borrowed(""),
            app_proto: self.app_proto,
            flow,
            packet,
            payload,
            record: &[],
        })
    }

    /// Without a packet (`caplen` 0) nothing is known: the words of its header are then differences of unrelated
    /// pointers.
    fn seen(&self, link: LinkType) -> Seen<'a> {
        let bytes = &self.area[..self.area.len().min(self.caplen as usize)];
        if bytes.is_empty() {
            return Seen {
                flow: None,
                packet: None,
                payload: Payload::None,
            };
        }
        let link = packet::link(link, bytes, self.wire_bytes);
        let mut packet = Packet {
            time_us: self.packet_time_us,
            wire_bytes: self.wire_bytes,
            link,
            bytes,
            ip: None,
            transport: None,
        };
        let layer = self.layer(bytes, link);
        Seen {
            payload: layer
                .as_ref()
                .map_or(Payload::None, |layer| layer.mark(&mut packet)),
            flow: layer.map(|layer| layer.flow),
            packet: Some(packet),
        }
    }

    /// The IP layer the alert is about: the one the IDS points at, else the innermost it can have read.
    fn layer(&self, bytes: &[u8], link: u32) -> Option<IpLayer> {
        let mut innermost = None;
        for layer in IpLayers::new(bytes, link, self.vxlan) {
            if self.nethdr != 0 && layer.start == self.nethdr as usize {
                return Some(layer);
            }
            innermost = Some(layer);
        }
        innermost
    }
}

/// The message up to its NUL; all 256 bytes should there be none.
pub(super) fn message(datagram: &[u8]) -> &[u8] {
    until_nul(&datagram[..MESSAGE_AREA_BYTES])
}

/// The bytes in front of the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Microseconds since 1970.
pub(super) fn micros(seconds: u32, microseconds: u32) -> i64 {
    i64::from(seconds) * i64::from(MICROSECONDS) + i64::from(microseconds)
}

/// Four bytes of a datagram whose length was checked.
pub(super) fn word(datagram: &[u8], at: usize) -> [u8; 4] {
    *datagram[at..]
        .first_chunk()
        .expect("each layout's offsets are below its length")
}
