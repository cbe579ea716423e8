//! HighWater of a worker: it stops reading its sensor's connection, the sensor buffers, and nothing is lost.

use crate::client::Client;
use crate::database::Kind;
use crate::serial;
use crate::site::Site;
use flop::buffer::CHUNK_BYTES;
use flop::wire::frame::{HEADER_BYTES, ITEMS_HEADER_BYTES};

const HIGH: usize = 10;

#[test]
fn a_worker_at_high_water_pushes_back() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock_with(&["-H", "10", "-L", "5"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    is_pushed_back_while_the_database_is_locked(&mut site);
}

#[test]
fn marks_set_at_run_time_reach_a_running_worker() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    for (command, answer) in [
        ("low 5", "HighWater is 10000, LowWater is 5, for all"),
        ("high 10", "HighWater is 10, LowWater is 5, for all"),
    ] {
        site.commands("servsock.ctrl", command);
        site.servsock().says(answer);
    }
    // Answered behind the marks by the same thread: so the worker has them before the next alerts.
    site.statistics_say("servsock", "stored 1 ");
    is_pushed_back_while_the_database_is_locked(&mut site);
}

/// A frame is looked at whole, so what one holds may come on top of the last alert below HighWater. sockserv fills a
/// frame up to `CHUNK_BYTES`.
fn most_buffered() -> usize {
    let item = Client::items_bytes(1, 1..=1).len() - HEADER_BYTES - ITEMS_HEADER_BYTES;
    HIGH - 1 + CHUNK_BYTES / item
}

fn is_pushed_back_while_the_database_is_locked(site: &mut Site) {
    assert!(most_buffered() < 500, "or the numbers below show nothing");
    let lock = site.database.locked();
    site.ids_sends_alerts(2..=1_001);
    site.statistics_say("sockserv", "received 1001 ");
    // SQLite gave up long after all that was going to be read had been read.
    site.sockserv()
        .says("cannot reach its database; alerts wait here");
    let line = site.statistics_say("servsock", "stored 1 [0], dropped 0 [0], buffered ");
    let buffered: usize = line
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    assert!(
        (HIGH..=most_buffered()).contains(&buffered),
        "{HIGH} to {}: {line}",
        most_buffered()
    );
    drop(lock);
    site.database_gets(1..=1_001);
    site.stop();
    for name in ["sockserv", "servsock"] {
        let log = match name {
            "sockserv" => site.sockserv().says("stopped: "),
            _ => site.servsock().says("stopped: "),
        };
        assert!(log.contains("received 1001 [1001], "), "{log}");
        assert!(log.ends_with("dropped 0 [0], buffered 0"), "{log}");
    }
    serial::are_stored(&site.database, "sensor", 1..=1_001);
    assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
}
