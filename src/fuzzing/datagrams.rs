//! Datagrams of an IDS, and what an alert becomes.

#![forbid(unsafe_code)]

use super::{Input, check_sentence};
use crate::alert::{Alert, Flow, Payload, SensorName};
use crate::calendar;
use crate::dropped::{self, Dropped, RECORD_BYTES_MAX, Told};
use crate::ids::{self, Decoded, LinkType, Refusal, Scratch};
use crate::store::{self, Encoding};
use crate::wire::{Item, item};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

const SNORT_BYTES: usize = 65_864;
const APPID_BYTES: usize = 65_928;
const BARNYARD2_BYTES: usize = 1_856;
/// Where Snort's packet begins.
const SNORT_PACKET: usize = 292;
const LINKS: [LinkType; 4] = [
    LinkType::Auto,
    LinkType::Ethernet,
    LinkType::Raw,
    LinkType::Null,
];
/// Link types of EVE's packets: those that are known, and one that is not.
const EVE_LINKS: [u32; 9] = [0, 1, 12, 14, 101, 113, 228, 229, 250];

/// Datagrams of all layouts, and packets of all link types: layout, link type, then the datagram without the zeros in its
/// middle.
pub fn ids(bytes: &[u8]) {
    let mut input = Input(bytes);
    let layout = input.byte() % 5;
    let link = input.byte();
    let datagram = match layout {
        0 => spread(input.0, SNORT_BYTES, 36),
        1 => spread(input.0, APPID_BYTES, 100),
        2 => spread(input.0, BARNYARD2_BYTES, 40),
        3 => eve_around(EVE_LINKS[usize::from(link) % EVE_LINKS.len()], input.0),
        _ => input.0.to_vec(),
    };
    let link = LINKS[usize::from(link) % LINKS.len()];
    check_decoded(ids::decode(&datagram, link, &mut Scratch::default()));
}

/// Head and tail of a datagram, with zeros between them.
fn spread(short: &[u8], bytes: usize, tail_bytes: usize) -> Vec<u8> {
    let (head, tail) = short.split_at(short.len().saturating_sub(tail_bytes));
    let head = &head[..head.len().min(bytes - tail.len())];
    let mut datagram = vec![0; bytes];
    datagram[..head.len()].copy_from_slice(head);
    datagram[bytes - tail.len()..].copy_from_slice(tail);
    datagram
}

/// An EVE record of this packet. Its addresses are those in the packet, else nobody would look for them there.
fn eve_around(link: u32, packet: &[u8]) -> Vec<u8> {
    let flow = match link {
        0 => flow_in(LinkType::Null, packet),
        1 => flow_in(LinkType::Ethernet, packet),
        113 => flow_in(LinkType::Raw, packet.get(16..).unwrap_or_default()),
        _ => flow_in(LinkType::Raw, packet),
    };
    let addresses = flow.map_or(String::new(), |flow| {
        format!(
            r#""src_ip":"{}","dest_ip":"{}","proto":"{}","#,
            flow.src, flow.dst, flow.proto
        )
    });
    format!(
        r#"{{"timestamp":"2025-10-09T08:53:20.100003+0000","event_type":"alert","alert":{{"signature_id":7}},{addresses}"packet":"{}","packet_info":{{"linktype":{link}}}}}"#,
        BASE64.encode(packet)
    )
    .into_bytes()
}

fn flow_in(link: LinkType, packet: &[u8]) -> Option<Flow> {
    let packet = &packet[..packet.len().min(65_535)];
    let mut datagram = vec![0; SNORT_BYTES];
    datagram[0] = b'"';
    datagram[264..268].copy_from_slice(&u32::try_from(packet.len()).ok()?.to_ne_bytes());
    datagram[SNORT_PACKET..SNORT_PACKET + packet.len()].copy_from_slice(packet);
    datagram[65_832] = 1;
    match ids::decode(&datagram, link, &mut Scratch::default()) {
        Ok(Decoded::Alert(alert)) => alert.flow,
        other => panic!("no alert but {other:?}"),
    }
}

/// EVE records, as they come.
pub fn eve(bytes: &[u8]) {
    let (mut fresh, mut used) = (Scratch::default(), Scratch::default());
    let _ = ids::decode(&eve_around(1, b"\xffa packet"), LinkType::Auto, &mut used);
    let decoded = ids::decode(bytes, LinkType::Auto, &mut fresh);
    assert_eq!(decoded, ids::decode(bytes, LinkType::Auto, &mut used));
    check_decoded(decoded);
}

fn check_decoded(decoded: Result<Decoded<'_>, Refusal>) {
    match decoded {
        Ok(Decoded::Alert(alert)) => {
            let mut bytes = Vec::new();
            item::put_alert(&mut bytes, &alert);
            check_alert(&alert);
            assert_eq!(item::decode(&bytes), Ok(Item::Alert(alert)));
        }
        Ok(Decoded::Stats(_) | Decoded::OtherRecord) => {}
        Err(refusal) => {
            check_sentence(&refusal.to_string());
            assert!(refusal.kind() < Refusal::KINDS.len());
        }
    }
}

/// What an alert becomes: rows, and the record of a dropped alert.
pub(super) fn check_alert(alert: &Alert<'_>) {
    assert_eq!(alert.payload().is_none(), alert.payload == Payload::None);
    let sensor = SensorName {
        name: "s".to_owned(),
        interface: "eth0".to_owned(),
    };
    let json = Dropped::new(alert, &sensor, "HighWater").json();
    assert!(json.len() <= RECORD_BYTES_MAX, "{json}");
    let Ok(Told::Alert(record)) = dropped::read(json.as_bytes()) else {
        panic!("drop does not read {json}");
    };
    assert_eq!(record.sid, Some(alert.sid));
    // The library that reads the time again knows no last day before the year 10000.
    let time_us = record.time_us().unwrap_or(calendar::clamp(alert.time_us));
    assert_eq!(time_us, calendar::clamp(alert.time_us));
    for encoding in Encoding::ALL {
        store::check_rows(alert, encoding);
    }
}
