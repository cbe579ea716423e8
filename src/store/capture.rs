//! A packet beside its payload, as FLoP stores it and BASE reads it: `data.pcap_header` and `data.data_header`.
//!
//! `pcap_header` is the record header of a pcap file, with its numbers big-endian:
//!
//! | offset | size | field  | meaning                                                      |
//! |-------:|-----:|--------|--------------------------------------------------------------|
//! |      0 |    4 | ts_sec | seconds since 1970, unsigned                                 |
//! |      4 |    4 | ts_usec | microseconds                                                |
//! |      8 |    4 | caplen | bytes that were captured                                     |
//! |     12 |    4 | len    | bytes on the wire; never less                                |
//!
//! The packet is the first `caplen` bytes of `data_header` and `data_payload`, one behind the other. So `data_header` is
//! what stands in front of the payload, if the packet ends with that. Else it is the whole packet, and the payload
//! adds nothing: behind the payload came padding or a trailer, the IDS's payload is not in this packet, or the payload is
//! stored as ASCII.

#![forbid(unsafe_code)]

use super::Encoding;
use crate::alert::{Alert, Packet};

/// The bytes of `data_header`; `encoding` is the payload's.
pub(super) fn data_header<'a>(
    packet: &Packet<'a>,
    alert: &Alert<'_>,
    encoding: Encoding,
) -> &'a [u8] {
    let keeps_payload = encoding == encoding.lossless();
    let payload = alert.payload().filter(|_| keeps_payload).unwrap_or(&[]);
    packet.bytes.strip_suffix(payload).unwrap_or(packet.bytes)
}

/// The bytes of `pcap_header`. A time that a pcap file cannot hold (before 1970, after 2106) is the nearest one it can.
pub(super) fn pcap_header(packet: &Packet<'_>) -> Vec<u8> {
    let (seconds, micros) = match u32::try_from(packet.time_us.div_euclid(1_000_000)) {
        Ok(seconds) => (seconds, packet.time_us.rem_euclid(1_000_000) as u32),
        Err(_) if packet.time_us < 0 => (0, 0),
        Err(_) => (u32::MAX, 999_999),
    };
    let caplen = u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX);
    [seconds, micros, caplen, packet.wire_bytes.max(caplen)]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::LINK_RAW;

    fn header_of(time_us: i64, wire_bytes: u32) -> Vec<u8> {
        pcap_header(&Packet {
            time_us,
            wire_bytes,
            link: LINK_RAW,
            bytes: b"abc",
            ip: None,
            transport: None,
        })
    }

    #[test]
    fn the_record_header_has_these_bytes() {
        assert_eq!(
            header_of(1_795_231_372_123_456, 258),
            [
                0x6b, 0x01, 0x0e, 0x8c, 0, 1, 0xe2, 0x40, 0, 0, 0, 3, 0, 0, 1, 2
            ]
        );
    }

    #[test]
    fn what_a_pcap_file_cannot_hold_becomes_the_nearest_that_it_can() {
        assert_eq!(
            header_of(-1, 0),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3]
        );
        assert_eq!(
            header_of(i64::MAX, 3)[..8],
            [255, 255, 255, 255, 0, 0x0f, 0x42, 0x3f]
        );
        assert_eq!(header_of(4_294_967_295_999_999, 3)[..4], [255; 4]);
    }
}
