//! Datagrams of barnyard2 (`alert_unixsock`) on a 64-bit machine.
//!
//! The packet's header is in the machine's byte order, the event is as it stood in the unified2 file: big-endian.
//!
//! | offset | size | field | meaning |
//! |---:|---:|---|---|
//! | 0 | 256 | message | from `sid-msg.map`, padded with NUL |
//! | 256 | 8 + 8 | packet time | seconds, microseconds: signed |
//! | 272 | 4 | `caplen` | of the packet; more than the area holds if it is more than 1,514 |
//! | 276 | 4 | `len` | the same |
//! | 280 | 4 | `dlthdr` | not used |
//! | 284 | 4 | `nethdr` | not used: always of the outermost IP header, while Snort's event is about the innermost |
//! | 288 | 4 + 4 + 4 | `transhdr`, `data`, `val` | not used |
//! | 300 | 1,514 | packet | from byte 0 of the link header |
//! | 1,816 | 4 | sensor id | not used, 0 |
//! | 1,820 | 4 | event id | |
//! | 1,824 | 4 + 4 | event time | seconds, microseconds |
//! | 1,832 | 4 + 4 + 4 | **sid, gid**, rev | in this order |
//! | 1,844 | 4 | class id | |
//! | 1,848 | 4 | priority | |

#![forbid(unsafe_code)]

use super::alertpkt::{self, AlertPkt, Event};
use super::packet::Vxlan;
use super::{LinkType, Refusal};
use crate::alert::{Alert, Ids};
use std::borrow::Cow;

/// Length of a datagram.
pub(super) const BYTES: usize = 1_856;

const PACKET: usize = 300;
const PACKET_AREA_BYTES: usize = 1_514;

/// Decodes a datagram of this length.
pub(super) fn decode(datagram: &[u8], link: LinkType) -> Result<Alert<'_>, Refusal> {
    let native = |at: usize| u32::from_ne_bytes(alertpkt::word(datagram, at));
    let network = |at: usize| u32::from_be_bytes(alertpkt::word(datagram, at));
    let event = Event {
        sid: network(1_832),
        gid: network(1_836),
        rev: network(1_840),
        class_id: network(1_844),
        priority: network(1_848),
        event_id: network(1_820),
        event_reference: None,
        seconds: network(1_824),
        microseconds: network(1_828),
    };
    let alert = AlertPkt {
        ids: Ids::Barnyard2,
        message: alertpkt::message(datagram),
        app_proto: Cow::Borrowed(""),
        packet_time_us: packet_time(datagram)
            .unwrap_or_else(|| alertpkt::micros(event.seconds, event.microseconds)),
        event,
        caplen: native(272),
        wire_bytes: native(276),
        nethdr: 0,
        vxlan: Vxlan::Closed,
        area: &datagram[PACKET..PACKET + PACKET_AREA_BYTES],
    };
    alert.into_alert(link)
}

/// The packet's time; `None` if it is none that a unified2 file can hold (u32 each).
fn packet_time(datagram: &[u8]) -> Option<i64> {
    let native = |at: usize| {
        let bytes = datagram[at..].first_chunk();
        i64::from_ne_bytes(*bytes.expect("the layout's offsets are below its length"))
    };
    let seconds = u32::try_from(native(256)).ok()?;
    let microseconds = u32::try_from(native(264)).ok()?;
    Some(alertpkt::micros(seconds, microseconds))
}
