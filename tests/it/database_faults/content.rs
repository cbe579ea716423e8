//! What the database refuses for its content, and what only looks like it.

use super::{BEFORE, BOTH_WAYS, DURING, Waiting, begin, holds, is_over, site_in, start_servsock};
use crate::database::{BOTH, Database, Kind};
use crate::postgres_server::{Cluster, Stop};
use crate::site::Site;

/// `ip_src` of this serial number.
const FIRST: u32 = 10 << 24;

/// A trigger that refuses rows of `iphdr` for which `condition` holds (`NEW` is the row): when they are inserted, or
/// not before COMMIT.
fn refuses(database: &Database, condition: &str, at_commit: bool) {
    database.execute(&match database {
        Database::Sqlite(_) => format!(
            "CREATE TRIGGER refuses BEFORE INSERT ON iphdr WHEN {condition} \
             BEGIN SELECT raise(ABORT, 'not this one'); END"
        ),
        Database::Postgres(_) => {
            let (kind, when) = match at_commit {
                true => (
                    "CONSTRAINT TRIGGER",
                    "AFTER INSERT ON iphdr DEFERRABLE INITIALLY DEFERRED",
                ),
                false => ("TRIGGER", "BEFORE INSERT ON iphdr"),
            };
            format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
                 CREATE {kind} refuses {when} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
            )
        }
    });
}

fn takes_all_again(database: &Database) {
    database.execute(match database {
        Database::Sqlite(_) => "DROP TRIGGER refuses",
        Database::Postgres(_) => "DROP TRIGGER refuses ON iphdr",
    });
}

/// One alert in the middle of many, and one that comes alone.
#[test]
fn an_alert_that_a_trigger_refuses_becomes_a_loss_and_the_others_are_stored() {
    for (kind, at_commit) in [
        (Kind::Sqlite, false),
        (Kind::Postgres, false),
        (Kind::Postgres, true),
    ] {
        for waiting in BOTH_WAYS {
            let mut site = Site::empty(kind);
            begin(&mut site, waiting);
            let bad = format!("NEW.ip_src IN ({}, {})", FIRST + 300, FIRST + DURING);
            refuses(&site.database, &bad, at_commit);
            site.ids_sends_alerts(BEFORE + 1..=DURING - 1);
            site.database.has_alerts(DURING as usize - 2);
            site.ids_sends_alerts(DURING..=DURING);
            site.database.reaches("SELECT count(*) FROM flop_loss", 2);
            let reasons = site.database.lines("SELECT reason FROM flop_loss");
            for reason in reasons {
                assert!(reason.starts_with("refused by the database: "), "{reason}");
                assert!(reason.contains("not this one"), "{reason}");
            }
            site.servsock().says("is refused by the database: ");
            site.stop();
            let count = i64::from(DURING) - 2;
            for numbers in ["count(*)", "max(cid)"] {
                let sql = format!("SELECT {numbers} FROM event");
                assert_eq!(site.database.number(&sql), count, "{numbers}");
            }
        }
    }
}

/// The same words from the database, but it is no alert's fault: a trigger that is broken, a column that nobody fills.
#[test]
fn a_database_that_refuses_every_alert_is_away_and_none_becomes_a_loss() {
    for kind in BOTH {
        for at_commit in [false, true] {
            if kind == Kind::Sqlite && at_commit {
                continue; // There are no such triggers.
            }
            for waiting in BOTH_WAYS {
                let mut site = Site::empty(kind);
                begin(&mut site, waiting);
                refuses(&site.database, "NEW.ip_src > 0", at_commit);
                holds(&mut site, waiting, "not this one");
                takes_all_again(&site.database);
                is_over(&mut site, waiting);
            }
        }
    }
}

/// What waits in a swap shows it, not that the stream can be opened.
#[test]
fn a_server_that_comes_back_and_refuses_every_alert_is_not_told_as_back() {
    let mut cluster = Cluster::start();
    let mut site = site_in(&cluster);
    begin(&mut site, Waiting::InTheSwap);
    refuses(&site.database, "NEW.ip_src > 0", false);
    cluster.stop(Stop::Fast);
    site.servsock().kill();
    start_servsock(&mut site, Waiting::InTheSwap);
    site.ids_sends_alerts(BEFORE + 1..=DURING);
    site.servsock().says("alerts wait on disk, in");
    cluster.start_again();
    site.servsock().says("still away, after");
    takes_all_again(&site.database);
    is_over(&mut site, Waiting::InTheSwap);
}

/// Where nothing was stored before, one alert alone shows nothing: it waits for another one to be compared with.
#[test]
fn the_first_alert_of_all_is_no_loss_before_another_one_is_stored() {
    for kind in BOTH {
        for waiting in BOTH_WAYS {
            let mut site = Site::empty(kind);
            start_servsock(&mut site, waiting);
            refuses(
                &site.database,
                &format!("NEW.ip_src = {}", FIRST + 1),
                false,
            );
            site.start_sockserv();
            site.ids_sends_alerts(1..=1);
            site.servsock().says("not this one");
            assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
            site.ids_sends_alerts(2..=100);
            site.database.has_alerts(99);
            assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 1);
            site.stop();
        }
    }
}

/// PostgreSQL names it as a CHECK that failed.
#[test]
fn a_partition_that_is_missing_is_nothing_of_an_alert() {
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        begin(&mut site, waiting);
        site.database.execute(&format!(
            "ALTER TABLE iphdr RENAME TO iphdr_all; CREATE TABLE iphdr (LIKE iphdr_all) PARTITION BY RANGE (ip_src);
             CREATE TABLE iphdr_first PARTITION OF iphdr FOR VALUES FROM (0) TO ({});
             INSERT INTO iphdr SELECT * FROM iphdr_all",
            FIRST + BEFORE + 1
        ));
        holds(&mut site, waiting, "no partition of relation");
        site.database.execute(&format!(
            "CREATE TABLE iphdr_rest PARTITION OF iphdr FOR VALUES FROM ({}) TO ({})",
            FIRST + BEFORE + 1,
            u32::MAX
        ));
        is_over(&mut site, waiting);
    }
}
