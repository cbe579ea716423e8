//! What real IDS programs sent, through the two programs, against the tables of what is in it.

use crate::database::{BOTH, Database, Kind, Row};
use crate::expect::{self, Flow, Seen, Sender};
use crate::fixtures::{self, datagrams, expected};
use crate::program::Program;
use crate::report::listens_longer_than_a_new_suricata;
use crate::site::Site;
use crate::tables;
use std::net::IpAddr;

/// Captures without a table: one alert, which `an_alert_without_message` looks at.
const WITHOUT_TABLE: [&str; 1] = ["snort29-unixsock-nomsg"];
/// Captures whose table has nothing but ids and lengths.
const SMALL_TABLE: [&str; 1] = ["snort29-unixsock-snaplen200"];
/// A capture that Suricata could not send all of its alerts for, and how many of them.
const LOST_BEFORE: (&str, u64) = ("suricata7-eve-dgram-own", 2);

#[test]
fn alerts_of_every_capture_agree_with_their_tables_in_sqlite() {
    every_capture(Kind::Sqlite);
}

#[test]
fn alerts_of_every_capture_agree_with_their_tables_in_postgresql() {
    every_capture(Kind::Postgres);
}

/// One sensor for each capture.
fn every_capture(kind: Kind) {
    let mut site = Site::empty(kind);
    site.start_servsock();
    for name in fixtures::names() {
        let mut sockserv = site.another_sockserv(&name, &[]);
        if name == LOST_BEFORE.0 {
            listens_longer_than_a_new_suricata(&site, &name);
        }
        site.ids_sends_to(&name, datagrams(&name));
        let count = alerts_in(&name);
        sensor_has_alerts(&site.database, &name, count);
        let alerts = stored(&site.database, &name);
        match name.as_str() {
            name if WITHOUT_TABLE.contains(&name) => an_alert_without_message(&alerts),
            name if SMALL_TABLE.contains(&name) => only_ids_agree(name, &alerts),
            name => all_agree(name, &alerts),
        }
        if has_table(&name) {
            tables::rows_are_as_many_as_alerts_need(&site.database, &name);
        }
        stops_with(&mut sockserv, &name, count);
    }
    let losses = "SELECT n.hostname, l.count FROM flop_loss l JOIN sensor n ON n.sid = l.sid";
    let (name, lost) = LOST_BEFORE;
    assert_eq!(site.database.lines(losses), [format!("{name}|{lost}")]);
}

/// A datagram of each capture in turn, all to one socket: their order is the order in the database.
#[test]
fn all_kinds_of_ids_may_share_a_socket() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        let captures: Vec<_> = fixtures::names()
            .iter()
            .filter(|name| has_table(name))
            .map(|name| (Sender::of(name), datagrams(name), expected(name)))
            .collect();
        let longest = captures
            .iter()
            .map(|(_, datagrams, _)| datagrams.len())
            .max();
        let in_turn = (0..longest.expect("a capture"))
            .flat_map(|turn| captures.iter().map(move |capture| (turn, capture)))
            .filter_map(|(turn, (sender, datagrams, rows))| {
                Some((*sender, datagrams.get(turn)?, &rows[turn]))
            });
        site.ids_sends(in_turn.clone().map(|(_, datagram, _)| datagram));
        let alerts: Vec<_> = in_turn
            .filter(|(sender, _, row)| expect::is_alert(*sender, row))
            .collect();
        site.database.has_alerts(alerts.len());
        let stored = stored(&site.database, "sensor");
        assert_eq!(stored.len(), alerts.len());
        for (seen, (sender, _, row)) in stored.iter().zip(alerts) {
            expect::agrees(sender, seen, row);
        }
        for ids in ["Snort 2.9", "Snort 3", "barnyard2", "Suricata"] {
            let line = format!("the first alert of {ids} came on sockserv");
            site.sockserv().says(&line);
            assert_eq!(site.sockserv().lines_with(&line), 1);
        }
        site.stop();
    }
}

fn has_table(name: &str) -> bool {
    !WITHOUT_TABLE.contains(&name) && !SMALL_TABLE.contains(&name)
}

/// How many alerts are in a capture. One without a table must be named above.
fn alerts_in(name: &str) -> usize {
    if WITHOUT_TABLE.contains(&name) {
        return datagrams(name).len();
    }
    let rows = expected(name);
    assert_eq!(
        rows.len(),
        datagrams(name).len(),
        "{name}: a row for each datagram"
    );
    let sender = Sender::of(name);
    match SMALL_TABLE.contains(&name) {
        true => rows.len(),
        false => rows
            .iter()
            .filter(|row| expect::is_alert(sender, row))
            .count(),
    }
}

/// How many records of a capture are no alerts.
fn other_records_in(name: &str) -> usize {
    datagrams(name).len() - alerts_in(name)
}

fn sensor_has_alerts(database: &Database, sensor: &str, count: usize) {
    let sql = format!("SELECT count(*) FROM alerts WHERE sensor = '{sensor}'");
    database.reaches(&sql, i64::try_from(count).expect("a small number"));
}

/// The whole final line: nothing stands behind it but what never came, and what was left out.
fn stops_with(sockserv: &mut Program, name: &str, count: usize) {
    sockserv.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(sockserv.exits().code(), Some(0), "{}", sockserv.log());
    let line =
        format!("received {count} [{count}], sent {count} [{count}], dropped 0 [0], buffered 0");
    let before = match LOST_BEFORE {
        (capture, lost) if capture == name => format!(", lost before sockserv {lost}"),
        _ => String::new(),
    };
    let left_out = match other_records_in(name) {
        0 => String::new(),
        others => format!(", left out {others} EVE records that are no alerts"),
    };
    assert_eq!(
        sockserv.says("stopped: "),
        format!("sockserv: stopped: {line}{before}{left_out}")
    );
}

/// What is stored of this sensor agrees with the table of the capture.
pub(crate) fn sensor_agrees(database: &Database, sensor: &str, capture: &str) {
    sensor_has_alerts(database, sensor, alerts_in(capture));
    all_agree(capture, &stored(database, sensor));
}

fn all_agree(name: &str, alerts: &[Seen]) {
    let sender = Sender::of(name);
    let rows = expected(name);
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| expect::is_alert(sender, row))
        .collect();
    assert_eq!(alerts.len(), rows.len(), "{name}");
    for (alert, row) in alerts.iter().zip(rows) {
        expect::agrees(sender, alert, row);
    }
}

fn an_alert_without_message(alerts: &[Seen]) {
    let [alert] = alerts else {
        panic!("one alert: {alerts:?}");
    };
    assert_eq!((alert.gid, alert.sid, alert.rev), (1, 1_000_128, 1));
    assert_eq!((alert.class_id, alert.priority), (Some(0), 0));
    assert_eq!(alert.message, "");
    assert_eq!(alert.time_us, 1_760_000_602_900_087);
    assert_eq!(alert.payload.as_deref(), Some(&b"msgtest 28"[..]));
}

fn only_ids_agree(name: &str, alerts: &[Seen]) {
    let rows = expected(name);
    assert_eq!(alerts.len(), rows.len(), "{name}");
    for (alert, row) in alerts.iter().zip(&rows) {
        let ids = [alert.gid, alert.sid, alert.rev];
        assert_eq!(
            ids,
            ["gid", "sid", "rev"].map(|id| row.number(id)),
            "{}",
            row.place
        );
    }
}

/// A sensor's alerts in the order of their cids, which have no gap.
fn stored(database: &Database, sensor: &str) -> Vec<Seen> {
    let sql = format!(
        "SELECT a.cid, x.ids, {time}, a.gid, a.sig_sid, a.rev, a.class_id, c.sig_class_name, a.priority, x.event_id, \
         x.action, a.message, a.ip_version, a.src, a.dst, a.proto, a.sport, a.dport, a.icmp_type, a.icmp_code, \
         a.payload_len, a.payload \
         FROM alerts a JOIN event e ON e.sid = a.sid AND e.cid = a.cid \
         LEFT JOIN flop_event x ON x.sid = a.sid AND x.cid = a.cid \
         LEFT JOIN signature s ON s.sig_id = e.signature LEFT JOIN sig_class c ON c.sig_class_id = s.sig_class_id \
         WHERE a.sensor = '{sensor}' ORDER BY a.cid",
        time = database.instant("a.timestamp")
    );
    let rows = database.query(&sql);
    let cids: Vec<i64> = rows.iter().map(|row| number(row, 0)).collect();
    let without_gap: Vec<i64> = (1..).take(rows.len()).collect();
    assert_eq!(cids, without_gap, "cids of {sensor}");
    rows.iter().map(seen).collect()
}

fn seen(row: &Row) -> Seen {
    let time = text(row, 2);
    let time: jiff::Timestamp = time
        .parse()
        .unwrap_or_else(|error| panic!("{time:?}: {error}"));
    let payload = row[21].as_ref().map(|hex| unhex(hex)).unwrap_or_default();
    let length: Option<usize> = value(row, 20);
    assert_eq!(length.unwrap_or(0), payload.len(), "{row:?}");
    Seen {
        ids: number(row, 1),
        time_us: time.as_microsecond(),
        gid: number(row, 3),
        sid: number(row, 4),
        rev: number(row, 5),
        class_id: value(row, 6),
        class_name: text(row, 7),
        priority: number(row, 8),
        event_id: value(row, 9),
        action: text(row, 10),
        message: text(row, 11),
        flow: flow(row),
        payload: length.map(|_| payload),
    }
}

fn flow(row: &Row) -> Option<Flow> {
    let version: Option<u8> = value(row, 12);
    let Some(version) = version else {
        assert!(row[13..20].iter().all(Option::is_none), "{row:?}");
        return None;
    };
    let ends: [IpAddr; 2] = pair(row, 13).expect("two addresses");
    for end in ends {
        assert_eq!(end.is_ipv4(), version == 4, "{row:?}");
    }
    Some(Flow {
        ends,
        proto: number(row, 15),
        ports: pair(row, 16),
        icmp: pair(row, 18),
    })
}

fn text(row: &Row, column: usize) -> String {
    row[column].clone().unwrap_or_default()
}

fn value<T: std::str::FromStr>(row: &Row, column: usize) -> Option<T> {
    let cell = row[column].as_ref()?;
    Some(
        cell.parse()
            .unwrap_or_else(|_| panic!("column {column} of {row:?}")),
    )
}

fn number<T: std::str::FromStr>(row: &Row, column: usize) -> T {
    value(row, column).unwrap_or_else(|| panic!("column {column} of {row:?} is NULL"))
}

fn pair<T: std::str::FromStr>(row: &Row, column: usize) -> Option<[T; 2]> {
    match (value(row, column), value(row, column + 1)) {
        (Some(first), Some(second)) => Some([first, second]),
        (None, None) => None,
        _ => panic!("one of columns {column} and the next is NULL: {row:?}"),
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}
