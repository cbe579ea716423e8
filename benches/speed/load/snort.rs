//! A datagram of Snort 2.9: the C struct `Alertpkt`, whose layout is in `src/ids/snort.rs`.

use super::Draft;
use std::ops::Range;

pub(crate) const BYTES: usize = 65_864;
const MESSAGE: Range<usize> = 0..256;
const PACKET_TIME: usize = 256;
const CAPLEN: usize = 264;
const PACKET: usize = 292;
const PACKET_AREA_BYTES: usize = 65_535;
const EVENT: usize = 65_828;
/// Where the IP header begins in the packet.
const NETHDR: u32 = 14;

/// Puts an alert where another one may have been: as in Snort, the memory is always the same.
pub(super) fn put(datagram: &mut Vec<u8>, draft: &Draft) {
    let before = match datagram.get(CAPLEN..CAPLEN + 4) {
        Some(bytes) => u32::from_ne_bytes(bytes.try_into().expect("4 bytes")) as usize,
        None => {
            datagram.resize(BYTES, 0);
            0
        }
    };
    let (message, packet) = (draft.message(), packet(draft));
    datagram[MESSAGE].fill(0);
    datagram[..message.len()].copy_from_slice(message.as_bytes());
    let bytes = packet.len() as u32;
    let (seconds, microseconds) = time(draft);
    put_words(
        datagram,
        PACKET_TIME,
        &[seconds, microseconds, bytes, bytes, 0, NETHDR],
    );
    let area = &mut datagram[PACKET..PACKET + PACKET_AREA_BYTES];
    area[..packet.len()].copy_from_slice(&packet);
    if before > packet.len() {
        area[packet.len()..before].fill(0);
    }
    let (id, priority) = (draft.number as u32 & 0xffff, draft.priority());
    put_words(
        datagram,
        EVENT,
        &[1, draft.sid(), 1, 2, priority, id, 0, seconds, microseconds],
    );
}

fn packet(draft: &Draft) -> Vec<u8> {
    let mut packet = Vec::with_capacity(draft.packet_bytes());
    draft.put_packet(&mut packet);
    packet
}

fn time(draft: &Draft) -> (u32, u32) {
    let us = draft.time_us();
    ((us / 1_000_000) as u32, (us % 1_000_000) as u32)
}

fn put_words(datagram: &mut [u8], at: usize, words: &[u32]) {
    for (word, place) in words.iter().zip(datagram[at..].chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
}
