//! Alerts with a serial number, small and cheap to check: EVE records whose source address is the number.

use crate::database::Database;
use std::ops::RangeInclusive;

/// 10.0.0.0 as a number; the serial number is added to it.
const FIRST_ADDRESS: i64 = 10 << 24;

/// The datagram of one alert.
pub(crate) fn alert(serial: u32) -> Vec<u8> {
    let [_, a, b, c] = serial.to_be_bytes();
    format!(
        "{{\"timestamp\":\"2026-11-21T03:22:52.000000+0000\",\"event_type\":\"alert\",\"src_ip\":\"10.{a}.{b}.{c}\",\
         \"src_port\":1024,\"dest_ip\":\"192.0.2.1\",\"dest_port\":80,\"proto\":\"TCP\",\"alert\":{{\"gid\":1,\
         \"signature_id\":1000001,\"rev\":1,\"signature\":\"serial\",\"severity\":3,\"action\":\"allowed\"}}}}\n"
    )
    .into_bytes()
}

/// The datagrams of many.
pub(crate) fn alerts(serials: RangeInclusive<u32>) -> impl Iterator<Item = Vec<u8>> {
    serials.map(alert)
}

/// The stats record of a Suricata that has run for so long, and has raised so many alerts.
pub(crate) fn stats(uptime_secs: u64, raised: u64) -> Vec<u8> {
    format!(
        "{{\"timestamp\":\"2026-11-21T03:23:00.000000+0000\",\"event_type\":\"stats\",\"stats\":{{\"uptime\":{uptime_secs},\
         \"detect\":{{\"engines\":[{{\"id\":0,\"last_reload\":\"2026-11-21T03:22:51.072640+0000\"}}],\
         \"alert\":{raised},\"alert_queue_overflow\":0,\"alerts_suppressed\":0}}}}}}\n"
    )
    .into_bytes()
}

/// What a database has of one sensor's alerts: each serial number once, in order, and the cids without gap.
pub(crate) fn are_stored(database: &Database, sensor: &str, serials: RangeInclusive<u32>) {
    let rows = database.query(&format!(
        "SELECT count(*), count(DISTINCT i.ip_src), min(i.ip_src), max(i.ip_src), min(e.cid), max(e.cid), \
         min(i.ip_src - e.cid), max(i.ip_src - e.cid) \
         FROM sensor n JOIN event e ON e.sid = n.sid LEFT JOIN iphdr i ON i.sid = e.sid AND i.cid = e.cid \
         WHERE n.hostname = '{sensor}'"
    ));
    let numbers: Vec<i64> = rows[0]
        .iter()
        .map(|cell| cell.as_ref().expect("a number").parse().expect("a number"))
        .collect();
    let (first, last) = (i64::from(*serials.start()), i64::from(*serials.end()));
    let count = last - first + 1;
    let shift = FIRST_ADDRESS + first - 1;
    let expected = [
        count,
        count,
        FIRST_ADDRESS + first,
        FIRST_ADDRESS + last,
        1,
        count,
        shift,
        shift,
    ];
    assert_eq!(
        numbers, expected,
        "sensor {sensor}: count, distinct serials, first, last, first cid, last cid, least and greatest serial - cid"
    );
}
