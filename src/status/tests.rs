//! Reports as an operator sees them.

use super::*;

const SECOND: i64 = 1_000_000;
const NOW: i64 = 1_000_000 * SECOND;

fn report(sensors: Vec<SensorState>) -> Report {
    Report {
        program: "servsock".to_owned(),
        version: "1".to_owned(),
        listens: String::new(),
        now_us: NOW,
        started_us: 0,
        database_away: false,
        sensors,
    }
}

fn sensor(name: &str) -> SensorState {
    SensorState {
        name: name.to_owned(),
        interface: "eth0".to_owned(),
        address: "192.0.2.9:4711".to_owned(),
        since_us: NOW - 90 * SECOND,
        heard_us: Some(NOW - 3 * SECOND),
        received: 1_234,
        stored: 1_200,
        buffered: 34,
        lag_us: 250_000,
        rate: 12.25,
        ..SensorState::default()
    }
}

#[test]
fn a_table_has_a_line_for_each_sensor_below_the_names_of_its_columns() {
    let report = report(vec![
        SensorState {
            dropped: 5,
            ..sensor("one")
        },
        SensorState {
            heard_us: None,
            down: Some("gone".to_owned()),
            lost_before: 7,
            lag_us: 7_300 * 1_000_000,
            ..sensor("another")
        },
    ]);
    let expected = "\
SENSOR        LINE  IDS HEARD  ALERTS/S  BUFFERED  SPOOLED  LAG     DROPPED  LOST BEFORE
one:eth0      up    3 s ago    12.2      34        0        250 ms  5        0
another:eth0  down  never      12.2      34        0        2 h     0        7";
    assert_eq!(report.table(), expected);
    let expected = "\
SENSOR        ADDRESS         SINCE          RECEIVED  STORED  DROPPED  LOST BEFORE  BUFFERED  LAG     IDS LAST HEARD
one:eth0      192.0.2.9:4711  up for 90 s    1234      1200    5        0            34        250 ms  3 s ago
another:eth0  192.0.2.9:4711  down for 90 s  1234      1200    0        7            34        2 h     never";
    assert_eq!(report.sensors_table(), expected);
}

#[test]
fn a_name_from_outside_leaves_a_table_a_table() {
    let report = report(vec![
        sensor("a\nb\u{1b}[2J\u{202e}"),
        sensor(&"x".repeat(255)),
    ]);
    let table = report.table();
    assert_eq!(table.lines().count(), 3);
    assert!(
        !table.contains('\u{1b}') && !table.contains('\u{202e}'),
        "{table}"
    );
    let column = table
        .lines()
        .map(|line| line.find("up").or(line.find("LINE")));
    let columns: Vec<_> = column.collect();
    assert!(columns.iter().all(|at| *at == columns[0]), "{table}");
}

#[test]
fn only_what_needs_somebody_gets_a_sentence() {
    assert_eq!(report(vec![sensor("fine")]).attention(), [""; 0]);
    let silent = SensorState {
        heard_us: None,
        ..sensor("silent")
    };
    assert_eq!(report(vec![silent]).attention(), [""; 0], "it is night");
    let down = SensorState {
        down: Some("Connection refused".to_owned()),
        ..sensor("down")
    };
    let full = SensorState {
        low_water: 33,
        ..sensor("full")
    };
    let fits = SensorState {
        low_water: 34,
        ..sensor("fits")
    };
    let dropped = |minutes: i64| SensorState {
        dropped: 5,
        dropped_us: Some(NOW - minutes * 60 * SECOND),
        ..sensor("dropped")
    };
    let lost_before = |minutes: i64| SensorState {
        lost_before: 6,
        lost_before_us: Some(NOW - minutes * 60 * SECOND),
        ..sensor("lossy")
    };
    let lossy = [dropped(15), dropped(16), lost_before(15), lost_before(16)];
    let mut report = report([down, full, fits].into_iter().chain(lossy).collect());
    report.database_away = true;
    assert_eq!(
        report.attention(),
        [
            "the database cannot be reached: alerts wait in the sensors, or on servsock's disk (-W), until it is back",
            "sensor down:eth0: no connection for 90 s: Connection refused",
            "sensor full:eth0: 34 alerts wait, more than LowWater (33): what comes next may be dropped",
            "sensor dropped:eth0: alerts were dropped, the last 15 min ago, 5 since start; the table flop_loss says when \
             and why",
            "sensor lossy:eth0: alerts were lost before sockserv, the last 15 min ago, 6 since start: the IDS raised them, \
             and they never came; is there room in its socket (net.unix.max_dgram_qlen)?",
        ]
    );
}

#[test]
fn the_json_has_the_fields_of_a_report_and_what_needs_attention() {
    let report = report(vec![SensorState {
        down: Some("away".to_owned()),
        ..sensor("one")
    }]);
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["program"], "servsock");
    assert_eq!(json["sensors"][0]["buffered"], 34);
    assert_eq!(json["sensors"][0]["down"], "away");
    assert_eq!(json["attention"].as_array().unwrap().len(), 1);
    let read: Report = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(read, report, "it can be read again");
}
