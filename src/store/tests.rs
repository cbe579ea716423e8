//! The store against real databases: an SQLite file and a PostgreSQL server of our own.

#![forbid(unsafe_code)]

#[allow(unreachable_pub, reason = "integration tests use the same file")]
#[path = "../../tests/support/postgres.rs"]
mod cluster;
mod outage;
mod takeover;

use super::*;
use crate::alert::{Alert, Flow, Ids, LINK_RAW, Packet, Payload, Transport};
use crate::wire::Loss;
use std::net::IpAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const STREAM: StreamId = StreamId([0xab; 16]);
const STREAM_TEXT: &str = "abababababababababababababababab";

/// 2026-11-21 03:22:52.123456 UTC.
const TIME_US: i64 = 1_795_231_372_123_456;

/// A database of one test's own.
struct Site {
    url: Url,
    _dir: tempfile::TempDir,
}

impl Site {
    fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = Url::parse(&format!("sqlite:{}/alerts.db", dir.path().display())).unwrap();
        Site { url, _dir: dir }
    }

    fn postgres() -> Self {
        let url = Url::parse(&cluster::shared().create_database()).unwrap();
        Site {
            url,
            _dir: tempfile::tempdir().unwrap(),
        }
    }

    fn is_sqlite(&self) -> bool {
        self.url.sqlite_path().is_some()
    }

    fn store(&self) -> Box<dyn Store> {
        self.store_with(&Settings::default())
    }

    fn store_with(&self, settings: &Settings) -> Box<dyn Store> {
        open(&self.url, settings)
    }

    fn execute(&self, sql: &str) {
        match self.url.sqlite_path() {
            Some(path) => rusqlite::Connection::open(path)
                .unwrap()
                .execute_batch(sql)
                .unwrap(),
            None => self.client().batch_execute(sql).unwrap(),
        }
    }

    fn client(&self) -> ::postgres::Client {
        ::postgres::Client::connect(&self.url.to_string(), ::postgres::NoTls).unwrap()
    }

    /// The rows of a query, their columns as text with `|` between them, NULL as `-`.
    fn rows(&self, sql: &str) -> Vec<String> {
        let join = |columns: Vec<Option<String>>| {
            columns
                .into_iter()
                .map(|column| column.unwrap_or("-".into()))
                .collect::<Vec<_>>()
                .join("|")
        };
        let Some(path) = self.url.sqlite_path() else {
            let messages = self.client().simple_query(sql).unwrap();
            return messages
                .iter()
                .filter_map(|message| match message {
                    ::postgres::SimpleQueryMessage::Row(row) => Some(join(
                        (0..row.len())
                            .map(|i| row.get(i).map(str::to_owned))
                            .collect(),
                    )),
                    _ => None,
                })
                .collect();
        };
        let connection = rusqlite::Connection::open(path).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        statement
            .query_map([], |row| {
                let text = |i| match row.get_ref(i).unwrap() {
                    rusqlite::types::ValueRef::Null => None,
                    rusqlite::types::ValueRef::Integer(number) => Some(number.to_string()),
                    rusqlite::types::ValueRef::Text(text) => {
                        Some(String::from_utf8(text.to_vec()).unwrap())
                    }
                    other => panic!("{other:?}"),
                };
                Ok(join((0..columns).map(text).collect()))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    fn row(&self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.into_iter().next().unwrap()
    }

    /// An instant as text, in both databases alike.
    fn instant(&self, column: &str) -> String {
        match self.is_sqlite() {
            true => column.to_owned(),
            false => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
        }
    }
}

/// Runs each test in both databases.
macro_rules! in_both {
    ($($name:ident)*) => {
        mod sqlite_file { $(#[test] fn $name() { super::$name(&super::Site::sqlite()) })* }
        mod postgres_server { $(#[test] fn $name() { super::$name(&super::Site::postgres()) })* }
    };
}

// Behind the macro, which they use.
mod encoding;
mod few_and_many;
mod full_payload;
mod reference;
mod time_zone;
mod trust;

in_both! {
    a_tcp_packet_with_options_fills_its_tables
    a_udp_packet_cut_in_its_header_keeps_what_is_there
    an_icmp_packet_fills_icmphdr
    an_ipv6_packet_goes_beside_iphdr
    a_fragment_keeps_flags_and_offset_apart
    an_eve_alert_without_packet_shows_its_flow
    sctp_ports_are_kept_beside_the_classic_tables
    an_alert_without_packet_and_flow_is_an_event_only
    the_flow_wins_over_the_packet
    hostile_packets_are_stored_without_panic
    text_that_a_database_dislikes_is_shown_with_replacement_characters
    extreme_times_are_stored
    the_view_has_these_columns
    a_batch_is_stored_once
    an_older_worker_is_fenced_once_the_epoch_is_raised
    a_worker_that_comes_back_learns_what_is_durable_and_never_takes_over
    a_new_stream_starts_where_the_sensor_stands
    a_restored_backup_leaves_a_gap_that_is_recorded
    losses_are_stored_with_their_number
    two_streams_of_one_sensor_share_its_cids_without_gap
    a_content_error_stores_nothing_and_the_next_batch_goes_on_without_gap
    what_is_tried_out_is_judged_and_not_stored
    a_signature_is_found_again_by_a_second_worker
    a_class_name_is_part_of_a_signature
    workers_that_start_at_once_make_one_schema_and_fifty_signatures
    a_sensor_without_interface_is_found_as_null_and_as_empty_text
    foreign_cids_behind_last_cid_are_not_given_again
    a_foreign_table_named_alerts_is_left_alone
    an_old_view_of_ours_is_replaced
    eight_busy_workers_all_get_their_turn
}

fn sensor() -> SensorName {
    SensorName {
        name: "north".into(),
        interface: "eth0".into(),
    }
}

fn alert() -> Alert<'static> {
    Alert {
        ids: Ids::Snort2,
        time_us: TIME_US,
        gid: 1,
        sid: 2_000_001,
        rev: 3,
        class_id: Some(7),
        class_name: "".into(),
        priority: 2,
        event_id: Some(11),
        event_reference: Some(10),
        message: b"ET TEST rule".as_slice().into(),
        interface: "".into(),
        action: "".into(),
        app_proto: "".into(),
        flow: None,
        packet: None,
        payload: Payload::None,
        record: b"",
    }
}

fn flow(src: &str, dst: &str, proto: u8, transport: Transport) -> Option<Flow> {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Some(Flow {
        src: address(src),
        dst: address(dst),
        proto,
        transport,
    })
}

fn ports(source: u16, destination: u16) -> Transport {
    Transport::Ports {
        source,
        destination,
    }
}

fn packet(bytes: &[u8], ip: u32, transport: Option<u32>) -> Option<Packet<'_>> {
    Some(Packet {
        time_us: TIME_US,
        wire_bytes: bytes.len() as u32,
        link: LINK_RAW,
        bytes,
        ip: Some(ip),
        transport,
    })
}

/// An IPv4 header without options, 192.0.2.1 -> 198.51.100.255.
fn ip4(proto: u8) -> Vec<u8> {
    let mut bytes = vec![
        0x45, 0x10, 0x01, 0x02, 0xab, 0xcd, 0x40, 0x00, 63, proto, 0xfe, 0xdc,
    ];
    bytes.extend([192, 0, 2, 1, 198, 51, 100, 255]);
    bytes
}

const SRC: &str = "192.0.2.1";
const DST: &str = "198.51.100.255";

/// Stores one alert in a new stream.
fn store_one(site: &Site, alert: Alert<'_>) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let stored = write(&mut *store, &stream, 0, &[Item::Alert(alert)]).unwrap();
    assert_eq!(
        stored,
        Stored {
            first_cid: 1,
            last_cid: 1
        }
    );
}

fn write(
    store: &mut dyn Store,
    stream: &OpenStream,
    after_seq: u64,
    items: &[Item<'_>],
) -> Result<Stored, StoreError> {
    store.write(stream, &Batch { after_seq, items })
}

fn a_tcp_packet_with_options_fills_its_tables(site: &Site) {
    let mut bytes = vec![0; 14];
    let mut ip = ip4(6);
    ip[0] = 0x46;
    bytes.extend(ip);
    bytes.extend([148, 4, 0, 0]);
    bytes.extend([
        0x04, 0xd2, 0x00, 0x50, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 1, 0x85, 0x18,
    ]);
    bytes.extend([0x20, 0x00, 0x12, 0x34, 0x00, 0x05]);
    bytes.extend([2, 4, 5, 0xb4, 1, 1, 4, 2, 0, 0, 0, 0]);
    bytes.extend(b"GET\0\xff");
    let payload = Payload::InPacket {
        offset: 70,
        bytes: 5,
    };
    store_one(
        site,
        Alert {
            flow: flow(SRC, DST, 6, ports(1234, 80)),
            packet: packet(&bytes, 14, Some(38)),
            payload,
            ..alert()
        },
    );
    let time = site.instant("timestamp");
    assert_eq!(
        site.row(&format!("SELECT sid, cid, signature, {time} FROM event")),
        "1|1|1|2026-11-21T03:22:52.123456Z"
    );
    assert_eq!(site.row("SELECT * FROM sensor"), "1|north|eth0|-|1|0|1");
    assert_eq!(
        site.row("SELECT sig_id, sig_name, sig_class_id, sig_priority, sig_rev, sig_sid, sig_gid FROM signature"),
        "1|ET TEST rule|0|2|3|2000001|1"
    );
    assert_eq!(
        site.row("SELECT * FROM iphdr"),
        "1|1|3221225985|3325256959|4|6|16|258|43981|2|0|63|6|65244"
    );
    assert_eq!(
        site.row("SELECT * FROM tcphdr"),
        "1|1|1234|80|4294967294|1|8|5|24|8192|4660|5"
    );
    assert_eq!(
        site.rows("SELECT * FROM opt ORDER BY optid"),
        [
            "1|1|0|0|148|2|0000",
            "1|1|1|6|2|2|05B4",
            "1|1|2|6|1|0|-",
            "1|1|3|6|1|0|-",
            "1|1|4|6|4|0|-"
        ]
    );
    assert_eq!(site.row("SELECT * FROM data"), "1|1|47455400FF");
    let packet_time = site.instant("packet_time");
    assert_eq!(
        site.row(&format!(
            "SELECT ids, event_id, event_reference, class_id, action, interface, app_proto, {packet_time},
                    payload_len, sport, dport, icmp_type, icmp_code, record FROM flop_event"
        )),
        "1|11|10|7|-|-|-|2026-11-21T03:22:52.123456Z|5|-|-|-|-|-"
    );
    assert_eq!(
        site.row(&format!(
            "SELECT sid, cid, sensor, interface, {time}, gid, sig_sid, rev, class_id, priority, message, ip_version,
                    src, dst, proto, sport, dport, icmp_type, icmp_code, payload_len, payload FROM alerts"
        )),
        "1|1|north|eth0|2026-11-21T03:22:52.123456Z|1|2000001|3|7|2|ET TEST rule|4|192.0.2.1|198.51.100.255|6|\
         1234|80|-|-|5|47455400FF"
    );
    for empty in ["udphdr", "icmphdr", "flop_ip6hdr", "flop_loss", "sig_class"] {
        assert_eq!(
            site.rows(&format!("SELECT 1 FROM {empty}")).len(),
            0,
            "{empty}"
        );
    }
}

fn a_udp_packet_cut_in_its_header_keeps_what_is_there(site: &Site) {
    let mut bytes = ip4(17);
    bytes.extend([0, 53, 0x30, 0x39, 0, 9]);
    let payload = Payload::InPacket {
        offset: 26,
        bytes: 0,
    };
    let flow = flow(SRC, DST, 17, ports(53, 12345));
    store_one(
        site,
        Alert {
            flow,
            packet: packet(&bytes, 0, Some(20)),
            payload,
            ..alert()
        },
    );
    assert_eq!(site.row("SELECT * FROM udphdr"), "1|1|53|12345|9|-");
    assert_eq!(
        site.row("SELECT proto, sport, dport, payload_len, payload FROM alerts"),
        "17|53|12345|0|-"
    );
}

fn an_icmp_packet_fills_icmphdr(site: &Site) {
    let mut bytes = ip4(1);
    bytes.extend([8, 0, 0x12, 0x34, 0, 7, 0, 9]);
    let flow = flow(SRC, DST, 1, Transport::Icmp { kind: 8, code: 0 });
    store_one(
        site,
        Alert {
            flow,
            packet: packet(&bytes, 0, Some(20)),
            ..alert()
        },
    );
    assert_eq!(site.row("SELECT * FROM icmphdr"), "1|1|8|0|4660|7|9");
    assert_eq!(
        site.row("SELECT proto, sport, icmp_type, icmp_code, payload_len FROM alerts"),
        "1|-|8|0|-"
    );
}

fn an_ipv6_packet_goes_beside_iphdr(site: &Site) {
    let mut bytes = vec![0x6a, 0xb1, 0x23, 0x45, 0, 16, 0, 64];
    bytes.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend([0; 10]);
    bytes.extend([0xff, 0xff, 192, 0, 2, 1]);
    bytes.extend([58, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([128, 0, 0xab, 0xcd, 0, 1, 0, 2]);
    let flow = flow(
        "2001:db8::1",
        "::ffff:192.0.2.1",
        58,
        Transport::Icmp { kind: 128, code: 0 },
    );
    store_one(
        site,
        Alert {
            flow,
            packet: packet(&bytes, 0, Some(48)),
            ..alert()
        },
    );
    assert_eq!(
        site.row("SELECT * FROM flop_ip6hdr"),
        "1|1|2001:db8::1|::ffff:192.0.2.1|171|74565|16|0|64|58"
    );
    assert_eq!(site.row("SELECT * FROM icmphdr"), "1|1|128|0|43981|1|2");
    assert_eq!(site.rows("SELECT * FROM iphdr").len(), 0);
    assert_eq!(
        site.row("SELECT ip_version, src, dst, proto, icmp_type, icmp_code FROM alerts"),
        "6|2001:db8::1|::ffff:192.0.2.1|58|128|0"
    );
}

fn a_fragment_keeps_flags_and_offset_apart(site: &Site) {
    let mut bytes = ip4(17);
    (bytes[6], bytes[7]) = (0xbf, 0xff);
    let flow = flow("255.255.255.255", "0.0.0.0", 17, Transport::Unknown);
    store_one(
        site,
        Alert {
            flow,
            packet: packet(&bytes, 0, None),
            ..alert()
        },
    );
    assert_eq!(
        site.row("SELECT ip_flags, ip_off, ip_proto FROM iphdr"),
        "5|8191|17"
    );
    assert_eq!(
        site.row("SELECT src, dst, proto, sport, dport FROM alerts"),
        "255.255.255.255|0.0.0.0|17|-|-"
    );
}

fn an_eve_alert_without_packet_shows_its_flow(site: &Site) {
    let eve = Alert {
        ids: Ids::Suricata,
        class_id: None,
        class_name: "Misc activity".into(),
        event_id: None,
        event_reference: None,
        interface: "ens5".into(),
        action: "blocked".into(),
        app_proto: "http".into(),
        flow: flow("10.0.0.1", "10.0.0.2", 6, ports(1, 65_535)),
        payload: Payload::Own(b"\x01\xfe"),
        record: br#"{"event_type":"alert"}"#,
        ..alert()
    };
    store_one(site, eve);
    assert_eq!(
        site.row("SELECT * FROM iphdr"),
        "1|1|167772161|167772162|4|-|-|-|-|-|-|-|6|-"
    );
    assert_eq!(
        site.row("SELECT * FROM tcphdr"),
        "1|1|1|65535|-|-|-|-|0|-|-|-"
    );
    assert_eq!(
        site.row("SELECT ids, event_id, class_id, action, interface, app_proto, packet_time, record FROM flop_event"),
        r#"4|-|-|blocked|ens5|http|-|{"event_type":"alert"}"#
    );
    assert_eq!(
        site.row("SELECT sig_class_name FROM signature JOIN sig_class USING (sig_class_id)"),
        "Misc activity"
    );
    assert_eq!(
        site.row("SELECT sensor, interface, class_id, src, dst, sport, dport, payload_len, payload FROM alerts"),
        "north|ens5|-|10.0.0.1|10.0.0.2|1|65535|2|01FE"
    );
}

fn sctp_ports_are_kept_beside_the_classic_tables(site: &Site) {
    store_one(
        site,
        Alert {
            flow: flow("::1", "::2", 132, ports(7, 8)),
            ..alert()
        },
    );
    assert_eq!(
        site.row("SELECT ip_version, src, dst, proto, sport, dport, icmp_type FROM alerts"),
        "6|::1|::2|132|7|8|-"
    );
    assert_eq!(
        site.rows("SELECT 1 FROM tcphdr").len() + site.rows("SELECT 1 FROM udphdr").len(),
        0
    );
}

fn an_alert_without_packet_and_flow_is_an_event_only(site: &Site) {
    store_one(
        site,
        Alert {
            rev: 0,
            priority: 0,
            sid: u32::MAX,
            gid: u32::MAX,
            ..alert()
        },
    );
    for empty in [
        "iphdr",
        "flop_ip6hdr",
        "tcphdr",
        "udphdr",
        "icmphdr",
        "opt",
        "data",
    ] {
        assert_eq!(
            site.rows(&format!("SELECT 1 FROM {empty}")).len(),
            0,
            "{empty}"
        );
    }
    assert_eq!(
        site.row(
            "SELECT gid, sig_sid, rev, priority, ip_version, src, dst, proto, sport, icmp_type, payload_len, payload
             FROM alerts"
        ),
        "4294967295|4294967295|0|0|-|-|-|-|-|-|-|-"
    );
}

fn the_flow_wins_over_the_packet(site: &Site) {
    let mut bytes = ip4(6);
    bytes.extend([
        0, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0x50, 2, 0, 5, 0, 6, 0, 7,
    ]);
    let other = flow("10.1.1.1", "10.1.1.2", 6, ports(10, 20));
    store_one(
        site,
        Alert {
            flow: other,
            packet: packet(&bytes, 0, Some(20)),
            ..alert()
        },
    );
    assert_eq!(
        site.row("SELECT src, dst, proto, sport, dport FROM alerts"),
        "10.1.1.1|10.1.1.2|6|10|20"
    );
    assert_eq!(site.row("SELECT ip_ttl FROM iphdr"), "63");
    assert_eq!(site.row("SELECT tcp_seq, tcp_flags FROM tcphdr"), "3|2");
    // A packet of another IP version has nothing to say.
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let six = flow("::1", "::2", 6, ports(10, 20));
    let packet = packet(&bytes, 0, Some(20));
    let items = [Item::Alert(Alert {
        flow: six,
        packet,
        ..alert()
    })];
    write(&mut *store, &stream, 1, &items).unwrap();
    assert_eq!(
        site.row("SELECT cid, hop_limit, proto FROM flop_ip6hdr"),
        "2|-|6"
    );
    assert_eq!(
        site.row("SELECT tcp_seq, tcp_flags FROM tcphdr WHERE cid = 2"),
        "-|0"
    );
}

fn hostile_packets_are_stored_without_panic(site: &Site) {
    let mut items = Vec::new();
    let packets: Vec<Vec<u8>> = (0_u32..2_000)
        .map(|n| {
            let mut state = n.wrapping_mul(2_654_435_761) | 1;
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            };
            let length = 44 + usize::from(random()) % 60;
            let mut bytes: Vec<u8> = (0..length).map(|_| random()).collect();
            bytes[0] = (if n % 2 == 0 { 0x40 } else { 0x60 }) | (bytes[0] & 15);
            bytes[9] = [1, 6, 17, 58, 132, 0][n as usize % 6];
            bytes[6] = [0, 6, 17, 43, 44, 51, 60][n as usize % 7];
            bytes
        })
        .collect();
    for (n, bytes) in packets.iter().enumerate() {
        let transport = [None, Some(20), Some(40)][n % 3];
        let flow = match n % 5 {
            0 => None,
            1 => flow("::1", "::2", 6, ports(1, 2)),
            2 => flow(SRC, DST, 6, ports(1, 2)),
            3 => flow(
                SRC,
                DST,
                99,
                Transport::Icmp {
                    kind: 255,
                    code: 255,
                },
            ),
            _ => flow(
                "::1",
                "::2",
                6,
                Transport::Icmp {
                    kind: 255,
                    code: 255,
                },
            ),
        };
        items.push(Item::Alert(Alert {
            flow,
            packet: packet(bytes, 0, transport),
            ..alert()
        }));
    }
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *store, &stream, 0, &items).unwrap();
    assert_eq!(site.row("SELECT count(*) FROM alerts"), "2000");
    assert_eq!(
        site.row("SELECT icmp_type FROM alerts WHERE cid = 4"),
        "255"
    );
}

fn text_that_a_database_dislikes_is_shown_with_replacement_characters(site: &Site) {
    let nasty = Alert {
        message: b"a\0b\xffc'\";--\\".as_slice().into(),
        interface: "e\0th".into(),
        action: "\u{1f600}".into(),
        record: b"{\"a\":\"\xff\\u0000\0\"}",
        ..alert()
    };
    let loss = Loss {
        count: u64::MAX,
        from_us: 0,
        to_us: 1,
        reason: "x\0".into(),
    };
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    write(
        &mut *store,
        &stream,
        0,
        &[Item::Alert(nasty), Item::Loss(loss)],
    )
    .unwrap();
    assert_eq!(
        site.row("SELECT message, interface FROM alerts"),
        "a\u{fffd}b\u{fffd}c'\";--\\|e\u{fffd}th"
    );
    assert_eq!(
        site.row("SELECT action, record FROM flop_event"),
        "\u{1f600}|{\"a\":\"\u{fffd}\\u0000\u{fffd}\"}"
    );
    assert_eq!(
        site.row("SELECT reason, count FROM flop_loss"),
        "x\u{fffd}|9223372036854775807"
    );
}

fn extreme_times_are_stored(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let at = |time_us| Item::Alert(Alert { time_us, ..alert() });
    let items = [at(i64::MIN), at(0), at(4_294_967_295_999_999), at(i64::MAX)];
    write(&mut *store, &stream, 0, &items).unwrap();
    let time = site.instant("timestamp");
    let first = if site.is_sqlite() {
        "0000-01-01T00:00:00.000000Z"
    } else {
        "0001-01-01T00:00:00.000000Z"
    };
    assert_eq!(
        site.rows(&format!("SELECT {time} FROM alerts ORDER BY cid")),
        [
            first,
            "1970-01-01T00:00:00.000000Z",
            "2106-02-07T06:28:15.999999Z",
            "9999-12-31T23:59:59.999999Z"
        ]
    );
}

fn the_view_has_these_columns(site: &Site) {
    site.store().check().unwrap();
    let columns = match site.is_sqlite() {
        true => site.rows("SELECT name FROM pragma_table_info('alerts')"),
        false => site.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'alerts' ORDER BY ordinal_position",
        ),
    };
    assert_eq!(
        columns.join(" "),
        "sid cid sensor interface timestamp gid sig_sid rev class_id priority message ip_version src dst proto sport \
         dport icmp_type icmp_code payload_len payload"
    );
    assert_eq!(site.row("SELECT vseq FROM schema"), "107");
    assert_eq!(
        site.rows("SELECT * FROM encoding ORDER BY 1"),
        ["0|hex", "1|base64", "2|ascii"]
    );
    assert_eq!(
        site.rows("SELECT * FROM detail ORDER BY 1"),
        ["0|fast", "1|full"]
    );
}

fn a_batch_is_stored_once(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let items = [Item::Alert(alert()), Item::Alert(alert())];
    assert_eq!(
        write(&mut *store, &stream, 0, &items).unwrap(),
        Stored {
            first_cid: 1,
            last_cid: 2
        }
    );
    let again = write(&mut *store, &stream, 0, &items);
    assert!(matches!(again, Err(StoreError::Fenced(_))), "{again:?}");
    assert_eq!(site.row("SELECT count(*) FROM event"), "2");
    assert_eq!(site.row("SELECT last_cid FROM sensor"), "2");
    assert_eq!(store.open_stream(&sensor(), STREAM, 0).unwrap().last_seq, 2);
}

fn an_older_worker_is_fenced_once_the_epoch_is_raised(site: &Site) {
    let (mut old, mut new) = (site.store(), site.store());
    let old_stream = old.open_stream(&sensor(), STREAM, 0).unwrap();
    let new_stream = new.open_stream(&sensor(), STREAM, 0).unwrap();
    assert_eq!(
        new_stream,
        OpenStream {
            epoch: old_stream.epoch + 1,
            ..old_stream
        }
    );
    let fenced = write(&mut *old, &old_stream, 0, &[Item::Alert(alert())]);
    assert!(matches!(fenced, Err(StoreError::Fenced(_))), "{fenced:?}");
    write(&mut *new, &new_stream, 0, &[Item::Alert(alert())]).unwrap();
    assert_eq!(
        site.row("SELECT sid, stream, last_seq, epoch FROM flop_stream"),
        format!("1|{STREAM_TEXT}|1|2")
    );
}

fn a_worker_that_comes_back_learns_what_is_durable_and_never_takes_over(site: &Site) {
    let (mut old, mut new) = (site.store(), site.store());
    let stream = old.open_stream(&sensor(), STREAM, 0).unwrap();
    write(&mut *old, &stream, 0, &[Item::Alert(alert())]).unwrap();
    let resumed = old.resume_stream(&sensor(), &stream).unwrap();
    assert_eq!((resumed.last_seq, resumed.epoch), (1, stream.epoch + 1));
    let theirs = new.open_stream(&sensor(), STREAM, 0).unwrap();
    let fenced = old.resume_stream(&sensor(), &resumed);
    assert!(matches!(fenced, Err(StoreError::Fenced(_))), "{fenced:?}");
    write(&mut *new, &theirs, 1, &[Item::Alert(alert())]).expect("the new one is not disturbed");
}

fn a_new_stream_starts_where_the_sensor_stands(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 41).unwrap();
    assert_eq!((stream.last_seq, stream.epoch), (41, 1));
    write(&mut *store, &stream, 41, &[Item::Alert(alert())]).unwrap();
    assert_eq!(
        store.open_stream(&sensor(), STREAM, 41).unwrap().last_seq,
        42
    );
    assert_eq!(site.rows("SELECT 1 FROM flop_loss").len(), 0);
}

fn a_restored_backup_leaves_a_gap_that_is_recorded(site: &Site) {
    let mut store = site.store();
    store.open_stream(&sensor(), STREAM, 5).unwrap();
    assert_eq!(store.open_stream(&sensor(), STREAM, 9).unwrap().last_seq, 9);
    assert_eq!(
        site.row("SELECT sid, stream, seq, count FROM flop_loss"),
        format!("1|{STREAM_TEXT}|9|4")
    );
    let reason = site.row("SELECT reason FROM flop_loss WHERE from_time <= to_time");
    assert!(
        reason.contains("acknowledged") && reason.contains("backup"),
        "{reason}"
    );
    assert_eq!(store.open_stream(&sensor(), STREAM, 9).unwrap().last_seq, 9);
    assert_eq!(site.row("SELECT count(*) FROM flop_loss"), "1");
}

fn losses_are_stored_with_their_number(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let loss = |count| {
        Item::Loss(Loss {
            count,
            from_us: TIME_US,
            to_us: TIME_US + 1,
            reason: "HighWater".into(),
        })
    };
    let stored = write(
        &mut *store,
        &stream,
        0,
        &[loss(5), Item::Alert(alert()), loss(6)],
    )
    .unwrap();
    assert_eq!(
        stored,
        Stored {
            first_cid: 1,
            last_cid: 1
        }
    );
    let (from, to) = (site.instant("from_time"), site.instant("to_time"));
    assert_eq!(
        site.rows(&format!("SELECT sid, stream, seq, {from}, {to}, reason, count FROM flop_loss ORDER BY seq")),
        [1, 3].map(|seq| format!(
            "1|{STREAM_TEXT}|{seq}|2026-11-21T03:22:52.123456Z|2026-11-21T03:22:52.123457Z|HighWater|{}",
            if seq == 1 { 5 } else { 6 }
        ))
    );
    let stored = write(&mut *store, &stream, 3, &[loss(1)]).unwrap();
    assert!(stored.first_cid > stored.last_cid);
}

fn two_streams_of_one_sensor_share_its_cids_without_gap(site: &Site) {
    thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                let mut store = site.store();
                let stream = store.open_stream(&sensor(), StreamId([n; 16]), 0).unwrap();
                let items = vec![Item::Alert(alert()); 5];
                for batch in 0..20 {
                    write(&mut *store, &stream, batch * 5, &items).unwrap();
                }
            });
        }
    });
    assert_eq!(
        site.row("SELECT count(*), min(cid), max(cid) FROM event"),
        "400|1|400"
    );
    assert_eq!(site.row("SELECT last_cid FROM sensor"), "400");
    assert_eq!(site.rows("SELECT last_seq FROM flop_stream"), ["100"; 4]);
}

fn a_content_error_stores_nothing_and_the_next_batch_goes_on_without_gap(site: &Site) {
    let mut store = site.store();
    store.check().unwrap();
    match site.is_sqlite() {
        true => site.execute(
            "CREATE TRIGGER no BEFORE INSERT ON tcphdr WHEN NEW.tcp_sport = 666
             BEGIN SELECT RAISE(ABORT, 'no'); END;
             CREATE TRIGGER never BEFORE INSERT ON signature WHEN NEW.sig_sid = 666
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        ),
        false => site.execute(
            "ALTER TABLE tcphdr ADD CHECK (tcp_sport <> 666); ALTER TABLE signature ADD CHECK (sig_sid <> 666)",
        ),
    }
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let good = || Item::Alert(alert());
    let bad = Item::Alert(Alert {
        flow: flow(SRC, DST, 6, ports(666, 1)),
        ..alert()
    });
    let bad_signature = Item::Alert(Alert {
        sid: 666,
        ..alert()
    });
    let new_signature = || {
        Item::Alert(Alert {
            sid: 667,
            ..alert()
        })
    };
    for items in [[good(), bad], [new_signature(), bad_signature]] {
        let error = write(&mut *store, &stream, 0, &items).unwrap_err();
        assert!(matches!(error, StoreError::Content(_)), "{error:?}");
        assert!(error.to_string().contains(&site.url.to_string()), "{error}");
        assert_eq!(site.row("SELECT count(*) FROM alerts"), "0");
        assert_eq!(site.row("SELECT last_seq FROM flop_stream"), "0");
    }
    let stored = write(&mut *store, &stream, 0, &[good(), new_signature()]).unwrap();
    assert_eq!(
        stored,
        Stored {
            first_cid: 1,
            last_cid: 2
        }
    );
    assert_eq!(
        site.row("SELECT count(*) FROM alerts WHERE sig_sid IS NOT NULL"),
        "2"
    );
}

fn what_is_tried_out_is_judged_and_not_stored(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    site.execute(match site.is_sqlite() {
        true => {
            "CREATE TRIGGER no BEFORE INSERT ON tcphdr WHEN NEW.tcp_sport = 666
             BEGIN SELECT RAISE(ABORT, 'no'); END"
        }
        // As late as can be: at COMMIT.
        false => {
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
             CREATE CONSTRAINT TRIGGER no AFTER INSERT ON tcphdr DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN (NEW.tcp_sport = 666) EXECUTE FUNCTION no()"
        }
    });
    let from = |port| {
        Item::Alert(Alert {
            flow: flow(SRC, DST, 6, ports(port, 1)),
            ..alert()
        })
    };
    let refused = store.try_out(&stream, &from(666)).unwrap_err();
    assert!(matches!(refused, StoreError::Content(_)), "{refused:?}");
    store.try_out(&stream, &from(667)).unwrap();
    assert_eq!(site.row("SELECT count(*) FROM alerts"), "0");
    assert_eq!(site.row("SELECT last_seq FROM flop_stream"), "0");
    let stored = write(&mut *store, &stream, 0, &[from(667)]).unwrap();
    assert_eq!(stored.first_cid, 1);
}

fn a_signature_is_found_again_by_a_second_worker(site: &Site) {
    store_one(site, alert());
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let other = |change: fn(&mut Alert<'static>)| {
        let mut other = alert();
        change(&mut other);
        Item::Alert(other)
    };
    let items = [
        other(|_| {}),
        other(|alert| alert.gid = 2),
        other(|alert| alert.sid = 2),
        other(|alert| alert.rev = 2),
        other(|alert| alert.priority = 3),
        other(|alert| alert.message = b"other".as_slice().into()),
        other(|alert| alert.class_id = Some(8)),
    ];
    write(&mut *store, &stream, 1, &items).unwrap();
    assert_eq!(
        site.rows("SELECT signature FROM event ORDER BY cid")
            .join(" "),
        "1 1 2 3 4 5 6 1"
    );
}

fn a_class_name_is_part_of_a_signature(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let of_class = |name: &'static str| {
        Item::Alert(Alert {
            class_name: name.into(),
            ..alert()
        })
    };
    let items = [of_class("a"), of_class("b"), of_class("a"), of_class("")];
    write(&mut *store, &stream, 0, &items).unwrap();
    assert_eq!(
        site.rows("SELECT signature FROM event ORDER BY cid"),
        ["1", "2", "1", "1"]
    );
    assert_eq!(
        site.rows("SELECT * FROM sig_class ORDER BY 1"),
        ["1|a", "2|b"]
    );
}

fn workers_that_start_at_once_make_one_schema_and_fifty_signatures(site: &Site) {
    const WORKERS: u8 = 8;
    let barrier = &Barrier::new(WORKERS.into());
    thread::scope(|scope| {
        for n in 0..WORKERS {
            scope.spawn(move || {
                let mut store = site.store();
                barrier.wait();
                // Two workers of each sensor: also its row must be made once.
                let name = SensorName {
                    name: format!("sensor{}", n / 2),
                    interface: String::new(),
                };
                let stream = store.open_stream(&name, StreamId([n; 16]), 0);
                let mut sids: Vec<u32> = (1..=50).collect();
                sids.rotate_left(usize::from(n) * 6);
                if n % 2 == 0 {
                    sids.reverse();
                }
                let rule = |sid: &u32| {
                    let class_name = if sid.is_multiple_of(2) { "even" } else { "odd" };
                    Item::Alert(Alert {
                        sid: *sid,
                        class_name: class_name.into(),
                        ..alert()
                    })
                };
                let items: Vec<Item<'_>> = sids.iter().map(rule).collect();
                barrier.wait();
                let stream = stream.unwrap();
                write(&mut *store, &stream, 0, &items).unwrap();
            });
        }
    });
    assert_eq!(
        site.row("SELECT count(*), count(DISTINCT sig_sid) FROM signature"),
        "50|50"
    );
    assert_eq!(site.row("SELECT count(*) FROM sig_class"), "2");
    assert_eq!(
        site.row("SELECT count(*), min(last_cid), max(last_cid) FROM sensor"),
        "4|100|100"
    );
    assert_eq!(site.row("SELECT count(*) FROM alerts"), "400");
    assert_eq!(site.rows("SELECT vseq FROM schema"), ["107"]);
}

fn a_sensor_without_interface_is_found_as_null_and_as_empty_text(site: &Site) {
    let mut store = site.store();
    store.check().unwrap();
    site.execute(
        "INSERT INTO sensor (sid, hostname, interface, filter, detail, encoding, last_cid) VALUES
         (3, 'a', '', NULL, 1, 1, 0), (4, 'a', '', 'tcp', 1, 0, 0), (5, 'a', '', NULL, 1, 0, 0), (6, 'b', NULL, NULL, 1, 0, 0)",
    );
    let mut sid = |name: &str, interface: &str| {
        let name = SensorName {
            name: name.into(),
            interface: interface.into(),
        };
        store.open_stream(&name, STREAM, 0).unwrap().sid
    };
    assert_eq!((sid("a", ""), sid("b", "")), (5, 6));
    if !site.is_sqlite() {
        site.execute("SELECT setval('sensor_sid_seq', 6)");
    }
    let mut store = site.store();
    let name = SensorName {
        name: "c".into(),
        interface: String::new(),
    };
    assert_eq!(store.open_stream(&name, STREAM, 0).unwrap().sid, 7);
    assert_eq!(
        site.row("SELECT hostname, interface FROM sensor WHERE sid = 7"),
        "c|-"
    );
}

fn foreign_cids_behind_last_cid_are_not_given_again(site: &Site) {
    let mut store = site.store();
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    // As when rows of a deleted event were left behind, or another program writes for this sensor.
    site.execute("INSERT INTO flop_event (sid, cid, ids) VALUES (1, 2, 1)");
    let taken = write(
        &mut *store,
        &stream,
        0,
        &[Item::Alert(alert()), Item::Alert(alert())],
    );
    assert!(matches!(taken, Err(StoreError::Away(_))), "{taken:?}");
    let stream = store.open_stream(&sensor(), STREAM, 0).unwrap();
    let stored = write(&mut *store, &stream, 0, &[Item::Alert(alert())]).unwrap();
    assert_eq!(stored.first_cid, 3);
}

fn a_foreign_table_named_alerts_is_left_alone(site: &Site) {
    site.execute("CREATE TABLE alerts (a INTEGER)");
    let error = site.store().check().unwrap_err();
    assert!(
        matches!(&error, CheckError::Final(text) if text.contains("alerts")),
        "{error:?}"
    );
    site.execute("INSERT INTO alerts VALUES (1)");
}

fn an_old_view_of_ours_is_replaced(site: &Site) {
    site.store().check().unwrap();
    match site.is_sqlite() {
        true => site.execute("DROP VIEW alerts; CREATE VIEW alerts AS -- by flop\nSELECT 1 AS x"),
        false => site.execute(
            "DROP VIEW alerts; CREATE VIEW alerts AS SELECT 1 AS x;
             COMMENT ON VIEW alerts IS 'flop: one readable row per alert (old)'",
        ),
    }
    store_one(site, alert());
    assert_eq!(site.row("SELECT cid FROM alerts"), "1");
}

fn eight_busy_workers_all_get_their_turn(site: &Site) {
    const WORKERS: u8 = 8;
    let slowest = thread::scope(|scope| {
        let worker = |n| {
            move || {
                let mut store = site.store();
                let name = SensorName {
                    name: format!("sensor{n}"),
                    interface: String::new(),
                };
                let stream = store.open_stream(&name, StreamId([n; 16]), 0).unwrap();
                let items = vec![Item::Alert(alert()); 100];
                let mut slowest = Duration::ZERO;
                for batch in 0..20 {
                    let start = Instant::now();
                    write(&mut *store, &stream, batch * 100, &items).unwrap();
                    slowest = slowest.max(start.elapsed());
                }
                slowest
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|n| scope.spawn(worker(n))).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .max()
    });
    assert_eq!(site.row("SELECT count(*) FROM event"), "16000");
    assert!(slowest < Some(Duration::from_secs(8)), "{slowest:?}");
}
