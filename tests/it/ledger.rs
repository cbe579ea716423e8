//! The ledger of a sensor: what it received is stored or has a reason, and what never came to it stands apart.

use crate::database::{BOTH, Database, Kind};
use crate::program::eventually;
use crate::report::{ask, listens_longer_than_a_new_suricata};
use crate::serial;
use crate::site::Site;
use serde_json::Value;

const NEVER_CAME: &str = "before sockserv: Suricata raised them, and they never came";

/// README.md's query, as it stands there.
fn query() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let from = page.find("    WITH ledger AS (").expect("the query");
    let (query, _) = page[from..].split_once(";\n").expect("its end");
    query.to_owned()
}

/// What the query says of the one sensor: what it received, and the fates of these alerts with their numbers.
fn ledger(database: &Database) -> (i64, Vec<(String, i64)>) {
    let rows = database.query(&query());
    let number = |cell: &Option<String>| -> i64 {
        let cell = cell.as_deref().expect("a number");
        cell.parse()
            .unwrap_or_else(|_| panic!("{cell} is no number"))
    };
    let received = rows.first().map_or(0, |row| number(&row[2]));
    let fates = rows.iter().map(|row| {
        assert_eq!(row[0].as_deref(), Some("sensor"));
        assert_eq!(number(&row[2]), received, "the same in each row");
        (row[3].clone().expect("a fate"), number(&row[4]))
    });
    (received, fates.collect())
}

fn of(fates: &[(String, i64)], begin: &str) -> i64 {
    let matching = fates.iter().filter(|(fate, _)| fate.starts_with(begin));
    matching.map(|(_, alerts)| alerts).sum()
}

fn report(site: &Site, program: &str) -> Value {
    let (_, text) = ask(site, program, &["--json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_suricata_lost_before_sockserv_is_told_apart_everywhere() {
    let ways = [
        (Kind::Sqlite, &["--spool", "spool"][..]),
        (Kind::Postgres, &[]),
    ];
    for (kind, more) in ways {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv_with(more);
        listens_longer_than_a_new_suricata(&site, "sockserv");
        site.ids_sends_alerts(1..=5);
        site.ids_sends([serial::stats(0, 8)]);
        site.sockserv().says(
            "lost before sockserv: by Suricata's own count 3 of its alerts never came on sockserv, 3 since start",
        );
        site.database.reaches("SELECT sum(count) FROM flop_loss", 3);
        site.database.has_alerts(5);
        for program in ["sockserv", "servsock"] {
            let line = site.statistics_say(program, "lost before sockserv 3");
            assert!(line.contains("received 5 "), "{line}");
            assert!(line.contains("dropped 0 "), "{line}");
            let report = report(&site, program);
            let sensor = &report["sensors"][0];
            assert_eq!(sensor["lost_before"], 3, "{report}");
            assert_eq!(sensor["received"], 5, "{report}");
            assert_eq!(sensor["dropped"], 0, "{report}");
            // servsock looks at its counters every five seconds.
            eventually("it needs attention", || match ask(&site, program, &[]) {
                (Some(1), text) if text.contains("alerts were lost before sockserv") => Ok(()),
                (_, text) => Err(text),
            });
        }
        site.ids_sends([serial::stats(8, 8)]);
        site.ids_sends_alerts(6..=6);
        site.ids_sends([serial::stats(16, 9)]);
        site.stop();
        let (received, fates) = ledger(&site.database);
        assert_eq!(received, 6);
        let expected = [("stored".to_owned(), 6), (NEVER_CAME.to_owned(), 3)];
        assert_eq!(fates, expected, "told once");
    }
}

/// A site where something of each kind is lost: at HighWater, refused by sockserv, refused by the database, and before
/// sockserv. How many alerts Suricata raised, and how many of them came.
fn site_that_loses(kind: Kind) -> (Site, i64, i64) {
    let mut site = Site::empty(kind);
    site.start_servsock();
    site.start_sockserv_with(&["-H", "100", "-L", "90", "-q"]);
    listens_longer_than_a_new_suricata(&site, "sockserv");
    site.ids_sends_alerts(1..=1);
    site.database.has_alerts(1);
    site.database.execute(&match kind {
        Kind::Sqlite => String::from(
            "CREATE TRIGGER bad BEFORE INSERT ON iphdr WHEN NEW.ip_src = 167772160 + 2 \
             BEGIN SELECT raise(ABORT, 'bad one'); END",
        ),
        Kind::Postgres => {
            String::from("ALTER TABLE iphdr ADD CONSTRAINT bad CHECK (ip_src <> 167772160 + 2)")
        }
    });
    site.ids_sends_alerts(2..=3);
    site.database.has_alerts(2);
    site.servsock().kill();
    site.sockserv().says("no connection to servsock");
    site.ids_sends_alerts(4..=500);
    site.ids_sends([&b"{not json}"[..], b"no alert at all"]);
    site.ids_sends([serial::stats(0, 509)]);
    site.statistics_say("sockserv", "received 500 ");
    site.start_servsock();
    (site, 509, 502)
}

#[test]
fn the_ledger_in_the_database_is_whole_whatever_was_lost_and_over_a_restart_of_servsock() {
    for kind in BOTH {
        let (mut site, raised, came) = site_that_loses(kind);
        site.statistics_say("sockserv", "buffered 0");
        let before = raised - came;
        site.database.reaches(
            "SELECT sum(count) FROM flop_loss WHERE reason LIKE 'before%'",
            before,
        );
        site.stop();
        let (received, fates) = ledger(&site.database);
        assert_eq!(received, came, "stored + dropped = received: {fates:?}");
        assert_eq!(of(&fates, NEVER_CAME), before, "{fates:?}");
        assert_eq!(of(&fates, "refused: not JSON"), 1, "{fates:?}");
        assert_eq!(of(&fates, "refused: unknown length"), 1, "{fates:?}");
        assert_eq!(of(&fates, "refused by the database: "), 1, "{fates:?}");
        let stored = of(&fates, "stored");
        assert_eq!(stored + of(&fates, "HighWater"), 499, "{fates:?}");
        assert!(of(&fates, "HighWater") > 400, "{fates:?}");
        let line = site.sockserv().says("stopped: ");
        assert!(line.contains("refused 2 datagrams"), "{line}");
    }
}

#[test]
fn a_worker_that_drops_keeps_what_was_lost_before_apart() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock_with(&["-H", "100", "-L", "60", "-q"]);
    site.start_sockserv_with(&["-H", "100000", "-L", "90000"]);
    listens_longer_than_a_new_suricata(&site, "sockserv");
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    let lock = site.database.locked();
    site.ids_sends_alerts(2..=1_000);
    site.statistics_say("servsock", "received 1000 ");
    site.ids_sends([serial::stats(0, 1_007)]);
    site.sockserv().says("lost before sockserv: ");
    site.ids_sends_alerts(1_001..=3_000);
    site.statistics_say("servsock", "received 3000 ");
    site.ids_sends([serial::stats(8, 3_012)]);
    site.statistics_say("sockserv", "lost before sockserv 12");
    site.ids_sends_alerts(3_001..=5_000);
    site.statistics_say("servsock", "received 5000 ");
    drop(lock);
    site.statistics_say("sockserv", "buffered 0");
    site.database.reaches(
        "SELECT sum(count) FROM flop_loss WHERE reason LIKE 'before%'",
        12,
    );
    site.stop();
    let (received, fates) = ledger(&site.database);
    assert_eq!(received, 5_000, "{fates:?}");
    assert_eq!(of(&fates, NEVER_CAME), 12, "{fates:?}");
    assert!(of(&fates, "HighWater of servsock") > 4_000, "{fates:?}");
    let line = site.servsock().says("stopped: ");
    let dropped = format!("dropped {} ", of(&fates, "HighWater of servsock"));
    assert!(line.contains(&dropped), "{line}");
    assert!(line.contains("lost before sockserv 12"), "{line}");
}
