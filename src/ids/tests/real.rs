//! Each fixture against what independent programs say is in it.

use super::fixtures::{Row, datagrams, expected};
use super::*;
use crate::alert::{LINK_ETHERNET, LINK_NULL, LINK_RAW, LINK_SLL, Payload, Transport};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(row: &Row, seconds: &str, microseconds: &str) -> i64 {
    row.number(seconds) * 1_000_000 + row.number(microseconds)
}

/// Ids, time, class, priority and message: the same columns in the tables of Snort and barnyard2.
fn same_event(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    assert_eq!(alert.time_us, time(row, "ts_sec", "ts_usec"), "{place}");
    assert_eq!(i64::from(alert.gid), row.number("gid"), "{place}");
    assert_eq!(i64::from(alert.sid), row.number("sid"), "{place}");
    assert_eq!(i64::from(alert.rev), row.number("rev"), "{place}");
    assert_eq!(
        alert.class_id.map(i64::from),
        row.value("class_id"),
        "{place}"
    );
    assert_eq!(i64::from(alert.priority), row.number("priority"), "{place}");
    assert_eq!(
        alert.event_id.map(i64::from),
        row.value("event_id"),
        "{place}"
    );
    // The tables have the whole text; on the wire are 255 bytes of it, of Snort 3 one is the quote.
    let room = if alert.ids == Ids::Snort3 { 254 } else { 255 };
    let message = row.bytes("msg");
    assert_eq!(
        *alert.message,
        message[..message.len().min(room)],
        "{place}"
    );
}

/// Addresses, ports, ICMP type and code by scapy, at the layer the IDS reported.
fn same_flow(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let flow = alert.flow.as_ref();
    let (src, dst) = (row.value::<IpAddr>("src"), row.value::<IpAddr>("dst"));
    assert_eq!(flow.map(|flow| flow.src), src, "{place}");
    assert_eq!(flow.map(|flow| flow.dst), dst, "{place}");
    let version = flow.map(|flow| if flow.src.is_ipv4() { 4 } else { 6 });
    assert_eq!(version, row.value("ip_version"), "{place}");
    assert_eq!(flow.map(|flow| flow.proto), row.value("proto"), "{place}");
    let (ports, icmp) = match flow.map(|flow| flow.transport) {
        Some(Transport::Ports {
            source,
            destination,
        }) => ((Some(source), Some(destination)), (None, None)),
        Some(Transport::Icmp { kind, code }) => ((None, None), (Some(kind), Some(code))),
        Some(Transport::Unknown) | None => ((None, None), (None, None)),
    };
    assert_eq!(ports, (row.value("sport"), row.value("dport")), "{place}");
    assert_eq!(
        icmp,
        (row.value("icmp_type"), row.value("icmp_code")),
        "{place}"
    );
}

fn same_packet(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let payload = alert.payload();
    assert_eq!(
        payload.map(<[u8]>::len),
        row.value("payload_len"),
        "{place}"
    );
    assert_eq!(payload.map(sha256), row.value("payload_sha256"), "{place}");
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

fn same_as_table(name: &str, ids: Ids, link: LinkType) {
    let (datagrams, rows) = (datagrams(name), expected(name));
    assert_eq!(datagrams.len(), rows.len(), "{name}");
    let mut scratch = Scratch::default();
    for (datagram, row) in datagrams.iter().zip(&rows) {
        let alert = linked(datagram, link, &mut scratch);
        assert_eq!(alert.ids, ids, "{}", row.place);
        assert_eq!(alert.event_reference, alert.event_id, "{}", row.place);
        same_event(&alert, row);
        same_flow(&alert, row);
        same_packet(&alert, row);
    }
}

#[test]
fn alerts_of_snort_2_9_are_as_snort_and_scapy_say() {
    for name in ["own", "time0", "time2038", "time2106"] {
        same_as_table(
            &format!("snort29-unixsock-{name}"),
            Ids::Snort2,
            LinkType::Auto,
        );
    }
}

#[test]
fn alerts_of_snort_2_9_with_openappid_are_as_snort_and_scapy_say() {
    same_as_table("snort29appid-unixsock-own", Ids::Snort2, LinkType::Auto);
}

#[test]
fn alerts_of_snort_3_are_as_snort_and_scapy_say() {
    for name in ["own", "thread0", "thread1", "time0", "time2038", "time2106"] {
        same_as_table(
            &format!("snort3-unixsock-{name}"),
            Ids::Snort3,
            LinkType::Auto,
        );
    }
}

#[test]
fn packets_without_ethernet_are_found_with_and_without_the_option() {
    for link in [LinkType::Auto, LinkType::Raw] {
        same_as_table("snort29-unixsock-linkraw", Ids::Snort2, link);
        same_as_table("snort3-unixsock-linkraw", Ids::Snort3, link);
    }
    for link in [LinkType::Auto, LinkType::Null] {
        same_as_table("snort29-unixsock-linknull", Ids::Snort2, link);
    }
}

#[test]
fn ethernet_by_option_is_the_same_as_ethernet_found() {
    same_as_table("snort29-unixsock-own", Ids::Snort2, LinkType::Ethernet);
    same_as_table("snort3-unixsock-own", Ids::Snort3, LinkType::Ethernet);
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

fn same_as_unified2(name: &str, same_flow: fn(&Alert<'_>, &Row)) {
    let (datagrams, rows) = (datagrams(name), expected(name));
    assert_eq!(datagrams.len(), rows.len(), "{name}");
    let mut scratch = Scratch::default();
    for (datagram, row) in datagrams.iter().zip(&rows) {
        let place = &row.place;
        let alert = decoded(datagram, &mut scratch);
        assert_eq!(alert.ids, Ids::Barnyard2, "{place}");
        same_event(&alert, row);
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
        same_flow(&alert, row);
    }
}

/// A flow as unified2 has it: ICMP type and code stand in place of the ports, 0 where there are none.
#[derive(Debug, PartialEq)]
struct Unified2Flow {
    ends: [IpAddr; 2],
    proto: u8,
    words: [u16; 2],
}

impl Unified2Flow {
    fn of_alert(alert: &Alert<'_>) -> Option<Unified2Flow> {
        alert.flow.map(|flow| Unified2Flow {
            ends: [flow.src, flow.dst],
            proto: flow.proto,
            words: match flow.transport {
                Transport::Ports {
                    source,
                    destination,
                } => [source, destination],
                Transport::Icmp { kind, code } => [kind.into(), code.into()],
                Transport::Unknown => [0, 0],
            },
        })
    }

    fn of_row(row: &Row) -> Unified2Flow {
        let end = |column| row.value(column).expect("an address");
        let word = |column| row.value(column).expect("a port");
        Unified2Flow {
            ends: [end("src"), end("dst")],
            proto: row.value("proto").expect("a protocol"),
            words: [word("sport"), word("dport")],
        }
    }

    /// How both Snorts write an event about a packet that is not IP, or whose IP header they refuse.
    fn has_no_addresses(&self) -> bool {
        self.ends.iter().all(IpAddr::is_unspecified) && matches!(self.proto, 0 | 255)
    }
}

/// What holds for events of both Snorts. `None` if the row is dealt with.
fn unified2_flows(alert: &Alert<'_>, row: &Row) -> Option<(Unified2Flow, Unified2Flow)> {
    let (got, mut event) = (Unified2Flow::of_alert(alert), Unified2Flow::of_row(row));
    let rule = (alert.gid, alert.sid);
    if event.has_no_addresses() {
        // Lengths beyond the capture, a header beyond its length, version 7: the addresses are there all the same.
        let is_broken_ip = matches!(rule, (116, 1 | 3 | 6 | 275));
        assert_eq!(got.is_some(), is_broken_ip, "{}", row.place);
        assert!(matches!(alert.gid, 112 | 116), "{}", row.place);
        return None;
    }
    if matches!(rule, (116, 96 | 97)) {
        event.words = [1, 2]; // Broken UDP headers: Snort says 0, the bytes say so.
    }
    Some((got.expect("a packet with addresses"), event))
}

#[test]
fn alerts_of_barnyard2_from_snort_2_9_are_as_unified2_says() {
    same_as_unified2("barnyard2-unixsock-own-from-snort29", |alert, row| {
        let Some((got, mut event)) = unified2_flows(alert, row) else {
            return;
        };
        if event.proto == 58 {
            assert_eq!(event.words, [0, 0], "{}", row.place);
            event.words = got.words; // Snort 2.9 writes 0 for type and code of ICMPv6.
        }
        if alert.gid == 122 {
            assert_eq!(event.proto, 6, "{}", row.place);
            event.proto = 255; // Of a port scan it made the packet up.
        }
        assert_eq!(got, event, "{}", row.place);
    });
}

#[test]
fn alerts_of_barnyard2_from_snort_3_are_as_unified2_says() {
    same_as_unified2("barnyard2-unixsock-own-from-snort3-legacy", |alert, row| {
        let Some((got, mut event)) = unified2_flows(alert, row) else {
            return;
        };
        if (alert.gid, alert.sid) == (1, 1_000_051) {
            assert_eq!(event.words, [0, 0], "{}", row.place);
            event.words = got.words; // Snort 3 leaves out the ports of a first fragment.
        }
        if event.ends == ["10.1.1.1", "10.2.2.2"].map(|end| end.parse::<IpAddr>().unwrap()) {
            // The inside of VXLAN. Nothing tells that it was Snort 3, which looks into it.
            assert_eq!(got.words, [50_310, 4_789], "{}", row.place);
            return;
        }
        if event.ends[0].is_ipv4() && got.ends[0].is_ipv6() {
            event.ends = got.ends.map(last_four_bytes_are(event.ends, &row.place));
        }
        assert_eq!(got, event, "{}", row.place);
    });
}

/// Snort 3 writes events on reassembled IPv6 streams as IPv4 events, with the last four bytes of each address.
fn last_four_bytes_are(ends: [IpAddr; 2], place: &str) -> impl FnMut(IpAddr) -> IpAddr {
    let mut ends = ends.into_iter();
    move |whole| {
        let (IpAddr::V6(v6), Some(IpAddr::V4(v4))) = (whole, ends.next()) else {
            panic!("{place}: not an IPv6 address and an IPv4 one");
        };
        assert_eq!(v6.octets()[12..], v4.octets(), "{place}");
        whole
    }
}

/// The record's own newline is not a part of it.
fn same_record(alert: &Alert<'_>, datagram: &[u8], row: &Row) {
    let place = &row.place;
    assert_eq!(row.number("newline_at_end"), 1, "{place}");
    assert_eq!(alert.record, &datagram[..datagram.len() - 1], "{place}");
    assert_eq!(alert.time_us, row.number("epoch_us"), "{place}");
    assert_eq!(i64::from(alert.gid), row.number("gid"), "{place}");
    assert_eq!(i64::from(alert.sid), row.number("sid"), "{place}");
    assert_eq!(i64::from(alert.rev), row.number("rev"), "{place}");
    assert_eq!(i64::from(alert.priority), row.number("severity"), "{place}");
    assert_eq!(alert.class_name, row.text("category"), "{place}");
    assert_eq!(alert.message_text(), row.text("signature"), "{place}");
    assert_eq!(alert.action, row.text("action"), "{place}");
    assert_eq!((alert.class_id, alert.event_id), (None, None), "{place}");
}

/// The transport by the record's own keys; TCP, UDP and SCTP have ports.
fn same_ends(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    let flow = alert
        .flow
        .as_ref()
        .expect("each alert of the fixtures has addresses");
    assert_eq!(Some(flow.src), row.value("src_ip"), "{place}");
    assert_eq!(Some(flow.dst), row.value("dest_ip"), "{place}");
    let proto = match row.text("proto").as_str() {
        "TCP" => 6,
        "UDP" => 17,
        "ICMP" => 1,
        "IPv6-ICMP" => 58,
        "ESP" => 50,
        "IGMP" => 2,
        "SCTP" => 132,
        number => number.parse().expect("a number"),
    };
    assert_eq!(flow.proto, proto, "{place}");
    let transport = match (
        row.value("src_port"),
        row.value("dest_port"),
        row.value("icmp_type"),
        row.value("icmp_code"),
    ) {
        (Some(source), Some(destination), None, None) => Transport::Ports {
            source,
            destination,
        },
        (None, None, Some(kind), Some(code)) => Transport::Icmp { kind, code },
        (None, None, None, None) => Transport::Unknown,
        other => panic!("{place}: {other:?}"),
    };
    assert_eq!(flow.transport, transport, "{place}");
}

/// `payload` and `packet` of the record. Suricata leaves `payload` out where there is none; what stands in the packet
/// behind a header that it does not know counts for us.
fn same_bytes(alert: &Alert<'_>, row: &Row) {
    let place = &row.place;
    match row.value::<usize>("payload_len") {
        Some(length) => {
            assert!(matches!(alert.payload, Payload::Own(_)), "{place}");
            assert_eq!(alert.payload().map(<[u8]>::len), Some(length), "{place}");
            assert_eq!(
                alert.payload().map(sha256),
                row.value("payload_sha256"),
                "{place}"
            );
        }
        None => assert!(!matches!(alert.payload, Payload::Own(_)), "{place}"),
    }
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
                assert_eq!(decoded, Ok(Decoded::OtherRecord), "{}", row.place);
                continue;
            }
            let alert = decoded(datagram, &mut scratch);
            found += 1;
            same_record(&alert, datagram, row);
            same_ends(&alert, row);
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
