//! servsock -D and -q: a worker at HighWater drops, instead of pushing back, and every loss is accounted for.

use crate::client::Client;
use crate::database::{BOTH, Database, Kind};
use crate::program::{Program, eventually};
use crate::site::Site;
use flop::wire::{Gap, Loss, item};
use nix::sys::signal::Signal;
use serde_json::Value;

const MARKS: [&str; 4] = ["-H", "100", "-L", "60"];

fn site(kind: Kind, more: &[&str]) -> Site {
    let mut site = Site::empty(kind);
    site.start_servsock_with(&[&MARKS, more].concat());
    site.start_sockserv_with(&["-H", "100000", "-L", "90000"]);
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    site
}

/// From now on nothing can be stored, without an error: a batch waits.
enum Away {
    Sqlite { _lock: rusqlite::Connection },
    Postgres(postgres::Client),
}

impl Away {
    fn new(database: &Database) -> Away {
        match database {
            Database::Sqlite(_) => Away::Sqlite {
                _lock: database.locked(),
            },
            Database::Postgres(url) => {
                let mut client =
                    postgres::Client::connect(url, postgres::NoTls).expect("the server");
                client
                    .batch_execute("BEGIN; LOCK TABLE event IN EXCLUSIVE MODE")
                    .expect("the lock");
                Away::Postgres(client)
            }
        }
    }

    fn back(self) {
        if let Away::Postgres(mut client) = self {
            client.batch_execute("ROLLBACK").expect("the server");
        }
    }
}

/// Waits until all items up to this number are committed, as alerts or in gaps.
fn is_committed(site: &Site, number: i64) {
    site.database
        .reaches("SELECT max(last_seq) FROM flop_stream", number);
}

fn lost(site: &Site) -> i64 {
    site.database
        .number("SELECT coalesce(sum(count), 0) FROM flop_loss")
}

/// `dropped 12 [3]` in a line of statistics.
fn dropped(line: &str) -> i64 {
    let (_, behind) = line.split_once("dropped ").expect(line);
    let number = behind.split(' ').next().expect(line);
    number.parse().expect(line)
}

fn everything_is_accounted_for(site: &Site, received: i64) {
    let stored = site.database.number("SELECT count(*) FROM event");
    assert!(stored < received, "something was dropped");
    assert_eq!(stored + lost(site), received, "received = stored + dropped");
    assert_eq!(
        site.database.number("SELECT max(cid) FROM event"),
        stored,
        "cids without gap"
    );
    let reasons = site.database.query("SELECT DISTINCT reason FROM flop_loss");
    assert_eq!(reasons, [[Some("HighWater of servsock".to_owned())]]);
}

#[test]
fn a_flood_while_the_database_is_away_is_dropped_down_to_low_water_and_accounted_for() {
    for kind in BOTH {
        let mut site = site(kind, &["-q"]);
        let away = Away::new(&site.database);
        site.ids_sends_alerts(2..=5_000);
        let line = site.statistics_say("servsock", "received 5000 ");
        let before = dropped(&line);
        assert!(before > 4_000, "told while it happens: {line}");
        let buffered: i64 = line
            .rsplit(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        // What the writer holds cannot be dropped; behind it are a batch's items at most.
        assert!(before + buffered + 1 >= 5_000, "{line}");
        assert_eq!(
            site.servsock().lines_with("{\"sensor\""),
            0,
            "-q: only counted"
        );
        site.servsock().says("HighWater is reached: the newest");
        away.back();
        is_committed(&site, 5_000);
        site.statistics_say("sockserv", "sent 5000 ");
        site.stop();
        everything_is_accounted_for(&site, 5_000);
        let line = site.servsock().says("stopped: ");
        assert_eq!(dropped(&line), lost(&site), "{line}");
        assert!(
            line.contains("received 5000 ") && line.ends_with("buffered 0"),
            "{line}"
        );
        let last = site.database.number("SELECT last_seq FROM flop_stream");
        assert_eq!(last, 5_000, "a number for each alert, dropped or not");
    }
}

#[test]
fn what_a_worker_drops_comes_to_the_drop_socket_one_by_one_or_as_a_number() {
    let (mut site, reader) = site_with_reader();
    let away = Away::new(&site.database);
    site.ids_sends_alerts(2..=1_000);
    site.statistics_say("servsock", "received 1000 ");
    away.back();
    is_committed(&site, 1_000);
    let in_table = lost(&site);
    assert!(in_table > 500, "{in_table}");
    eventually("all that was dropped is told", || match told(&reader) {
        (sum, _) if sum == in_table => Ok(()),
        (sum, _) => Err(format!("{sum} of {in_table} so far")),
    });
    let (_, records) = told(&reader);
    let record = records
        .iter()
        .find(|record| record["src"].is_string())
        .expect("an alert");
    assert_eq!(record["reason"], "HighWater of servsock");
    assert_eq!(record["sensor"], "sensor");
    site.stop();
    everything_is_accounted_for(&site, 1_000);
}

fn site_with_reader() -> (Site, Program) {
    let mut site = Site::empty(Kind::Sqlite);
    let mut reader = site.run("drop", "drop", &["-s", "drops"]);
    reader.says("ready");
    site.start_servsock_with(&[&MARKS[..], &["-D", "drops"]].concat());
    site.start_sockserv();
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    (site, reader)
}

/// How many alerts the program `drop` printed, and the records.
fn told(reader: &Program) -> (i64, Vec<Value>) {
    let log = reader.log();
    let lines = log.lines().filter_map(|line| line.strip_prefix("drop: {"));
    let records: Vec<Value> = lines
        .map(|line| serde_json::from_str(&format!("{{{line}")).expect(line))
        .collect();
    let count = |record: &Value| record["dropped"].as_i64().unwrap_or(1);
    (records.iter().map(count).sum(), records)
}

#[test]
fn a_worker_that_is_killed_with_gaps_in_its_buffer_loses_nothing() {
    for kind in BOTH {
        let mut site = site(kind, &["-q"]);
        let away = Away::new(&site.database);
        site.ids_sends_alerts(2..=3_000);
        site.statistics_say("servsock", "received 3000 ");
        let workers = site.servsock().children();
        workers
            .iter()
            .for_each(|pid| crate::program::signal_to(*pid, Signal::SIGKILL));
        site.sockserv().says("no connection to servsock");
        away.back();
        is_committed(&site, 3_000);
        site.statistics_say("sockserv", "buffered 0");
        site.stop();
        // What was dropped and not committed came again: it may be stored now.
        let stored = site.database.number("SELECT count(*) FROM event");
        assert_eq!(stored + lost(&site), 3_000);
        assert_eq!(site.database.number("SELECT max(cid) FROM event"), stored);
        assert_eq!(
            site.database.number("SELECT last_seq FROM flop_stream"),
            3_000
        );
    }
}

#[test]
fn quiet_changes_a_running_worker_from_pushing_back_to_dropping_and_back() {
    let mut site = site(Kind::Sqlite, &[]);
    let away = Away::new(&site.database);
    site.ids_sends_alerts(2..=2_000);
    site.sockserv().says("alerts wait here");
    assert_eq!(dropped(&site.statistics_say("servsock", "buffered ")), 0);
    site.commands("servsock.ctrl", "quiet on");
    site.servsock()
        .says("at HighWater the newest alerts are dropped, and only counted");
    site.statistics_say("servsock", "received 2000 ");
    site.commands("servsock.ctrl", "quiet off");
    site.servsock().says("at HighWater nothing is dropped");
    site.ids_sends_alerts(2_001..=4_000);
    site.statistics_say("sockserv", "received 4000 ");
    away.back();
    is_committed(&site, 4_000);
    site.statistics_say("sockserv", "sent 4000 ");
    site.stop();
    everything_is_accounted_for(&site, 4_000);
    assert!(lost(&site) < 2_000, "the second half was not dropped");
}

#[test]
fn what_the_database_refuses_comes_to_the_drop_socket_with_its_reason() {
    let (mut site, reader) = site_with_reader();
    site.database.execute(
        "CREATE TRIGGER bad BEFORE INSERT ON iphdr WHEN NEW.ip_src = 167772160 + 5 \
         BEGIN SELECT raise(ABORT, 'bad one'); END",
    );
    site.ids_sends_alerts(2..=10);
    site.database.has_alerts(9);
    eventually("the refused one is told", || match told(&reader) {
        (1, records) => {
            assert_eq!(records[0]["src"], "10.0.0.5");
            let reason = records[0]["reason"].as_str().expect("a text");
            assert!(reason.starts_with("refused by the database: "), "{reason}");
            Ok(())
        }
        (count, _) => Err(format!("{count} so far")),
    });
    site.stop();
}

/// A gap stands for many sequence numbers: what a sensor could do with one is left to nobody's imagination.
#[test]
fn a_gap_that_a_sensor_sends_is_refused() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let mut bytes = Vec::new();
    let gap = Gap {
        numbers: 1 << 40,
        loss: Loss {
            count: 1,
            from_us: 0,
            to_us: 0,
            reason: "x".into(),
        },
    };
    item::put_gap(&mut bytes, &gap);
    let mut client = Client::connect(&site);
    client.greets("sensor");
    client.sends_frame(&flop::wire::frame::Frame::Items {
        first: 1,
        count: 1,
        bytes: &bytes,
    });
    let reason = client.is_refused();
    assert!(
        reason.contains("a gap, which only servsock itself makes"),
        "{reason}"
    );
    assert_eq!(site.database.number("SELECT last_seq FROM flop_stream"), 0);
    site.stop();
}
