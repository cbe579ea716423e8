//! Datagrams of Snort 2.9 and Snort 3 (`alert_unixsock`).
//!
//! All integers are in the byte order of the machine, which is ours as well: the socket does not leave it.
//!
//! | offset | size | field | meaning |
//! |---:|---:|---|---|
//! | 0 | 256 | message | padded with NUL, at most 255 bytes; Snort 3 puts it in double quotes |
//! | 256 | 4 + 4 | packet time | seconds, microseconds |
//! | 264 | 4 | `caplen` | bytes of the packet the IDS had; may be 0 (Snort 3), may exceed the area (Snort 2.9) |
//! | 268 | 4 | `len` | bytes on the wire |
//! | 272 | 4 | `dlthdr` | not used |
//! | 276 | 4 | `nethdr` | offset of the IP header; 0 for IPv6 (Snort 2.9) and where there is none |
//! | 280 | 4 + 4 + 4 | `transhdr`, `data`, `val` | not used, often wrong |
//! | 292 | 65,535 | packet | from byte 0 of the link header, rest 0 |
//! | 65,828 | 4 x 3 | gid, sid, rev | |
//! | 65,840 | 4 | class id | 1-based position in the sensor's configuration, 0: none |
//! | 65,844 | 4 | priority | 0: none |
//! | 65,848 | 4 + 4 | event id, event reference | 16 bits count, then it wraps |
//! | 65,856 | 4 + 4 | event time | seconds, microseconds |
//! | 65,864 | 64 | application | Snort 2.9 with OpenAppID only; padded with NUL |

#![forbid(unsafe_code)]

use super::alertpkt::{self, AlertPkt, Event};
use super::packet::Vxlan;
use super::{LinkType, Refusal};
use crate::alert::{Alert, Ids};
use std::borrow::Cow;

/// Length of a datagram of Snort 3, and of Snort 2.9 without OpenAppID.
pub(super) const BYTES: usize = 65_864;
/// Length of a datagram of Snort 2.9 with OpenAppID.
pub(super) const APPID_BYTES: usize = 65_928;

const PACKET: usize = 292;
const PACKET_AREA_BYTES: usize = 65_535;

/// Decodes a datagram of one of the two lengths.
pub(super) fn decode(datagram: &[u8], link: LinkType) -> Result<Alert<'_>, Refusal> {
    let native = |at: usize| u32::from_ne_bytes(alertpkt::word(datagram, at));
    let caplen = native(264);
    let (ids, message) = sender(datagram, caplen);
    let alert = AlertPkt {
        ids,
        message,
        event: Event {
            gid: native(65_828),
            sid: native(65_832),
            rev: native(65_836),
            class_id: native(65_840),
            priority: native(65_844),
            event_id: native(65_848),
            event_reference: Some(native(65_852)),
            seconds: native(65_856),
            microseconds: native(65_860),
        },
        app_proto: application(datagram),
        packet_time_us: alertpkt::micros(native(256), native(260)),
        caplen,
        wire_bytes: native(268),
        nethdr: native(276),
        vxlan: match ids {
            Ids::Snort3 => Vxlan::Opened,
            _ => Vxlan::Closed,
        },
        area: &datagram[PACKET..PACKET + PACKET_AREA_BYTES],
    };
    alert.into_alert(link)
}

/// Who sent it, and the message without Snort 3's quotes.
///
/// The opening quote is always there; the closing one is not if the message was cut (254 bytes and more) or ends in
/// `\x00`. A message of Snort 2.9 that begins with a quote is taken for one of Snort 3: nothing tells them apart.
fn sender(datagram: &[u8], caplen: u32) -> (Ids, &[u8]) {
    let message = alertpkt::message(datagram);
    if datagram.len() == APPID_BYTES {
        return (Ids::Snort2, message);
    }
    match message.strip_prefix(b"\"") {
        Some(quoted) => (Ids::Snort3, quoted.strip_suffix(b"\"").unwrap_or(quoted)),
        None if caplen == 0 => (Ids::Snort3, message),
        None => (Ids::Snort2, message),
    }
}

fn application(datagram: &[u8]) -> Cow<'_, str> {
    match datagram.get(BYTES..) {
        Some(name) => String::from_utf8_lossy(alertpkt::until_nul(name)),
        None => Cow::Borrowed(""),
    }
}
