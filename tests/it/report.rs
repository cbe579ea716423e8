//! `--status`, and the socket behind it.

use crate::database::Kind;
use crate::program::eventually;
use crate::site::Site;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

const PROGRAMS: [&str; 2] = ["sockserv", "servsock"];

/// Asks a program; its exit code and what it printed.
pub(crate) fn ask(site: &Site, program: &str, more: &[&str]) -> (Option<i32>, String) {
    ask_named(site, program, program, more)
}

/// The same of a program whose FIFO has another name.
fn ask_named(site: &Site, program: &str, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let control = format!("{name}.ctrl");
    let args = [&["--status", "--control", &control], more].concat();
    let log = format!("status-{name}");
    let _ = fs::remove_file(site.path(&format!("{log}.log")));
    let mut asked = site.run(program, &log, &args);
    let code = asked.exits().code();
    (code, asked.log())
}

/// A Suricata that says that it runs for less time than this sockserv does has begun to count while it listened.
pub(crate) fn listens_longer_than_a_new_suricata(site: &Site, sockserv: &str) {
    eventually("sockserv listens for two seconds", || {
        let (_, text) = ask_named(site, "sockserv", sockserv, &["--json"]);
        let report: Value = serde_json::from_str(&text).map_err(|_| text)?;
        let time = |key: &str| report[key].as_i64().expect("a time");
        match time("now_us") - time("started_us") {
            2_000_000.. => Ok(()),
            us => Err(format!("for {us} us so far")),
        }
    });
}

/// Asks sockserv for JSON until a field of its sensor is as it should be.
fn sensor_has(site: &Site, field: &str, value: &Value) -> Value {
    eventually(&format!("{field} is {value}"), || {
        let (_, text) = ask(site, "sockserv", &["--json"]);
        let report: Value = serde_json::from_str(&text).expect("JSON alone");
        match &report["sensors"][0][field] == value {
            true => Ok(report),
            false => Err(text),
        }
    })
}

#[test]
fn a_sensor_that_is_well_is_a_table_and_exit_code_0() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    site.statistics_say("sockserv", "sent 10 ");
    let (code, text) = ask(&site, "sockserv", &[]);
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let [columns, row] = lines[..] else {
        panic!("two lines: {text}");
    };
    for column in [
        "SENSOR",
        "LINE",
        "IDS HEARD",
        "ALERTS/S",
        "BUFFERED",
        "SPOOLED",
        "LAG",
        "DROPPED",
        "LOST BEFORE",
    ] {
        assert!(columns.contains(column), "{columns}");
    }
    let cells: Vec<&str> = row.split_ascii_whitespace().collect();
    assert_eq!(cells[..2], ["sensor", "up"], "{row}");
    assert!(row.contains(" ago "), "{row}");
    let (code, text) = ask(&site, "servsock", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("SENSOR"), "{text}");
    site.commands("sockserv.ctrl", "status");
    site.sockserv().says("sockserv: SENSOR  LINE");
    site.sockserv().says("sockserv: sensor  up");
    site.commands("servsock.ctrl", "sensors");
    site.servsock().says("servsock: SENSOR");
}

#[test]
fn the_json_has_the_numbers_and_why_the_exit_code_is_1() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&["-I", "eth7", "-H", "10", "-L", "2"]);
    site.ids_sends_alerts(1..=2);
    let report = sensor_has(&site, "stored", &2.into());
    let sensor = &report["sensors"][0];
    assert_eq!(report["program"], "sockserv");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["attention"], serde_json::json!([]));
    assert_eq!(sensor["name"], "sensor");
    assert_eq!(sensor["interface"], "eth7");
    assert_eq!(sensor["address"], site.address().to_string());
    assert_eq!(sensor["down"], Value::Null);
    assert!(sensor["heard_us"].as_i64() > report["started_us"].as_i64());

    site.servsock().kill();
    site.sockserv().says("no connection to servsock");
    let before = fs::metadata(site.path("sockserv")).expect("the socket");
    site.ids_sends_alerts(3..=13);
    let report = sensor_has(&site, "dropped", &9.into());
    let sensor = &report["sensors"][0];
    assert!(
        sensor["down"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{report}"
    );
    assert_eq!(sensor["buffered"], 2);
    assert!(sensor["lag_us"].as_u64() > Some(0));
    let (code, _) = ask(&site, "sockserv", &["--json"]);
    assert_eq!(code, Some(1));
    let (code, text) = ask(&site, "sockserv", &[]);
    assert_eq!(code, Some(1));
    for sentence in [
        "sensor sensor:eth7: no connection for ",
        "sensor sensor:eth7: alerts were dropped, the last ",
    ] {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
    site.commands("sockserv.ctrl", "low 1");
    let (_, text) = ask(&site, "sockserv", &[]);
    assert!(
        text.contains("2 alerts wait, more than LowWater (1)"),
        "{text}"
    );
    assert!(before.file_type().is_socket());
}

#[test]
fn a_database_that_is_away_needs_attention() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=1);
    site.database.has_alerts(1);
    let _lock = site.database.locked();
    site.ids_sends_alerts(2..=2);
    site.sockserv().says("cannot reach its database");
    let (code, text) = ask(&site, "sockserv", &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("the database cannot be reached"), "{text}");
}

#[test]
fn nobody_there_is_exit_code_2_with_the_path_that_was_tried() {
    let site = Site::empty(Kind::Sqlite);
    for program in PROGRAMS {
        let (code, text) = ask(&site, program, &[]);
        assert_eq!(code, Some(2));
        let sentence = format!("{program}: no answer from {program}.ctrl.status: No such file");
        assert!(text.starts_with(&sentence), "{text}");
        assert!(text.contains("is the daemon running"), "{text}");
        let (code, text) = ask(&site, program, &["-b", "-w", "/some/where"]);
        assert_eq!(code, Some(2));
        let sentence = format!("no answer from /some/where/{program}.ctrl.status");
        assert!(text.contains(&sentence), "{text}");
    }
    let config = "Control: c.ctrl\nDaemonMode: yes\nDaemonDir: /else/where\n";
    fs::write(site.path("x.conf"), config).expect("a file");
    let mut asked = site.run("sockserv", "asked", &["--status", "-c", "x.conf"]);
    assert_eq!(asked.exits().code(), Some(2));
    asked.says("no answer from /else/where/c.ctrl.status");
}

#[test]
fn the_socket_is_for_its_owner_alone_lives_through_a_restart_and_is_removed_at_the_end() {
    let mut site = Site::new(Kind::Sqlite);
    site.sockserv().says("connected to servsock");
    for name in PROGRAMS {
        let file = fs::metadata(site.path(&format!("{name}.ctrl.status"))).expect("the socket");
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    }
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", 2);
    site.sockserv().says_times("connected to servsock", 2);
    assert_eq!(ask(&site, "sockserv", &[]).0, Some(0));
    site.stop();
    for name in PROGRAMS {
        assert!(!site.path(&format!("{name}.ctrl.status")).exists());
    }
}

#[test]
fn clients_that_ask_and_do_not_read_hold_nobody_up() {
    let mut site = Site::new(Kind::Sqlite);
    for name in PROGRAMS {
        let path = site.path(&format!("{name}.ctrl.status"));
        let clients: Vec<_> = (0..5).map(|_| UnixStream::connect(&path)).collect();
        assert!(clients.iter().all(Result::is_ok));
        assert_ne!(ask(&site, name, &[]).0, Some(2));
        site.commands(&format!("{name}.ctrl"), "stats");
    }
    site.sockserv().says(": received 0 ");
    site.servsock().says(": received 0 ");
}

#[test]
fn a_place_without_room_for_the_socket_refuses_the_start_with_a_sentence() {
    let site = Site::empty(Kind::Sqlite);
    let long = "x".repeat(110);
    let args = ["-s", "sockserv", "--control", &long];
    let mut sockserv = site.run("sockserv", "long", &args);
    assert_eq!(sockserv.exits().code(), Some(1));
    sockserv.says("has 117 bytes, a unix socket's may have 107");
    assert!(!site.path(&long).exists(), "the FIFO is not left behind");
}
