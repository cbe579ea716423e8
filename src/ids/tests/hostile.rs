//! What no IDS should send, and what one might.

use super::fixtures::datagrams;
use super::*;
use crate::alert::{MESSAGE_BYTES_MAX, NAME_BYTES_MAX, Payload, Transport};
use crate::wire::item::{self, Item};
use proptest::prelude::*;
use std::borrow::Cow;

/// Noise that is the same in each run.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Whatever is decoded must be what the server takes, and the same there.
fn survives(datagram: &[u8]) -> Result<(), Refusal> {
    for link in [
        LinkType::Auto,
        LinkType::Ethernet,
        LinkType::Raw,
        LinkType::Null,
    ] {
        let mut scratch = Scratch::default();
        if let Decoded::Alert(alert) = decode(datagram, link, &mut scratch)? {
            let mut bytes = Vec::new();
            item::put_alert(&mut bytes, &alert);
            assert_eq!(item::decode(&bytes), Ok(Item::Alert(alert)));
        }
    }
    Ok(())
}

/// A datagram of Snort 3 about a TCP segment behind Ethernet and IPv4.
fn snort3() -> Vec<u8> {
    datagrams("snort3-unixsock-own").swap_remove(0)
}

fn put(datagram: &mut [u8], at: usize, bytes: &[u8]) {
    datagram[at..at + bytes.len()].copy_from_slice(bytes);
}

fn with_word(at: usize, word: u32) -> Vec<u8> {
    let mut datagram = snort3();
    put(&mut datagram, at, &word.to_ne_bytes());
    datagram
}

#[test]
fn lengths_that_nobody_sends_are_refused_by_length() {
    for bytes in [
        0, 1, 255, 1_843, 1_855, 1_857, 65_863, 65_865, 65_929, 200_000,
    ] {
        for first in [0, b'A'] {
            let refusal = refused(&vec![first; bytes]);
            assert_eq!(refusal, Refusal::UnknownLength(bytes));
        }
    }
    assert_eq!(
        refused(&[7; 1_843]).to_string(),
        "1843 bytes long: no alert of Snort (65864 or 65928 bytes), barnyard2 (1856) or Suricata (JSON)"
    );
}

#[test]
fn layouts_of_the_past_are_named() {
    for bytes in [1_844, 1_864] {
        assert_eq!(refused(&vec![b'A'; bytes]), Refusal::OldLayout(bytes));
        assert!(
            Refusal::OldLayout(bytes)
                .to_string()
                .contains("not supported")
        );
    }
}

#[test]
fn each_refusal_has_a_counter_and_a_sentence_of_its_own() {
    let all = [
        Refusal::UnknownLength(1),
        Refusal::OldLayout(1_844),
        Refusal::Cut { bytes: 2_000_000 },
        Refusal::Microseconds(Ids::Snort3, 1_000_000),
        Refusal::NoSignature(Ids::Barnyard2),
        Refusal::TooLong(1_048_577),
        Refusal::NotJson(12),
        Refusal::Unfinished(300),
        Refusal::TooDeep,
        Refusal::Missing("timestamp"),
        Refusal::Wrong("alert.rev"),
        Refusal::NotBase64("packet"),
    ];
    for (index, refusal) in all.into_iter().enumerate() {
        assert_eq!(refusal.kind(), index);
    }
    assert_eq!(all.len(), Refusal::KINDS.len());
    assert!(size_of::<Refusal>() <= 24);
}

#[test]
fn noise_of_each_length_is_survived() {
    for bytes in [1, 255, 1_844, 1_856, 1_864, 65_864, 65_928] {
        for seed in 0..64 {
            let mut datagram = noise(bytes, seed);
            let _ = survives(&datagram);
            datagram[0] = b'{';
            let _ = survives(&datagram);
            datagram[0] = b'"';
            // Past the check of the time, which turns nearly all noise away.
            match bytes {
                1_856 => put(&mut datagram, 1_828, &[0; 4]),
                65_864 | 65_928 => put(&mut datagram, 65_860, &[0; 4]),
                _ => continue,
            }
            assert_eq!(survives(&datagram), Ok(()));
        }
    }
}

#[test]
fn zeros_of_the_right_length_are_no_alert() {
    assert_eq!(refused(&[0; 65_864]), Refusal::NoSignature(Ids::Snort3));
    assert_eq!(refused(&[0; 65_928]), Refusal::NoSignature(Ids::Snort2));
    assert_eq!(refused(&[0; 1_856]), Refusal::NoSignature(Ids::Barnyard2));
}

#[test]
fn a_million_microseconds_are_refused_and_one_less_is_taken() {
    let refusal = refused(&with_word(65_860, 1_000_000));
    assert_eq!(refusal, Refusal::Microseconds(Ids::Snort3, 1_000_000));
    let datagram = with_word(65_860, 999_999);
    let mut scratch = Scratch::default();
    assert_eq!(
        decoded(&datagram, &mut scratch).time_us,
        1_760_000_000_999_999
    );
}

#[test]
fn caplen_is_clamped_to_the_area() {
    let mut scratch = Scratch::default();
    for caplen in [65_535, 65_549, u32::MAX] {
        let datagram = with_word(264, caplen);
        let alert = decoded(&datagram, &mut scratch);
        assert_eq!(alert.packet.expect("a packet").bytes.len(), 65_535);
    }
    let mut datagram = datagrams("barnyard2-unixsock-own-from-snort29").swap_remove(0);
    put(&mut datagram, 272, &u32::MAX.to_ne_bytes());
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.packet.expect("a packet").bytes.len(), 1_514);
}

#[test]
fn an_alert_without_packet_has_no_addresses_and_is_of_snort_3() {
    let mut datagram = with_word(264, 0);
    put(&mut datagram, 0, b"bare \0"); // Without its quote, too.
    let mut scratch = Scratch::default();
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.ids, Ids::Snort3);
    assert_eq!(
        (alert.flow, alert.packet, alert.payload),
        (None, None, Payload::None)
    );
    assert_eq!(*alert.message, *b"bare ");
}

#[test]
fn the_quotes_of_snort_3_are_stripped_as_far_as_they_are_there() {
    let cases: [(&[u8], &[u8]); 6] = [
        (b"\"whole\"\0", b"whole"),
        (b"\"cut\0", b"cut"),
        (b"\"\"\0", b""),
        (b"\"\0", b""),
        (b"\"a \"word\" in quotes\"\0", b"a \"word\" in quotes"),
        (b"\"\"\"\0", b"\""),
    ];
    let mut scratch = Scratch::default();
    for (sent, message) in cases {
        let mut datagram = snort3();
        put(&mut datagram, 0, sent);
        assert_eq!(*decoded(&datagram, &mut scratch).message, *message);
    }
}

#[test]
fn a_message_that_fills_its_area_is_survived() {
    let mut scratch = Scratch::default();
    for (length, of_snort2, of_snort3) in [(255, 255, 254), (256, 256, 255)] {
        let mut datagram = snort3();
        put(&mut datagram, 0, &[0; 256]);
        put(&mut datagram, 0, &vec![b'm'; length]);
        let alert = decoded(&datagram, &mut scratch);
        assert_eq!((alert.ids, alert.message.len()), (Ids::Snort2, of_snort2));
        datagram[0] = b'"';
        let alert = decoded(&datagram, &mut scratch);
        assert_eq!((alert.ids, alert.message.len()), (Ids::Snort3, of_snort3));
    }
}

#[test]
fn a_name_of_an_application_is_taken_from_the_longer_layout() {
    let mut datagram = datagrams("snort29appid-unixsock-own").swap_remove(0);
    put(&mut datagram, 65_864, b"ssh\xff\0junk");
    let mut scratch = Scratch::default();
    assert_eq!(decoded(&datagram, &mut scratch).app_proto, "ssh\u{fffd}");
    put(&mut datagram, 65_864, &[b'a'; 64]);
    assert_eq!(decoded(&datagram, &mut scratch).app_proto, "a".repeat(64));
}

#[test]
fn a_packet_cut_anywhere_is_read_as_far_as_it_goes() {
    for name in [
        "snort3-unixsock-own",
        "snort29-unixsock-linknull",
        "snort29-unixsock-linkraw",
    ] {
        for mut datagram in datagrams(name) {
            for caplen in 0..160_u32 {
                put(&mut datagram, 264, &caplen.to_ne_bytes());
                assert_eq!(survives(&datagram), Ok(()));
            }
        }
    }
}

#[test]
fn a_tcp_header_that_was_cut_leaves_the_addresses() {
    let mut scratch = Scratch::default();
    for (caplen, has_flow, has_transport) in [
        (33, false, false),
        (34, true, false),
        (73, true, false),
        (74, true, true),
    ] {
        let datagram = with_word(264, caplen);
        let alert = decoded(&datagram, &mut scratch);
        let packet = alert.packet.expect("a packet");
        assert_eq!(
            (alert.flow.is_some(), packet.ip.is_some()),
            (has_flow, has_flow),
            "{caplen}"
        );
        assert_eq!(packet.transport.is_some(), has_transport, "{caplen}");
        assert_eq!(
            alert
                .flow
                .is_some_and(|flow| flow.transport != Transport::Unknown),
            has_transport,
            "{caplen}"
        );
    }
}

/// In the fixtures the IDS's layer is always the innermost it looked into, so its hint decides nothing there.
#[test]
fn of_two_ip_layers_the_one_that_snort_points_at_is_taken() {
    let in_gre = |row: &super::fixtures::Row| row.text("outer_proto") == "47";
    let name = "snort29-unixsock-own";
    let row = super::fixtures::expected(name).iter().position(in_gre);
    let mut datagram = datagrams(name).swap_remove(row.expect("an alert on a GRE packet"));
    let mut scratch = Scratch::default();
    let mut source_and_start = |nethdr: u32| {
        put(&mut datagram, 276, &nethdr.to_ne_bytes());
        let alert = decoded(&datagram, &mut scratch);
        let packet = alert.packet.expect("a packet");
        (alert.flow.expect("addresses").src.to_string(), packet.ip)
    };
    let (outer, inner) = ("203.0.113.1".to_owned(), "192.0.2.10".to_owned());
    assert_eq!(source_and_start(14), (outer, Some(14)));
    for nethdr in [38, 0, 20, u32::MAX] {
        assert_eq!(
            source_and_start(nethdr),
            (inner.clone(), Some(38)),
            "{nethdr}"
        );
    }
}

#[test]
fn the_time_is_the_event_s_and_the_packet_keeps_its_own() {
    let mut datagram = with_word(256, 7);
    put(&mut datagram, 260, &8_u32.to_ne_bytes());
    let mut scratch = Scratch::default();
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.time_us, 1_760_000_000_100_003);
    assert_eq!(alert.packet.expect("a packet").time_us, 7_000_008);

    let mut datagram = datagrams("barnyard2-unixsock-own-from-snort29").swap_remove(0);
    put(&mut datagram, 256, &7_i64.to_ne_bytes());
    put(&mut datagram, 264, &8_i64.to_ne_bytes());
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.packet.expect("a packet").time_us, 7_000_008);
    put(&mut datagram, 256, &i64::MIN.to_ne_bytes());
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.packet.expect("a packet").time_us, alert.time_us);
}

/// A datagram of Snort 3 around this packet, all of it captured.
fn with_packet(packet: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(packet.len()).expect("a packet");
    let mut datagram = with_word(264, bytes);
    put(&mut datagram, 268, &bytes.to_ne_bytes());
    put(&mut datagram, 276, &[0; 4]);
    put(&mut datagram, 292, &[0; 65_535]);
    put(&mut datagram, 292, packet);
    datagram
}

/// An IPv4 header of this length, protocol and fragment word, then bytes.
fn ipv4(total: u16, proto: u8, fragment: u16, behind: &[u8]) -> Vec<u8> {
    let [high, low] = total.to_be_bytes();
    let [flags, offset] = fragment.to_be_bytes();
    let front = [0x45, 0, high, low, 0, 1, flags, offset, 64, proto, 0, 0];
    [&front[..], &[192, 0, 2, 1, 192, 0, 2, 2], behind].concat()
}

#[test]
fn lengths_of_ip_bound_the_payload() {
    let udp = [0, 53, 0, 99, 0, 0, 0, 0, b'd', b'a', b't', b'a', 0, 0, 0];
    let mut scratch = Scratch::default();
    for (total, payload) in [
        (32, &udp[8..12]), // Three bytes of padding stay outside.
        (35, &udp[8..]),
        (0, &udp[8..]), // Left to the network card.
        (9_999, &udp[8..]),
        (28, &[]),
        (27, &udp[..7]), // Not even a header fits: what is there is the payload.
        (20, &[]),
        (19, &[]),
    ] {
        let datagram = with_packet(&[&[0; 12], &[8, 0][..], &ipv4(total, 17, 0, &udp)].concat());
        let alert = decoded(&datagram, &mut scratch);
        assert_eq!(alert.payload(), Some(payload), "{total}");
        let has_ports = alert.flow.expect("addresses").transport != Transport::Unknown;
        assert_eq!(has_ports, total == 0 || total >= 28, "{total}");
    }
}

#[test]
fn gre_is_opened_with_its_options_and_with_ethernet_inside() {
    let inner = ipv4(28, 17, 0, &[0, 1, 0, 2, 0, 8, 0, 0]);
    let framed = [&[0; 12], &[8, 0][..], &inner].concat();
    let mut scratch = Scratch::default();
    for (gre, carried, layers) in [
        (&[0, 0, 8, 0][..], &inner, 2),
        (
            &[0xb0, 0, 8, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3],
            &inner,
            2,
        ),
        (&[0x20, 0, 0x65, 0x58, 0, 0, 0, 1], &framed, 2),
        (&[0x40, 0, 8, 0], &inner, 1), // Source routing.
        (&[0, 1, 8, 0], &inner, 1),    // PPTP.
        (&[0, 0, 0x88, 0xcc], &inner, 1),
    ] {
        let packet = ipv4(0, 47, 0, &[gre, carried].concat());
        let datagram = with_packet(&packet);
        let alert = linked(&datagram, LinkType::Raw, &mut scratch);
        let proto = alert.flow.expect("addresses").proto;
        assert_eq!(proto, if layers == 2 { 17 } else { 47 }, "{gre:?}");
    }
    let fragment = with_packet(&ipv4(0, 47, 0x2000, &[&[0, 0, 8, 0], &inner[..]].concat()));
    let alert = linked(&fragment, LinkType::Raw, &mut scratch);
    assert_eq!(alert.flow.expect("addresses").proto, 47);
}

#[test]
fn link_types_are_found_where_no_option_names_them() {
    let ip = ipv4(28, 17, 0, &[0, 1, 0, 2, 0, 8, 0, 0]);
    let ipv6 = [&[0x60, 0, 0, 0, 0, 0, 59, 64][..], &[0; 32]].concat();
    let arp = [&[0x60, 0, 0, 0, 0, 0], &[0; 6][..], &[8, 6], &[0; 28]].concat();
    let mut scratch = Scratch::default();
    for (packet, link, has_ip) in [
        (ip.clone(), 101, true),
        (ipv6.clone(), 101, true),
        ([&[2, 0, 0, 0], &ip[..]].concat(), 0, true),
        ([&[0, 0, 0, 2], &ip[..]].concat(), 0, true),
        ([&[10, 0, 0, 0], &ipv6[..]].concat(), 0, true),
        ([&[30, 0, 0, 0], &ipv6[..]].concat(), 0, true),
        ([&[9, 0, 0, 0], &ip[..]].concat(), 1, false), // No address family.
        ([&[10, 0, 0, 0], &ip[..]].concat(), 1, false), // Not the one of IPv4.
        (ip[..27].to_vec(), 1, false),                 // Its length does not fit.
        (arp, 1, false),                               // A card whose address begins with 60.
        (vec![0x45], 1, false),
    ] {
        let datagram = with_packet(&packet);
        let alert = decoded(&datagram, &mut scratch);
        let found = alert.packet.expect("a packet");
        assert_eq!(
            (found.link, found.ip.is_some()),
            (link, has_ip),
            "{packet:02x?}"
        );
    }
}

#[test]
fn an_alert_with_nothing_but_ids_keeps_its_priority_on_the_wire() {
    let record = eve(&[("src_ip", ""), ("dest_ip", "")]);
    assert_eq!(survives(record.as_bytes()), Ok(()));
}

/// A frame whose headers are tunnels in tunnels for ever must end.
#[test]
fn endless_tunnels_end() {
    let mut scratch = Scratch::default();
    let ip_in_ip = [
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let labels = [0, 0, 0, 64];
    for (kind, headers) in [
        ([0x08, 0x00], ip_in_ip.repeat(3_000)),
        ([0x88, 0x47], labels.repeat(16_000)),
        ([0x81, 0x00], [0, 1, 0x81, 0].repeat(16_000)),
    ] {
        let mut datagram = with_word(264, 65_535);
        put(&mut datagram, 292 + 12, &kind);
        put(&mut datagram, 292 + 14, &headers);
        put(&mut datagram, 276, &[0; 4]);
        assert_eq!(survives(&datagram), Ok(()));
        let alert = decoded(&datagram, &mut scratch);
        assert_eq!(alert.flow.is_some(), kind == [0x08, 0x00]);
    }
}

#[test]
fn an_eve_record_of_the_length_of_another_layout_is_an_eve_record() {
    let mut scratch = Scratch::default();
    for bytes in [1_844, 1_856, 1_864, 65_864, 65_928] {
        let record = eve(&[]);
        let filler = "x".repeat(bytes - record.len() - r#""filler":"","#.len());
        let record = record.replacen('{', &format!(r#"{{"filler":"{filler}","#), 1);
        assert_eq!(record.len(), bytes);
        assert_eq!(decoded(record.as_bytes(), &mut scratch).ids, Ids::Suricata);
    }
    let mut datagram = snort3();
    put(&mut datagram, 0, b"{curly} message\0");
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(
        (alert.ids, &*alert.message),
        (Ids::Snort2, &b"{curly} message"[..])
    );
}

/// An EVE alert with some of its parts replaced, removed or added; `alert.` keys go into its object.
fn eve(changes: &[(&str, &str)]) -> String {
    let object = |prefix: &str, parts: &[(&str, &str)]| {
        let changed = |key: &str| {
            let full = format!("{prefix}{key}");
            changes
                .iter()
                .find(|(name, _)| *name == full)
                .map(|(_, value)| *value)
        };
        let kept = parts
            .iter()
            .map(|(key, value)| (*key, changed(key).unwrap_or(value)));
        let added = changes.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(prefix)?;
            let is_new = !key.contains('.') && parts.iter().all(|(known, _)| *known != key);
            is_new.then_some((key, *value))
        });
        let parts = kept.chain(added).filter(|(_, value)| !value.is_empty());
        let parts: Vec<String> = parts
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        format!("{{{}}}", parts.join(","))
    };
    let inner = object(
        "alert.",
        &[
            ("action", "\"allowed\""),
            ("gid", "1"),
            ("signature_id", "2000001"),
            ("rev", "7"),
            ("signature", "\"what it says\""),
            ("category", "\"a class\""),
            ("severity", "2"),
        ],
    );
    object(
        "",
        &[
            ("timestamp", "\"2025-10-09T08:53:20.100003+0000\""),
            ("event_type", "\"alert\""),
            ("src_ip", "\"192.0.2.10\""),
            ("src_port", "40001"),
            ("dest_ip", "\"198.51.100.20\""),
            ("dest_port", "80"),
            ("proto", "\"TCP\""),
            ("alert", &inner),
            ("stream", "0"),
        ],
    )
}

fn eve_refused(changes: &[(&str, &str)]) -> Refusal {
    refused(eve(changes).as_bytes())
}

#[test]
fn an_eve_alert_needs_these_keys() {
    for key in [
        "timestamp",
        "event_type",
        "alert",
        "alert.signature_id",
        "dest_ip",
        "src_ip",
        "proto",
    ] {
        assert_eq!(eve_refused(&[(key, "")]), Refusal::Missing(key));
    }
}

#[test]
fn an_eve_alert_without_other_keys_has_their_defaults() {
    let record = eve(&[
        ("alert.gid", ""),
        ("alert.rev", ""),
        ("alert.severity", ""),
        ("alert.signature", ""),
        ("alert.category", ""),
        ("alert.action", ""),
        ("stream", ""),
        ("src_ip", ""),
        ("dest_ip", ""),
    ]);
    let mut scratch = Scratch::default();
    let alert = decoded(record.as_bytes(), &mut scratch);
    assert_eq!(
        (alert.gid, alert.sid, alert.rev, alert.priority),
        (1, 2_000_001, 0, 0)
    );
    assert!(alert.message.is_empty() && alert.class_name.is_empty() && alert.action.is_empty());
    assert_eq!(
        (alert.flow, alert.packet, alert.payload),
        (None, None, Payload::None)
    );
}

#[test]
fn wrong_types_and_ranges_are_refused_by_key() {
    let cases = [
        ("timestamp", "1760000000"),
        ("timestamp", "\"yesterday\""),
        ("event_type", "7"),
        ("src_ip", "\"192.0.2.256\""),
        ("src_ip", "\"2001:db8::1\""),
        ("src_port", "65536"),
        ("src_port", "\"80\""),
        ("dest_port", "-1"),
        ("dest_port", "1.5"),
        ("proto", "6"),
        ("alert", "[]"),
        ("alert", "\"text\""),
        ("alert.gid", "4294967296"),
        ("alert.gid", "\"1\""),
        ("alert.signature_id", "null"),
        ("alert.signature_id", "1e3"),
        ("alert.signature_id", "18446744073709551616"),
        ("alert.rev", "true"),
        ("alert.signature", "{}"),
        ("alert.category", "[\"a\"]"),
        ("alert.severity", "\"high\""),
        ("in_iface", "0"),
        ("app_proto", "null"),
        ("stream", "\"0\""),
        ("packet", "12"),
        ("payload", "{}"),
    ];
    for (key, value) in cases {
        let key_refused = match (key, value) {
            ("src_ip", "\"2001:db8::1\"") => "dest_ip", // Two families: the second is at odds with the first.
            _ => key,
        };
        assert_eq!(
            eve_refused(&[(key, value)]),
            Refusal::Wrong(key_refused),
            "{key} {value}"
        );
    }
}

#[test]
fn ids_up_to_the_last_number_are_taken() {
    let most = "4294967295";
    let record = eve(&[
        ("alert.gid", most),
        ("alert.signature_id", most),
        ("alert.rev", most),
    ]);
    let mut scratch = Scratch::default();
    let alert = decoded(record.as_bytes(), &mut scratch);
    assert_eq!(
        (alert.gid, alert.sid, alert.rev),
        (u32::MAX, u32::MAX, u32::MAX)
    );
}

#[test]
fn times_of_all_zones_become_utc() {
    let cases = [
        ("1970-01-01T00:00:00.000000+0000", Some(0)),
        (
            "2025-10-09T14:23:20.100003+0530",
            Some(1_760_000_000_100_003),
        ),
        (
            "2025-10-09T04:53:20.100003-0400",
            Some(1_760_000_000_100_003),
        ),
        (
            "2024-02-29T23:59:59.999999+0000",
            Some(1_709_251_199_999_999),
        ),
        ("2000-03-01T00:00:00.000000+0000", Some(951_868_800_000_000)),
        (
            "2106-02-07T06:28:14.000000+0000",
            Some(4_294_967_294_000_000),
        ),
        ("1969-12-31T23:59:59.999999+0000", Some(-1)),
        ("2023-02-29T00:00:00.000000+0000", None),
        ("2100-02-29T00:00:00.000000+0000", None),
        ("2025-13-01T00:00:00.000000+0000", None),
        ("2025-00-01T00:00:00.000000+0000", None),
        ("2025-01-00T00:00:00.000000+0000", None),
        ("2025-01-01T24:00:00.000000+0000", None),
        ("2025-01-01T00:60:00.000000+0000", None),
        ("2025-01-01T00:00:61.000000+0000", None),
        ("2025-01-01T00:00:00.000000 0000", None),
        ("2025-01-01T00:00:00.000000+00", None),
        ("2025-01-01T00:00:00.00000a+0000", None),
        ("2025-01-01 00:00:00.000000+0000", None),
        ("2025-01-01T00:00:00.00000\u{e9}+000", None),
        ("", None),
    ];
    for (stamp, micros) in cases {
        let record = eve(&[("timestamp", &format!("\"{stamp}\""))]);
        let mut scratch = Scratch::default();
        let got = decode(record.as_bytes(), LinkType::Auto, &mut scratch);
        let got = got.map(|decoded| match decoded {
            Decoded::Alert(alert) => alert.time_us,
            Decoded::Stats(_) | Decoded::OtherRecord => panic!("{stamp}: no alert"),
        });
        assert_eq!(got, micros.ok_or(Refusal::Wrong("timestamp")), "{stamp}");
    }
}

#[test]
fn names_and_numbers_of_protocols_become_numbers() {
    let cases = [
        ("IP-in-IP", 4),
        ("IPv6", 41),
        ("IPv6-Frag", 44),
        ("GRE", 47),
        ("ESP", 50),
        ("AH", 51),
        ("OSPF", 89),
        ("PIM", 103),
        ("VRRP", 112),
        ("L2TP", 115),
        ("SCTP", 132),
        ("tcp", 6),
        ("253", 253),
        ("002", 2),
        ("256", 255),
        ("Any", 255),
        ("", 255),
    ];
    let mut scratch = Scratch::default();
    for (name, number) in cases {
        let record = eve(&[("proto", &format!("\"{name}\""))]);
        let alert = decoded(record.as_bytes(), &mut scratch);
        assert_eq!(alert.flow.expect("addresses").proto, number, "{name}");
    }
}

#[test]
fn json_that_is_cut_broken_or_followed_by_more_is_refused() {
    let record = eve(&[]);
    for end in 1..record.len() {
        assert_eq!(refused(&record.as_bytes()[..end]), Refusal::Unfinished(end));
    }
    for text in [
        "{]",
        "{not json}",
        "{\"a\":1}{\"a\":2}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\t\"}",
    ] {
        assert!(
            matches!(refused(text.as_bytes()), Refusal::NotJson(1..)),
            "{text}"
        );
    }
    assert!(matches!(
        refused(format!("{record}{record}").as_bytes()),
        Refusal::NotJson(_)
    ));
    assert_eq!(refused(b"{}"), Refusal::Missing("event_type"));
}

#[test]
fn json_nested_deep_is_refused_and_does_not_overflow() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [102, 127, 128, 129, 10_000, 100_000] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(
                eve_refused(&[("deep", &value)]),
                Refusal::TooDeep,
                "{depth}"
            );
        }
        let value = format!("{}1{}", open.repeat(90), close.repeat(90));
        let mut scratch = Scratch::default();
        decoded(eve(&[("deep", &value)]).as_bytes(), &mut scratch);
    }
}

#[test]
fn only_the_record_s_own_event_type_decides() {
    let mut scratch = Scratch::default();
    let mut is_other = |record: &str| {
        decode(record.as_bytes(), LinkType::Auto, &mut scratch) == Ok(Decoded::OtherRecord)
    };
    assert!(is_other(
        r#"{"event_type":"flow","flow":{"event_type":"alert"}}"#
    ));
    assert!(is_other(
        r#"{"http":{"event_type":"alert"},"event_type":"http"}"#
    ));
    assert!(is_other(
        r#"{"note":"\"event_type\":\"alert\"","event_type":"stats"}"#
    ));
    assert!(is_other(r#"{"event\u005ftype":"dns"}"#));
    assert!(is_other(
        r#"{"alert":7,"timestamp":null,"event_type":"anomaly","packet":3}"#
    ));
    assert!(!is_other(&eve(&[("flow", r#"{"event_type":"flow"}"#)])));
    assert!(!is_other(&eve(&[("note", r#""\"event_type\":\"flow\"""#)])));
    assert!(!is_other(&eve(&[
        ("event_type", ""),
        ("event\\u005ftype", "\"alert\"")
    ])));
}

#[test]
fn a_stats_record_that_does_not_count_alerts_as_suricata_does_is_left_out() {
    let mut scratch = Scratch::default();
    let mut decoded = |stats: &str| {
        let record = format!(r#"{{"event_type":"stats","stats":{stats}}}"#);
        decode(record.as_bytes(), LinkType::Auto, &mut scratch).map(|decoded| match decoded {
            Decoded::Stats(stats) => Some((stats.uptime_secs, stats.raised)),
            Decoded::OtherRecord => None,
            Decoded::Alert(_) => panic!("an alert: {record}"),
        })
    };
    let engines = r#""engines":[{"id":0,"last_reload":"2026-11-21T02:13:35.399461+0000"}]"#;
    let whole = format!(r#"{{"uptime":8,"detect":{{{engines},"alert":52}}}}"#);
    assert_eq!(decoded(&whole), Ok(Some((8, 52))));
    for (part, by) in [
        (r#""uptime":8,"#, ""),
        (r#""uptime":8"#, r#""uptime":-8"#),
        (r#""uptime":8"#, r#""uptime":"8""#),
        (r#""alert":52"#, r#""alert":5.2"#),
        (r#""alert":52"#, r#""alert":{"alert":52}"#),
        (r#""alert":52"#, r#""alert":18446744073709551616"#),
        (r#""alert":52"#, r#""alerts":52"#),
        (r#""detect""#, r#""threads""#),
        (r#"2026-11-21T02"#, "yesterday"),
        (r#""last_reload""#, r#""id""#),
    ] {
        let record = whole.replacen(part, by, 1);
        assert_eq!(decoded(&record), Ok(None), "{record}");
    }
    let deep = whole.replace('[', "[{\"a\":[").replace(']', "]}]");
    assert_eq!(decoded(&deep), Ok(None), "another list's");
    let per_thread =
        format!(r#"{{"uptime":8,"threads":{{"W#01":{{"detect":{{{engines},"alert":52}}}}}}}}"#);
    assert_eq!(decoded(&per_thread), Ok(None), "no totals");
}

#[test]
fn newlines_at_the_end_are_not_the_record() {
    let record = eve(&[]);
    let mut scratch = Scratch::default();
    for end in ["", "\n", "\r\n", "\n\n"] {
        let datagram = format!("{record}{end}");
        assert_eq!(
            decoded(datagram.as_bytes(), &mut scratch).record,
            record.as_bytes()
        );
    }
}

#[test]
fn texts_are_cut_between_characters() {
    let long = "é".repeat(1_000);
    for text in [format!("\"a{long}\""), format!("\"\\u0061{long}\"")] {
        let record = eve(&[
            ("alert.signature", &text),
            ("alert.category", &text),
            ("in_iface", &text),
            ("app_proto", &text),
            ("alert.action", &text),
        ]);
        let mut scratch = Scratch::default();
        let alert = decoded(record.as_bytes(), &mut scratch);
        assert_eq!(alert.message.len(), MESSAGE_BYTES_MAX - 1);
        assert!(std::str::from_utf8(&alert.message).is_ok());
        for name in [
            &alert.class_name,
            &alert.interface,
            &alert.app_proto,
            &alert.action,
        ] {
            assert_eq!(name.len(), NAME_BYTES_MAX);
        }
        assert_eq!(survives(record.as_bytes()), Ok(()));
    }
}

#[test]
fn texts_without_escapes_are_borrowed_and_nul_survives() {
    let mut scratch = Scratch::default();
    let record = eve(&[("in_iface", "\"eth0\""), ("app_proto", "\"http\"")]);
    let alert = decoded(record.as_bytes(), &mut scratch);
    assert!(matches!(alert.message, Cow::Borrowed(b"what it says")));
    for name in [
        &alert.class_name,
        &alert.interface,
        &alert.app_proto,
        &alert.action,
    ] {
        assert!(matches!(name, Cow::Borrowed(_)));
    }
    let record = eve(&[("alert.signature", r#""a\u0000b \"c\"""#)]);
    assert_eq!(
        *decoded(record.as_bytes(), &mut scratch).message,
        *b"a\0b \"c\""
    );
}

#[test]
fn an_alert_is_not_lost_for_bytes_that_are_not_utf_8() {
    let record = eve(&[("alert.signature", "\"Gr?n\"")]);
    let mut datagram = record.clone().into_bytes();
    let at = record.find("Gr?n").expect("the signature") + 2;
    datagram[at] = 0xfc;
    let mut scratch = Scratch::default();
    let alert = decoded(&datagram, &mut scratch);
    assert_eq!(alert.message_text(), "Gr\u{fffd}n");
    assert_eq!(alert.record, record.replace('?', "\u{fffd}").as_bytes());
    assert_eq!(survives(&datagram), Ok(()));
}

#[test]
fn records_up_to_the_limit_are_taken() {
    let with = |bytes: usize, filler: u8| {
        let mut record = eve(&[("filler", "\"@\"")]).into_bytes();
        let at = record
            .iter()
            .position(|byte| *byte == b'@')
            .expect("the mark");
        let filler = vec![filler; bytes - record.len() + 1];
        record.splice(at..=at, filler);
        record
    };
    assert_eq!(survives(&with(EVE_BYTES_MAX, b'x')), Ok(()));
    assert_eq!(
        refused(&with(EVE_BYTES_MAX + 1, b'x')),
        Refusal::TooLong(EVE_BYTES_MAX + 1)
    );
    assert!(matches!(
        refused(&with(EVE_BYTES_MAX, 0xff)),
        Refusal::TooLong(1_048_577..1_048_600)
    ));
}

#[test]
fn what_is_not_base64_is_refused_by_key() {
    for text in [
        "\"AAA\"",
        "\"A===\"",
        "\"@@@@\"",
        "\"AAAA AAAA\"",
        "\"\u{e9}\"",
    ] {
        for key in ["packet", "payload"] {
            assert_eq!(
                eve_refused(&[(key, text)]),
                Refusal::NotBase64(key),
                "{text}"
            );
        }
    }
    assert_eq!(
        survives(eve(&[("packet", "\"\""), ("payload", "\"\"")]).as_bytes()),
        Ok(())
    );
}

/// UDP 192.0.2.10:50801 > 198.51.100.20:7090, "payload", without link header.
const RAW_PACKET: &str = "\"RQAAIwABAABAEQAAwAACCsYzZBTGcRuyAA8AAHBheWxvYWQ=\"";
const RAW: &str = r#"{"linktype":12}"#;

#[test]
fn the_packet_of_another_flow_is_kept_but_not_pointed_into() {
    let mut scratch = Scratch::default();
    let packet = [("packet", RAW_PACKET), ("packet_info", RAW)];
    let record = eve(&[packet[0], packet[1], ("proto", "\"UDP\"")]);
    let alert = decoded(record.as_bytes(), &mut scratch);
    let marked = alert.packet.expect("a packet");
    assert_eq!((marked.ip, marked.transport), (Some(0), Some(20)));
    assert_eq!(alert.payload(), Some(&b"payload"[..]));

    let record = eve(&packet); // TCP, it says.
    let marked = decoded(record.as_bytes(), &mut scratch)
        .packet
        .expect("a packet");
    assert_eq!((marked.ip, marked.transport), (Some(0), None));

    let record = eve(&[packet[0], packet[1], ("src_ip", "\"192.0.2.99\"")]);
    let alert = decoded(record.as_bytes(), &mut scratch);
    let marked = alert.packet.expect("a packet");
    assert_eq!((marked.ip, marked.transport), (None, None));
    assert_eq!(alert.payload, Payload::None);
}

#[test]
fn the_record_s_payload_goes_before_the_packet_s() {
    let mut scratch = Scratch::default();
    let record = eve(&[
        ("payload", "\"b3du\""),
        ("packet", RAW_PACKET),
        ("packet_info", RAW),
        ("proto", "\"Any\""),
    ]);
    let alert = decoded(record.as_bytes(), &mut scratch);
    assert_eq!(alert.payload(), Some(&b"own"[..]));
    assert_eq!(alert.flow.expect("addresses").proto, 17); // The name tells nothing, the packet does.
}

#[test]
fn the_packet_of_a_stream_is_made_up_and_left_out() {
    let mut scratch = Scratch::default();
    let record = eve(&[
        ("stream", "1"),
        ("packet", RAW_PACKET),
        ("packet_info", RAW),
    ]);
    let alert = decoded(record.as_bytes(), &mut scratch);
    assert_eq!((alert.packet, alert.payload), (None, Payload::None));
}

#[test]
fn a_link_type_that_is_not_known_keeps_the_packet() {
    let mut scratch = Scratch::default();
    let record = eve(&[
        ("packet", RAW_PACKET),
        ("packet_info", r#"{"linktype":147}"#),
    ]);
    let packet = decoded(record.as_bytes(), &mut scratch)
        .packet
        .expect("a packet");
    assert_eq!((packet.link, packet.ip), (147, None));
}

/// Real datagrams of each kind, one of every `step`.
fn samples(step: usize) -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for name in [
        "snort29-unixsock-own",
        "snort29appid-unixsock-own",
        "snort3-unixsock-own",
        "snort29-unixsock-linknull",
        "snort29-unixsock-linkraw",
        "barnyard2-unixsock-own-from-snort29",
        "suricata7-eve-dgram-own",
        "suricata7-eve-dgram-linksll",
    ] {
        samples.extend(datagrams(name).into_iter().step_by(step));
    }
    samples
}

/// Where a change does something: the fields, the headers of the packet, the words of the event.
fn offsets() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..420_usize,
        65_820..65_928_usize,
        1_810..1_856_usize,
        0..2_000_usize
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None, // A seed that failed becomes a test with a name.
        ..ProptestConfig::default()
    })]

    #[test]
    fn real_datagrams_with_some_bytes_changed_are_survived(
        changes in prop::collection::vec((offsets(), any::<u8>()), 1..12),
    ) {
        thread_local! {
            static SAMPLES: Vec<Vec<u8>> = samples(7);
        }
        SAMPLES.with(|samples| {
            for sample in samples {
                let mut datagram = sample.clone();
                for (at, byte) in &changes {
                    let at = at % datagram.len();
                    datagram[at] = *byte;
                }
                let _ = survives(&datagram);
            }
        });
    }

    #[test]
    fn packets_of_any_bytes_are_survived(
        packet in prop::collection::vec(any::<u8>(), 1..200),
        start in prop::sample::select(vec![0_usize, 12, 14, 34, 54]),
        nethdr in 0..80_u32,
    ) {
        let mut datagram = snort3();
        put(&mut datagram, 264, &200_u32.to_ne_bytes());
        put(&mut datagram, 276, &nethdr.to_ne_bytes());
        put(&mut datagram, 292 + start, &packet);
        prop_assert_eq!(survives(&datagram), Ok(()));
    }
}

#[test]
fn all_real_datagrams_are_the_same_on_the_wire() {
    for sample in samples(1) {
        assert_eq!(survives(&sample), Ok(()));
    }
}
