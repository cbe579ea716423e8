//! What HighWater forces out: the program `drop` gets it, or standard output, or nobody.

use crate::database::Kind;
use crate::program::{Program, eventually};
use crate::site::Site;
use serde_json::Value;
use std::time::Instant;

const FIELDS: [&str; 14] = [
    "sensor",
    "interface",
    "time",
    "gid",
    "sid",
    "rev",
    "priority",
    "message",
    "src",
    "sport",
    "dst",
    "dport",
    "proto",
    "reason",
];
/// Of alert 101 these are forced out: 41 to 101.
const DROPPED: u64 = 61;

/// sockserv without servsock, and one alert more than it may hold.
fn site_that_drops(more: &[&str]) -> Site {
    let mut site = Site::empty(Kind::Sqlite);
    let marks = ["-H", "100", "-L", "40", "-I", "eth7"];
    site.start_sockserv_with(&[&marks, more].concat());
    site.ids_sends_alerts(1..=101);
    site.sockserv()
        .says("HighWater is reached: the newest 61 alerts are dropped, 61 since start");
    site.statistics_say("sockserv", "dropped 61 ");
    site
}

/// The JSON in the lines of a log that begin so.
fn records(program: &Program, begin: &str) -> Vec<Value> {
    let log = program.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix(begin));
    let records = lines.filter(|line| line.starts_with('{'));
    records
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

fn assert_is_alert(record: &Value, serial: u64) {
    let object = record.as_object().expect("an object");
    assert_eq!(object.len(), FIELDS.len(), "{record}");
    for field in FIELDS {
        assert!(object.contains_key(field), "{field} is not in {record}");
    }
    let expected = serde_json::json!({
        "sensor": "sensor",
        "interface": "eth7",
        "time": "2026-11-21T03:22:52.000000Z",
        "gid": 1,
        "sid": 1_000_001,
        "rev": 1,
        "priority": 3,
        "message": "serial",
        "src": format!("10.0.0.{serial}"),
        "sport": 1024,
        "dst": "192.0.2.1",
        "dport": 80,
        "proto": 6,
        "reason": "HighWater",
    });
    assert_eq!(record, &expected);
}

#[test]
fn drop_gets_a_record_of_each_alert_that_is_dropped() {
    let site = Site::empty(Kind::Sqlite);
    let mut drop = site.run("drop", "drop", &["-s", "drops"]);
    drop.says("ready");
    let drops = site.path("drops").display().to_string();
    let mut site = site_that_drops(&["-D", &drops]);
    let records = eventually("drop prints them all", || {
        let records = records(&drop, "drop: ");
        match records.len() as u64 {
            DROPPED.. => Ok(records),
            seen => Err(format!("{seen} so far")),
        }
    });
    assert_eq!(records.len() as u64, DROPPED);
    for (record, serial) in records.iter().zip(41..) {
        assert_is_alert(record, serial);
    }
    let elsewhere = self::records(site.sockserv(), "sockserv: dropped ");
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn without_a_reader_some_are_printed_each_second_and_the_rest_is_counted() {
    let start = Instant::now();
    // The second time nobody has made the socket.
    for more in [&[][..], &["-D", "nobody"]] {
        let mut site = site_that_drops(more);
        let sum_of = |records: &[Value]| {
            let counts = records.iter().map(|record| &record["dropped"]);
            counts.map(|count| count.as_u64().unwrap_or(1)).sum::<u64>()
        };
        let records = eventually("all are told", || {
            let records = records(site.sockserv(), "sockserv: dropped ");
            match sum_of(&records) {
                DROPPED => Ok(records),
                sum => Err(format!("{sum} so far")),
            }
        });
        let is_sum = |record: &&Value| record.get("dropped").is_some();
        let sums: Vec<&Value> = records.iter().filter(is_sum).collect();
        let alerts: Vec<&Value> = records.iter().filter(|r| !is_sum(r)).collect();
        assert_is_alert(alerts[0], 41);
        let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time");
        assert!(alerts.len() <= 20 * (seconds + 1), "{} lines", alerts.len());
        for sum in &sums {
            let count = &sum["dropped"];
            let expected = serde_json::json!({
                "dropped": count, "sensor": "sensor", "interface": "eth7", "reason": "HighWater",
            });
            assert_eq!(*sum, &expected);
        }
        assert!(!sums.is_empty(), "61 at once are more than 20 a second");
    }
}

#[test]
fn quiet_they_are_counted_and_told_and_shown_nowhere() {
    let mut site = site_that_drops(&["-q"]);
    site.sockserv().signal(nix::sys::signal::Signal::SIGTERM);
    site.sockserv().exits();
    site.sockserv()
        .says("stopped: received 101 [101], sent 0 [0], dropped 61 [61], buffered 40");
    let log = site.sockserv().log();
    assert!(!log.contains('{'), "{log}");
    assert_eq!(site.sockserv().lines_with("HighWater is reached"), 1);
}
