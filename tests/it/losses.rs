//! What is lost is told, and recorded in the database, whatever happens to the record itself.

use crate::client::Client;
use crate::database::{BOTH, Kind};
use crate::site::Site;
use flop::wire::{Loss, item};
use nix::sys::signal::Signal;

fn losses(site: &Site) -> i64 {
    site.database
        .number("SELECT coalesce(sum(count), 0) FROM flop_loss")
}

#[test]
fn a_refused_datagram_is_recorded_also_when_no_alert_comes() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        site.ids_sends([b"no alert at all"]);
        site.database.reaches("SELECT sum(count) FROM flop_loss", 1);
        site.stop();
        let rows = site.database.query("SELECT count, reason FROM flop_loss");
        let reason = "refused: unknown length";
        assert_eq!(rows, [[Some("1".to_owned()), Some(reason.to_owned())]]);
    }
}

#[test]
fn a_loss_is_sent_before_sockserv_stops() {
    let mut site = Site::without_servsock(Kind::Sqlite);
    site.ids_sends([b"no alert at all"]);
    site.sockserv().says("refused a datagram on sockserv");
    site.start_servsock();
    site.sockserv().signal(Signal::SIGTERM);
    assert_eq!(site.sockserv().exits().code(), Some(0));
    assert_eq!(losses(&site), 1);
}

#[test]
fn a_flood_while_the_database_is_locked_leaves_few_records_of_all_that_is_dropped() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&["-H", "100", "-L", "90", "-q"]);
    site.ids_sends_alerts(1..=1);
    site.database.has_alerts(1);
    let lock = site.database.locked();
    site.ids_sends_alerts(2..=5_000);
    site.statistics_say("sockserv", "received 5000 ");
    drop(lock);
    site.statistics_say("sockserv", "buffered 0");
    site.stop();
    let stored = site.database.number("SELECT count(*) FROM event");
    assert!(stored < 5_000, "something was dropped");
    assert_eq!(stored + losses(&site), 5_000, "received = stored + dropped");
    let records = site.database.number("SELECT count(*) FROM flop_loss");
    assert!(records < 20, "{records} records");
}

#[test]
fn a_loss_that_the_database_refuses_waits_until_it_is_taken() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=1);
    site.database.has_alerts(1);
    site.database.execute(
        "CREATE TRIGGER no_loss BEFORE INSERT ON flop_loss BEGIN SELECT raise(ABORT, 'not here'); END",
    );
    site.ids_sends([b"no alert at all"]);
    site.servsock().says("not here");
    let workers = site.servsock().children();
    site.ids_sends_alerts(2..=3);
    site.database.execute("DROP TRIGGER no_loss");
    site.database_gets(1..=3);
    site.servsock()
        .says("the database takes alerts again, after");
    assert_eq!(site.servsock().children(), workers, "no process ended");
    assert_eq!(site.servsock().lines_with("not here"), 1, "told once");
    assert_eq!(losses(&site), 1);
    site.stop();
}

#[test]
fn an_alert_that_the_database_refuses_is_recorded_and_the_others_are_stored() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        site.ids_sends_alerts(1..=1);
        site.database.has_alerts(1);
        let bad = "ip_src = 167772160 + 250";
        site.database.execute(&match kind {
            Kind::Sqlite => format!(
                "CREATE TRIGGER bad BEFORE INSERT ON iphdr WHEN NEW.{bad} \
                     BEGIN SELECT raise(ABORT, 'bad one'); END"
            ),
            Kind::Postgres => format!("ALTER TABLE iphdr ADD CONSTRAINT bad CHECK (NOT {bad})"),
        });
        site.ids_sends_alerts(2..=500);
        site.database.has_alerts(499);
        site.stop();
        assert_eq!(site.database.number("SELECT count(*) FROM event"), 499);
        assert_eq!(site.database.number("SELECT max(cid) FROM event"), 499);
        assert_eq!(losses(&site), 1);
        let reason = site.database.query("SELECT reason FROM flop_loss")[0][0].clone();
        let reason = reason.expect("a text");
        assert!(reason.starts_with("refused by the database: "), "{reason}");
        site.servsock().says("is refused by the database");
    }
}

#[test]
fn an_item_that_cannot_be_decoded_is_told_and_recorded_and_a_newer_one_refused() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let mut client = Client::connect(&site);
    client.greets("sensor");
    let mut items = Client::items_bytes(1, 1..=1);
    let kind_of_ids = 8 + 12 + 6;
    items[kind_of_ids] = 99;
    client.sends(&items);
    client.gets_acknowledged(1);
    site.servsock()
        .says("an alert cannot be decoded: an alert of the unknown IDS kind 99; recorded as lost");
    assert_eq!(losses(&site), 1);
    let mut items = Client::items_bytes(2, 2..=2);
    let version = 8 + 12 + 5;
    items[version] = 2;
    client.sends(&items);
    let reason = client.is_refused();
    assert!(
        reason.contains("an item of version 2, version 1 is known here"),
        "{reason}"
    );
    assert_eq!(losses(&site), 1, "the sensor keeps it");
}

#[test]
fn an_impossible_count_of_losses_is_not_believed() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    for number in 1..=2 {
        let mut bytes = Vec::new();
        let loss = Loss {
            count: u64::MAX,
            from_us: 0,
            to_us: 0,
            reason: "x".into(),
        };
        item::put_loss(&mut bytes, &loss);
        let mut client = Client::connect(&site);
        client.greets("sensor");
        client.sends_frame(&flop::wire::frame::Frame::Items {
            first: number,
            count: 1,
            bytes: &bytes,
        });
        client.gets_acknowledged(number);
    }
    site.statistics_say("servsock", "dropped 2 [");
    site.stop();
}
