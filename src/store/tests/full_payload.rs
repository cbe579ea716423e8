//! FLoP's whole packets: what is stored gives them back, to us and to BASE.

#![forbid(unsafe_code)]

use super::*;
use crate::ids::tests::fixtures;
use crate::ids::{self, Decoded, LinkType, Scratch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

in_both! {
    each_packet_that_an_ids_sent_can_be_rebuilt
    a_packet_without_payload_has_a_row_and_the_view_shows_no_payload
    what_is_behind_the_payload_is_kept_and_the_payload_stays_itself
    a_database_of_base_gets_the_columns_and_base_finds_its_pcap_header
    workers_that_start_at_once_add_the_columns_once
    without_the_setting_the_columns_stay_empty
}

fn whole(encoding: Encoding) -> Settings {
    Settings {
        encoding,
        full_payload: true,
        ..Settings::default()
    }
}

/// What a pcap file would have of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    seconds: u32,
    micros: u32,
    wire_bytes: u32,
    link: u32,
    bytes: Vec<u8>,
}

impl Record {
    fn of(packet: &Packet<'_>) -> Self {
        Record {
            seconds: u32::try_from(packet.time_us / 1_000_000).unwrap(),
            micros: u32::try_from(packet.time_us % 1_000_000).unwrap(),
            wire_bytes: packet.wire_bytes,
            link: packet.link,
            bytes: packet.bytes.to_vec(),
        }
    }

    /// From the row of `COLUMNS`, as `capture` describes it.
    fn rebuilt(row: &str, encoding: Encoding) -> Self {
        // An ASCII payload may have the mark as well.
        let columns: Vec<&str> = row.splitn(4, '|').collect();
        let [header, record, link, payload] = columns[..] else {
            panic!("{row}");
        };
        let mut bytes = decoded(header, encoding);
        if encoding != Encoding::Ascii {
            bytes.extend(decoded(payload, encoding));
        }
        let record = decoded(record, encoding);
        assert_eq!(record.len(), 16);
        let word = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().unwrap());
        bytes.truncate(word(8) as usize);
        assert_eq!(bytes.len(), word(8) as usize);
        Record {
            seconds: word(0),
            micros: word(4),
            wire_bytes: word(12),
            link: link.parse().unwrap(),
            bytes,
        }
    }
}

fn decoded(text: &str, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Base64 => STANDARD.decode(text).unwrap(),
        Encoding::Hex | Encoding::Ascii => text
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect(),
    }
}

const COLUMNS: &str = "SELECT data_header, pcap_header, packet_link, data_payload
    FROM data JOIN flop_event USING (sid, cid)";

fn each_packet_that_an_ids_sent_can_be_rebuilt(site: &Site) {
    let mut number = 0;
    for name in fixtures::names() {
        let datagrams = fixtures::datagrams(&name);
        let mut scratches: Vec<Scratch> = datagrams.iter().map(|_| Scratch::default()).collect();
        let items: Vec<Item<'_>> = datagrams
            .iter()
            .zip(&mut scratches)
            .filter_map(|(datagram, scratch)| {
                match ids::decode(datagram, LinkType::Auto, scratch) {
                    Ok(Decoded::Alert(alert)) => Some(Item::Alert(alert)),
                    _ => None,
                }
            })
            .collect();
        let packets = || {
            items.iter().filter_map(|item| match item {
                Item::Alert(alert) => alert.packet.as_ref(),
                Item::Loss(_) | Item::Gap(_) => None,
            })
        };
        for encoding in Encoding::ALL {
            number += 1;
            let name = SensorName {
                name: format!("{name} {encoding}"),
                interface: String::new(),
            };
            let mut store = site.store_with(&whole(encoding));
            let stream = store.open_stream(&name, StreamId([number; 16]), 0);
            let stream = stream.unwrap();
            write(&mut *store, &stream, 0, &items).unwrap();
            let rows = site.rows(&format!(
                "{COLUMNS} WHERE sid = {} AND packet_link IS NOT NULL ORDER BY cid",
                stream.sid
            ));
            assert_eq!(rows.len(), packets().count(), "{name:?}");
            for (row, packet) in rows.iter().zip(packets()) {
                assert_eq!(
                    Record::rebuilt(row, encoding),
                    Record::of(packet),
                    "{name:?}"
                );
            }
        }
    }
}

/// An Ethernet frame of 60 bytes: UDP, and padding behind three bytes of payload.
fn padded() -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0]);
    bytes.extend(ip4(17));
    (bytes[16], bytes[17]) = (0, 31);
    bytes.extend([0, 53, 0x30, 0x39, 0, 11, 0, 0]);
    bytes.extend(b"abc");
    bytes.resize(60, 0xee);
    bytes
}

fn udp(bytes: &[u8], payload: u32) -> Alert<'_> {
    Alert {
        flow: flow(SRC, DST, 17, ports(53, 12345)),
        packet: packet(bytes, 14, Some(34)).map(|packet| Packet { link: 1, ..packet }),
        payload: Payload::InPacket {
            offset: 42,
            bytes: payload,
        },
        ..alert()
    }
}

fn a_packet_without_payload_has_a_row_and_the_view_shows_no_payload(site: &Site) {
    let bytes = padded();
    let mut store = site.store_with(&whole(Encoding::Hex));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let unknown = Alert {
        payload: Payload::None,
        ..udp(&bytes, 0)
    };
    let items = [udp(&bytes, 0), unknown, alert()].map(Item::Alert);
    write(&mut *store, &stream, 0, &items).unwrap();
    assert_eq!(
        site.rows("SELECT cid, payload_len, payload FROM alerts ORDER BY cid"),
        ["1|0|-", "2|-|-", "3|-|-"]
    );
    let rows = site.rows(&format!("{COLUMNS} ORDER BY cid"));
    assert_eq!(rows.len(), 2, "an alert without packet has none");
    for row in rows {
        assert_eq!(Record::rebuilt(&row, Encoding::Hex).bytes, bytes);
    }
    // An IDS that tells a payload but no packet.
    let own = Item::Alert(Alert {
        payload: Payload::Own(b"abc"),
        ..alert()
    });
    write(&mut *store, &stream, 3, &[own]).unwrap();
    assert_eq!(
        site.row(&format!("{COLUMNS} WHERE cid = 4")),
        "-|-|-|616263"
    );
}

fn what_is_behind_the_payload_is_kept_and_the_payload_stays_itself(site: &Site) {
    let bytes = padded();
    let unpadded = &bytes[..45];
    let mut store = site.store_with(&whole(Encoding::Hex));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let foreign = Alert {
        payload: Payload::Own(b"of the stream"),
        ..udp(&bytes, 3)
    };
    let items = [udp(&bytes, 3), udp(unpadded, 3), foreign].map(Item::Alert);
    write(&mut *store, &stream, 0, &items).unwrap();
    let rows = site.rows(&format!("{COLUMNS} ORDER BY cid"));
    for (row, bytes) in rows.iter().zip([&bytes[..], unpadded, &bytes[..]]) {
        assert_eq!(Record::rebuilt(row, Encoding::Hex).bytes, bytes);
    }
    assert!(rows[1].starts_with("000000000000000000000000080045"));
    assert_eq!(rows[1].find('|'), Some(84), "42 bytes of headers only");
    assert_eq!(
        site.rows("SELECT payload FROM alerts ORDER BY cid"),
        ["616263", "616263", "6F66207468652073747265616D"]
    );
}

fn a_database_of_base_gets_the_columns_and_base_finds_its_pcap_header(site: &Site) {
    takeover::classic_tables(site, "BIGINT", "TEXT", "TIMESTAMP");
    let bytes = padded();
    let mut store = site.store_with(&whole(Encoding::Hex));
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &[Item::Alert(udp(&bytes, 3))]).unwrap();
    site.execute("INSERT INTO data (sid, cid, data_payload) VALUES (1, 7, 'AB')");
    assert_eq!(
        site.rows("SELECT sid, cid, data_payload, pcap_header FROM data ORDER BY sid, cid"),
        [
            "1|7|AB|-",
            "3|41|4142|-",
            "3|42|616263|6B010E8C0001E2400000003C0000003C"
        ]
    );
    assert_eq!(site.row("SELECT vseq, full_payload FROM schema"), "107|1");
    // A mark that somebody removed is set again.
    site.execute("UPDATE schema SET full_payload = NULL");
    site.store_with(&whole(Encoding::Hex)).check().unwrap();
    assert_eq!(site.row("SELECT full_payload FROM schema"), "1");
}

fn workers_that_start_at_once_add_the_columns_once(site: &Site) {
    site.store().check().unwrap();
    let barrier = &Barrier::new(6);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(move || {
                let settings = Settings {
                    reference: true,
                    ..whole(Encoding::Hex)
                };
                let mut store = site.store_with(&settings);
                barrier.wait();
                store.check().unwrap();
            });
        }
    });
    assert_eq!(
        site.row("SELECT full_payload, reference FROM schema"),
        "1|1"
    );
}

fn without_the_setting_the_columns_stay_empty(site: &Site) {
    let bytes = padded();
    site.store_with(&whole(Encoding::Hex)).check().unwrap();
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let items = [udp(&bytes, 3), udp(&bytes, 0)].map(Item::Alert);
    write(&mut *store, &stream, 0, &items).unwrap();
    assert_eq!(site.rows(COLUMNS), ["-|-|-|616263"]);
}
