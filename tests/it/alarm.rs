//! servsock -U and -M: important alerts, once they are stored, to another program.

mod lossy;

use crate::database::{BOTH, Kind};
use crate::program::{Program, eventually};
use crate::serial;
use crate::site::Site;
use lossy::Lossy;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// A program that reads the alert socket: the test itself.
struct Reader(UnixDatagram);

impl Reader {
    fn new(site: &Site) -> Reader {
        let path = site.path("alerts");
        let _ = fs::remove_file(&path); // One that came before.
        let socket = UnixDatagram::bind(path).expect("the socket");
        socket.set_nonblocking(true).expect("a socket's flag");
        Reader(socket)
    }

    /// Waits for the next record.
    fn gets(&self) -> Value {
        let mut bytes = [0; 16 << 10];
        eventually("the alert socket gets a record", || {
            let length = self.0.recv(&mut bytes).map_err(|error| error.to_string())?;
            Ok(serde_json::from_slice(&bytes[..length]).expect("JSON"))
        })
    }

    fn has_nothing_more(&self) {
        let mut bytes = [0; 16 << 10];
        let more = self.0.recv(&mut bytes);
        assert!(
            more.is_err(),
            "{:?}",
            more.map(|n| String::from_utf8_lossy(&bytes[..n]).into_owned())
        );
    }
}

/// The alert of this serial number, with a priority.
fn alert(serial: u32, priority: u32) -> Vec<u8> {
    let alert = String::from_utf8(serial::alert(serial)).expect("JSON");
    let priority = format!("\"severity\":{priority}");
    alert.replace("\"severity\":3", &priority).into_bytes()
}

fn site(kind: Kind, more: &[&str]) -> Site {
    let mut site = Site::empty(kind);
    site.start_servsock_with(&[&["-U", "alerts"], more].concat());
    site.start_sockserv();
    site
}

#[test]
fn important_alerts_are_told_once_they_are_stored_with_their_numbers() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        let reader = Reader::new(&site);
        site.start_servsock_with(&["-U", "alerts", "-M", "2"]);
        site.start_sockserv();
        let priorities = [3, 1, 0, 2, 4];
        site.ids_sends(
            (1..)
                .zip(priorities)
                .map(|(serial, priority)| alert(serial, priority)),
        );
        site.database_gets(1..=5);
        for (cid, priority) in [(2, 1), (4, 2)] {
            let record = reader.gets();
            let stored = format!(
                "SELECT count(*) FROM event WHERE sid = {} AND cid = {}",
                record["sensor_sid"], record["cid"]
            );
            assert_eq!(site.database.number(&stored), 1, "{record}");
            assert_eq!(record["cid"], cid);
            assert_eq!(record["priority"], priority);
            assert_eq!(record["reason"], format!("priority {priority}"));
            assert_eq!(record["src"], format!("10.0.0.{cid}"));
            assert_eq!(record["sensor"], "sensor");
        }
        site.stop();
        reader.has_nothing_more();
    }
}

#[test]
fn a_reader_that_is_missing_costs_nothing_and_learns_how_many_it_missed() {
    let mut site = site(Kind::Sqlite, &[]);
    site.ids_sends((1..=10).map(|serial| alert(serial, 1)));
    site.database_gets(1..=10);
    site.servsock()
        .says("cannot send to alert socket alerts: No such file");
    let reader = Reader::new(&site);
    let missed = reader.gets();
    assert_eq!(missed["dropped"], 10, "without another alert: {missed}");
    assert_eq!(missed["reason"], "nobody read the alert socket");
    site.servsock()
        .says("the alert socket is read again; 10 important alerts were missed");
    site.ids_sends([alert(11, 1)]);
    assert_eq!(reader.gets()["cid"], 11);
    drop(reader); // Its file stays: connection refused.
    site.ids_sends((12..=13).map(|serial| alert(serial, 1)));
    site.database_gets(1..=13);
    let reader = Reader::new(&site);
    assert_eq!(reader.gets()["dropped"], 2);
    site.stop();
    reader.has_nothing_more();
}

#[test]
fn priority_and_socket_are_changed_at_run_time() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends([alert(1, 1)]);
    site.database_gets(1..=1);
    let reader = Reader::new(&site);
    site.commands("servsock.ctrl", "alertsocket alerts");
    site.servsock()
        .says("alerts of priority 1 to 1 go to alert socket alerts once they are stored");
    site.ids_sends([alert(2, 2), alert(3, 1)]);
    assert_eq!(reader.gets()["cid"], 3);
    site.commands("servsock.ctrl", "priority 2");
    site.servsock().says("alerts of priority 1 to 2 go to");
    site.ids_sends([alert(4, 2)]);
    assert_eq!(reader.gets()["cid"], 4);
    site.commands("servsock.ctrl", "alertsocket off");
    site.servsock()
        .says("no alert socket is set: nobody is told of alerts of priority 1 to 2");
    site.ids_sends([alert(5, 1)]);
    site.database_gets(1..=5);
    site.stop();
    reader.has_nothing_more();
}

#[test]
fn while_the_database_is_away_nothing_is_told_and_afterwards_each_once() {
    let mut site = site(Kind::Sqlite, &[]);
    let reader = Reader::new(&site);
    site.ids_sends([alert(1, 1)]);
    assert_eq!(reader.gets()["cid"], 1);
    let lock = site.database.locked();
    site.ids_sends((2..=50).map(|serial| alert(serial, 1)));
    site.servsock().says("trying again, the alerts wait");
    reader.has_nothing_more();
    drop(lock);
    site.database_gets(1..=50);
    let mut reader_may_be_slow = 0;
    let mut cids = Vec::new();
    while cids.len() as u64 + reader_may_be_slow < 49 {
        let record = reader.gets();
        match record["cid"].as_u64() {
            Some(cid) => cids.push(cid),
            None => reader_may_be_slow += record["dropped"].as_u64().expect("a count"),
        }
    }
    assert!(cids.is_sorted() && cids[0] >= 2, "{cids:?}");
    site.stop();
    reader.has_nothing_more();
}

#[test]
fn an_alert_whose_commit_was_not_answered_is_told_once_and_stored_once() {
    told_and_stored_once(&[]);
}

#[test]
fn so_it_is_with_a_swap() {
    told_and_stored_once(&["-W", "."]);
}

fn told_and_stored_once(more: &[&str]) {
    let mut site = Site::empty(Kind::Postgres);
    let reader = Reader::new(&site);
    let lossy = Lossy::new(&site.database, site.folder());
    site.database = lossy.database.clone();
    site.start_servsock_with(&[&["-U", "alerts"], more].concat());
    site.start_sockserv();
    site.ids_sends([alert(1, 1)]);
    assert_eq!(reader.gets()["cid"], 1);
    lossy.loses_the_next_answer();
    site.ids_sends([alert(2, 1)]);
    let record = reader.gets();
    assert!(lossy.has_lost_it());
    assert_eq!(record["src"], "10.0.0.2");
    assert_eq!(record["sensor_sid"], 1);
    assert_eq!(record.get("cid"), None, "only the answer had it");
    site.ids_sends([alert(3, 1)]);
    assert_eq!(reader.gets()["cid"], 3);
    site.database_gets(1..=3);
    site.stop();
    reader.has_nothing_more();
}

/// The other program there is: its `--exec` gets the record, with the numbers of the database.
#[test]
fn the_program_alert_hands_an_important_alert_on() {
    let site = Site::empty(Kind::Sqlite);
    let script = site.path("hand-on");
    fs::write(&script, "#!/bin/sh\ncat >> told\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    let mut reader: Program = site.run(
        "alert",
        "alert",
        &["-s", "alerts", "--exec", "./hand-on", "-L", "1"],
    );
    reader.says("ready");
    let mut site = site;
    site.start_servsock_with(&["-U", "alerts"]);
    site.start_sockserv();
    site.ids_sends([alert(1, 3), alert(2, 1)]);
    let told = eventually("the script is given the record", || {
        let told = fs::read_to_string(site.path("told")).unwrap_or_default();
        let record = told
            .lines()
            .find_map(|line| serde_json::from_str::<Value>(line).ok());
        record.ok_or(told)
    });
    assert_eq!((&told["cid"], &told["sensor_sid"]), (&2.into(), &1.into()));
    assert_eq!(told["reason"], "priority 1");
}
