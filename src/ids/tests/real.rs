//! Each fixture against what independent programs say is in it.

use super::expect::{self, Seen, Sender, sha256};
use super::fixtures::{Row, datagrams, expected};
use super::*;
use crate::alert::{LINK_ETHERNET, LINK_NULL, LINK_RAW, LINK_SLL, Payload, Transport};

fn time(row: &Row, seconds: &str, microseconds: &str) -> i64 {
    row.number(seconds) * 1_000_000 + row.number(microseconds)
}

fn seen(alert: &Alert<'_>) -> Seen {
    let flow = alert.flow.as_ref().map(|flow| {
        let (ports, icmp) = match flow.transport {
            Transport::Ports {
                source,
                destination,
            } => (Some([source, destination]), None),
            Transport::Icmp { kind, code } => (None, Some([kind, code])),
            Transport::Unknown => (None, None),
        };
        expect::Flow {
            ends: [flow.src, flow.dst],
            proto: flow.proto,
            ports,
            icmp,
        }
    });
    Seen {
        ids: alert.ids as u8,
        time_us: alert.time_us,
        gid: alert.gid.into(),
        sid: alert.sid.into(),
        rev: alert.rev.into(),
        class_id: alert.class_id.map(i64::from),
        class_name: alert.class_name.clone().into_owned(),
        priority: alert.priority.into(),
        event_id: alert.event_id.map(i64::from),
        action: alert.action.clone().into_owned(),
        message: alert.message_text().into_owned(),
        flow,
        payload: alert.payload().map(<[u8]>::to_vec),
    }
}

/// The row, and the message's bytes, which `Seen` has as text.
fn same_alert(sender: Sender, alert: &Alert<'_>, row: &Row) {
    expect::agrees(sender, &seen(alert), row);
    assert_eq!(
        *alert.message,
        *expect::message(sender, row),
        "{}",
        row.place
    );
}

fn same_packet(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let Some(packet) = &alert.packet else {
        assert_eq!(row.number("caplen"), 0, "{place}");
        assert!(
            row.text("pkt_origin").ends_with(":not-in-datagram"),
            "{place}"
        );
        return;
    };
    assert_eq!(packet.time_us, time(row, "pkt_sec", "pkt_usec"), "{place}");
    assert_eq!(
        i64::from(packet.wire_bytes),
        row.number("pktlen"),
        "{place}"
    );
    assert_eq!(
        packet.bytes.len() as i64,
        row.number("caplen").min(65_535),
        "{place}"
    );
    assert_eq!(sha256(packet.bytes), row.text("pkt_sha256"), "{place}");
    assert_eq!(i64::from(packet.link), row.number("linktype"), "{place}");
}

fn same_as_table(name: &str, link: LinkType) {
    let sender = Sender::of(name);
    let (datagrams, rows) = (datagrams(name), expected(name));
    assert_eq!(datagrams.len(), rows.len(), "{name}");
    let mut scratch = Scratch::default();
    for (datagram, row) in datagrams.iter().zip(&rows) {
        let alert = linked(datagram, link, &mut scratch);
        assert_eq!(alert.event_reference, alert.event_id, "{}", row.place);
        same_alert(sender, &alert, row);
        same_packet(&alert, row);
    }
}

#[test]
fn alerts_of_snort_2_9_are_as_snort_and_scapy_say() {
    for name in ["own", "time0", "time2038", "time2106"] {
        same_as_table(&format!("snort29-unixsock-{name}"), LinkType::Auto);
    }
}

#[test]
fn alerts_of_snort_2_9_with_openappid_are_as_snort_and_scapy_say() {
    same_as_table("snort29appid-unixsock-own", LinkType::Auto);
}

#[test]
fn alerts_of_snort_3_are_as_snort_and_scapy_say() {
    for name in ["own", "thread0", "thread1", "time0", "time2038", "time2106"] {
        same_as_table(&format!("snort3-unixsock-{name}"), LinkType::Auto);
    }
}

#[test]
fn packets_without_ethernet_are_found_with_and_without_the_option() {
    for link in [LinkType::Auto, LinkType::Raw] {
        same_as_table("snort29-unixsock-linkraw", link);
        same_as_table("snort3-unixsock-linkraw", link);
    }
    for link in [LinkType::Auto, LinkType::Null] {
        same_as_table("snort29-unixsock-linknull", link);
    }
}

#[test]
fn ethernet_by_option_is_the_same_as_ethernet_found() {
    same_as_table("snort29-unixsock-own", LinkType::Ethernet);
    same_as_table("snort3-unixsock-own", LinkType::Ethernet);
}

#[test]
fn a_rule_of_snort_2_9_without_message_gives_an_empty_one() {
    let datagrams = datagrams("snort29-unixsock-nomsg");
    let mut scratch = Scratch::default();
    let alert = decoded(&datagrams[0], &mut scratch);
    assert_eq!(datagrams.len(), 1);
    assert_eq!((alert.gid, alert.sid, alert.rev), (1, 1_000_128, 1));
    assert_eq!((alert.class_id, alert.priority), (Some(0), 0));
    assert!(alert.message.is_empty());
    assert_eq!(alert.time_us, 1_760_000_602_900_087);
    assert_eq!(alert.payload(), Some(&b"msgtest 28"[..]));
}

#[test]
fn a_packet_that_snort_2_9_cut_is_as_long_as_it_says() {
    let name = "snort29-unixsock-snaplen200";
    let mut scratch = Scratch::default();
    for (datagram, row) in datagrams(name).iter().zip(expected(name)) {
        let alert = decoded(datagram, &mut scratch);
        let packet = alert.packet.as_ref().expect("a packet");
        assert_eq!(i64::from(alert.sid), row.number("sid"));
        assert_eq!(packet.bytes.len() as i64, row.number("caplen"));
        assert_eq!(
            sha256(packet.bytes),
            row.text("sha256_of_caplen_bytes_zero_filled")
        );
    }
}

#[test]
fn alerts_of_barnyard2_are_as_unified2_says() {
    for from in ["snort29", "snort3-legacy"] {
        let name = format!("barnyard2-unixsock-own-from-{from}");
        let (datagrams, rows) = (datagrams(&name), expected(&name));
        assert_eq!(datagrams.len(), rows.len(), "{name}");
        let mut scratch = Scratch::default();
        for (datagram, row) in datagrams.iter().zip(&rows) {
            let alert = decoded(datagram, &mut scratch);
            same_alert(Sender::of(&name), &alert, row);
            same_stored_packet(&alert, row);
        }
    }
}

fn same_stored_packet(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let packet = alert
        .packet
        .as_ref()
        .expect("barnyard2 sends no event without");
    assert_eq!(packet.time_us, time(row, "pkt_sec", "pkt_usec"), "{place}");
    assert_eq!(
        i64::from(packet.wire_bytes),
        row.number("caplen"),
        "{place}"
    );
    assert_eq!(
        packet.bytes.len() as i64,
        row.number("stored_pkt_len"),
        "{place}"
    );
    assert_eq!(
        sha256(packet.bytes),
        row.text("pkt_sha256_stored"),
        "{place}"
    );
}

/// The record's own newline is not a part of it.
fn same_record(alert: &Alert<'_>, datagram: &[u8], row: &Row) {
    let place = &row.place;
    assert_eq!(row.number("newline_at_end"), 1, "{place}");
    assert_eq!(alert.record, &datagram[..datagram.len() - 1], "{place}");
}

/// `payload` and `packet` of the record.
fn same_bytes(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let has_own = row.value::<usize>("payload_len").is_some();
    let is_own = matches!(alert.payload, Payload::Own(_));
    assert_eq!(is_own, has_own, "{place}");
    let Some(packet) = &alert.packet else {
        assert!(contains(alert.record, b"\"stream\":1,"), "{place}");
        return;
    };
    assert!(contains(alert.record, b"\"stream\":0,"), "{place}");
    assert_eq!(
        packet.bytes.len() as i64,
        row.number("packet_len"),
        "{place}"
    );
    assert_eq!(sha256(packet.bytes), row.text("packet_sha256"), "{place}");
    let link = match row.number("linktype") {
        12 => LINK_RAW,
        other => u32::try_from(other).expect("a link type"),
    };
    assert_eq!(packet.link, link, "{place}");
    assert!(packet.ip.is_some(), "{place}: its IP header was not found");
    let has_header = match alert.flow.map(|flow| (flow.proto, flow.transport)) {
        // Of a fragment Suricata says port 0. The first one has a header all the same, and type and code of ICMP.
        Some((6 | 17, Transport::Ports { source: 0, .. }) | (1, Transport::Unknown)) => return,
        Some((6 | 17, _)) => true,
        Some((_, transport)) => matches!(transport, Transport::Icmp { .. }),
        None => false,
    };
    assert_eq!(packet.transport.is_some(), has_header, "{place}");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn alerts_of_suricata_are_as_its_log_file_says() {
    let mut scratch = Scratch::default();
    for (name, alerts) in [
        ("own", 119),
        ("linkraw", 3),
        ("linksll", 2),
        ("linknull", 1),
        ("time0", 2),
        ("time2038", 3),
    ] {
        let name = format!("suricata7-eve-dgram-{name}");
        let (datagrams, rows) = (datagrams(&name), expected(&name));
        assert_eq!(datagrams.len(), rows.len(), "{name}");
        let mut found = 0;
        for (datagram, row) in datagrams.iter().zip(&rows) {
            if row.text("event_type") != "alert" {
                let decoded = decode(datagram, LinkType::Auto, &mut scratch);
                let is_other = decoded == Ok(Decoded::OtherRecord);
                let is_stats = matches!(decoded, Ok(Decoded::Stats(_)));
                let expected = row.text("event_type") == "stats";
                assert_eq!((is_stats, is_other), (expected, !expected), "{}", row.place);
                continue;
            }
            let alert = decoded(datagram, &mut scratch);
            found += 1;
            same_alert(Sender::Suricata, &alert, row);
            same_record(&alert, datagram, row);
            same_bytes(&alert, row);
        }
        assert_eq!(found, alerts, "{name}");
    }
}

#[test]
fn link_types_of_suricata_are_all_met() {
    let mut scratch = Scratch::default();
    let mut links = Vec::new();
    for name in ["own", "linkraw", "linksll", "linknull"] {
        let first = &datagrams(&format!("suricata7-eve-dgram-{name}"))[0];
        let alert = decoded(first, &mut scratch);
        links.push(alert.packet.expect("a packet").link);
    }
    assert_eq!(links, [LINK_ETHERNET, LINK_RAW, LINK_SLL, LINK_NULL]);
}
