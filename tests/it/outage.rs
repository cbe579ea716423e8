//! Programs, databases and connections that go and come back. Nothing is lost, nothing arrives twice.

use crate::client::Client;
use crate::database::{BOTH, Database, Kind};
use crate::postgres_server::{Cluster, Stop};
use crate::program::{eventually, is_alive, signal_to};
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;

/// A site whose PostgreSQL server is its own, for a test that stops it.
fn site_of(cluster: &Cluster) -> Site {
    let mut site = Site::empty(Kind::Sqlite);
    site.database = Database::Postgres(cluster.create_database());
    site
}

#[test]
fn postgresql_may_be_absent_at_start() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    cluster.stop(Stop::Fast);
    site.start_servsock();
    site.start_sockserv();
    site.ids_sends_alerts(1..=50);
    site.sockserv()
        .says("cannot reach its database; alerts wait here until it can");
    cluster.start_again();
    site.database_gets(1..=50);
    site.sockserv().says("has its database back");
    let servsock = site.servsock();
    servsock.says("the database takes alerts again, after");
    assert_eq!(servsock.lines_with("the database takes alerts again"), 1);
    site.stop();
    site.database_gets(1..=50);
}

#[test]
fn postgresql_may_be_stopped_and_started_while_alerts_flow() {
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        let mut cluster = Cluster::start();
        let mut site = site_of(&cluster);
        site.start_servsock();
        site.start_sockserv();
        site.ids_sends_alerts(1..=50);
        site.database_gets(1..=50);
        site.ids_sends_alerts(51..=1_000); // Some are on their way when the server goes.
        cluster.stop(how);
        site.ids_sends_alerts(1_001..=1_100);
        site.sockserv()
            .says("cannot reach its database; alerts wait here until it can");
        let workers = site.servsock().children();
        cluster.start_again();
        site.database_gets(1..=1_100);
        site.sockserv().says("has its database back");
        assert_eq!(site.servsock().children(), workers, "no process ended");
        for text in ["cannot reach its database", "has its database back"] {
            assert_eq!(site.sockserv().lines_with(text), 1, "{text}: told once");
        }
        assert_eq!(
            site.servsock()
                .lines_with("the database takes alerts again, after"),
            1
        );
        site.stop();
        site.database_gets(1..=1_100);
    }
}

#[test]
fn alerts_sent_while_servsock_is_down_arrive_once_it_is_back() {
    for kind in BOTH {
        let mut site = Site::without_servsock(kind);
        site.ids_sends_alerts(1..=100);
        site.sockserv().says("no connection to servsock at");
        site.start_servsock();
        site.database_gets(1..=100);
        site.sockserv()
            .says(" s without; 0 alerts were dropped since start");
        assert_eq!(
            site.sockserv().lines_with("no connection to servsock"),
            1,
            "told once"
        );
        site.stop();
    }
}

#[test]
fn servsock_may_be_killed_while_alerts_flow() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        site.ids_sends_alerts(1..=1_000);
        site.database.has_alerts(1);
        site.servsock().kill();
        site.ids_sends_alerts(1_001..=2_000);
        site.sockserv().says("no connection to servsock at");
        site.start_servsock();
        site.ids_sends_alerts(2_001..=3_000);
        site.database_gets(1..=3_000);
        site.sockserv()
            .says(" s without; 0 alerts were dropped since start");
        site.stop();
        site.database_gets(1..=3_000);
    }
}

/// An empty buffer waits for the next alert, but that the connection is lost is told at once.
#[test]
fn a_lost_connection_is_told_at_once_and_made_again_for_the_next_alert() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=10);
    site.statistics_say("sockserv", "sent 10 ");
    site.servsock().kill();
    let line = site.sockserv().says("no connection to servsock at");
    assert!(
        line.contains("it is made again when the next alert comes"),
        "{line}"
    );
    site.start_servsock();
    site.ids_sends_alerts(11..=11);
    site.database_gets(1..=11);
    site.stop();
}

#[test]
fn a_killed_worker_takes_nobody_with_it_and_its_sensors_alerts_arrive_once() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let mut other = site.another_sockserv("other", &[]);
        site.ids_sends_to("other", serial::alerts(1..=10));
        site.database.has_alerts(10);
        let worker_of_other = site.servsock().children();
        site.start_sockserv();
        site.ids_sends_alerts(1..=1_000);
        site.database.has_alerts(11);
        let mut workers = site.servsock().children();
        workers.retain(|pid| !worker_of_other.contains(pid));
        let [worker] = workers[..] else {
            panic!("one worker more: {workers:?}");
        };
        signal_to(worker, Signal::SIGKILL);
        site.ids_sends_alerts(1_001..=2_000);
        site.ids_sends_to("other", serial::alerts(11..=20));
        site.database.has_alerts(2_020);
        serial::are_stored(&site.database, "sensor", 1..=2_000);
        serial::are_stored(&site.database, "other", 1..=20);
        site.servsock()
            .says(&format!("worker {worker} ended with signal: 9"));
        assert!(is_alive(worker_of_other[0]), "the other's worker lives on");
        assert_eq!(other.lines_with("no connection"), 0);
        assert!(other.is_running());
        site.stop();
    }
}

#[test]
fn a_sensor_that_connects_again_while_its_worker_hangs_is_served_at_once() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        let mut old = Client::connect(&site);
        old.greets("sensor");
        old.sends(&Client::items_bytes(1, 1..=3));
        old.gets_acknowledged(3);
        let [worker] = site.servsock().children()[..] else {
            panic!("one worker");
        };
        signal_to(worker, Signal::SIGSTOP);
        old.sends(&Client::items_bytes(4, 4..=5)); // Nobody reads it.
        let start = std::time::Instant::now();
        let mut new = Client::connect(&site);
        assert_eq!(new.greets("sensor").stored, 3);
        new.sends(&Client::items_bytes(4, 4..=6));
        new.gets_acknowledged(6);
        assert!(
            start.elapsed().as_secs() < 5,
            "at once, but it took {:?}",
            start.elapsed()
        );
        eventually("the old worker ends", || match is_alive(worker) {
            true => Err(String::from("it lives")),
            false => Ok(()),
        });
        new.sends(&Client::items_bytes(7, 7..=7));
        new.gets_acknowledged(7);
        serial::are_stored(&site.database, "sensor", 1..=7);
    }
}

#[test]
fn a_signal_stops_sockserv_within_the_drain_time_also_while_servsock_is_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut site = Site::empty(Kind::Sqlite);
        site.start_sockserv_with(&["--drain", "1"]);
        site.ids_sends_alerts(1..=10);
        site.statistics_say("sockserv", "received 10 ");
        let start = std::time::Instant::now();
        let sockserv = site.sockserv();
        sockserv.signal(signal);
        assert_eq!(sockserv.exits().code(), Some(0));
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        sockserv.says(&format!("stopping: {signal}"));
        sockserv.says("stopped: received 10 [10], sent 0 [0], dropped 0 [0], buffered 10");
        sockserv.says("10 alerts could not be sent and are dropped (sockserv stops)");
        assert!(!site.path("sockserv").exists(), "the socket is removed");
        assert!(!site.path("sockserv.ctrl").exists(), "the FIFO is removed");
    }
}

#[test]
fn a_signal_stops_servsock_within_the_drain_time_also_while_its_database_is_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut cluster = Cluster::start();
        let mut site = site_of(&cluster);
        site.start_servsock_with(&["--drain", "1"]);
        site.start_sockserv();
        site.ids_sends_alerts(1..=10);
        site.database_gets(1..=10);
        cluster.stop(Stop::Fast);
        site.ids_sends_alerts(11..=20);
        site.sockserv().says("cannot reach its database");
        let start = std::time::Instant::now();
        let servsock = site.servsock();
        servsock.signal(signal);
        assert_eq!(servsock.exits().code(), Some(0));
        assert!(start.elapsed().as_secs() < 6, "{:?}", start.elapsed());
        servsock.says("stopped: received 20 [20], stored 10 [10], dropped 0 [0]");
        assert!(!site.path("servsock.ctrl").exists(), "the FIFO is removed");
        // The sensor still has what was not stored.
        cluster.start_again();
        site.start_servsock();
        site.database_gets(1..=20);
    }
}

#[test]
fn what_is_buffered_when_sockserv_stops_is_sent_while_the_drain_time_lasts() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_sockserv_with(&["--drain", "30"]);
        site.ids_sends_alerts(1..=100);
        site.sockserv().says("no connection to servsock at");
        site.sockserv().signal(Signal::SIGTERM);
        site.sockserv().says("stopping: SIGTERM");
        site.start_servsock();
        assert_eq!(site.sockserv().exits().code(), Some(0));
        site.sockserv()
            .says("stopped: received 100 [100], sent 100 [100], dropped 0 [0], buffered 0");
        site.database_gets(1..=100);
    }
}

#[test]
fn with_one_try_a_servsock_that_restarts_is_no_failed_try() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&["-M", "1"]);
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    site.servsock().signal(Signal::SIGHUP);
    site.servsock().says_times("servsock: ready", 2);
    site.sockserv().says("it said: servsock stops");
    site.ids_sends_alerts(11..=20);
    site.database_gets(1..=20);
    // The next servsock is not there: that is one.
    site.servsock().signal(Signal::SIGTERM);
    site.servsock().exits();
    site.ids_sends_alerts(21..=21);
    assert_eq!(site.sockserv().exits().code(), Some(1));
    site.sockserv().says("giving up");
}

#[test]
fn above_high_water_the_newest_are_dropped_counted_and_told() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_sockserv_with(&["-H", "100", "-L", "40"]);
        site.ids_sends_alerts(1..=100);
        let line = site.statistics_say("sockserv", "received 100 ");
        assert!(
            line.ends_with("sent 0 [0], dropped 0 [0], buffered 100"),
            "at HighWater: {line}"
        );
        site.ids_sends_alerts(101..=101);
        site.statistics_say("sockserv", "received 101 ");
        let line = site.statistics_say("sockserv", "dropped 61 ");
        assert!(
            line.contains("buffered 40"),
            "from HighWater + 1 down to LowWater: {line}"
        );
        site.sockserv()
            .says("HighWater is reached: the newest 61 alerts are dropped, 61 since start");
        site.ids_sends_alerts(102..=110);
        site.statistics_say("sockserv", "received 110 ");
        site.start_servsock();
        site.database.has_alerts(49);
        site.stop();
        // 1 to 40, then 102 to 110; the loss record tells of the others.
        let serials = site
            .database
            .query("SELECT ip_src - 167772160 FROM iphdr ORDER BY cid");
        let serials: Vec<u32> = serials
            .iter()
            .map(|row| {
                row[0]
                    .as_ref()
                    .and_then(|cell| cell.parse().ok())
                    .expect("a number")
            })
            .collect();
        let expected: Vec<u32> = (1..=40).chain(102..=110).collect();
        assert_eq!(serials, expected);
        let losses = site.database.query("SELECT count, reason FROM flop_loss");
        assert_eq!(
            losses,
            [[Some("61".to_owned()), Some("HighWater".to_owned())]]
        );
        site.sockserv()
            .says("stopped: received 110 [110], sent 49 [49], dropped 61 [61], buffered 0");
    }
}

#[test]
fn maxtry_and_waittime_end_sockserv_with_an_error_and_a_servsock_in_between_starts_the_count_anew()
{
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&["-M", "3", "-W", "1"]);
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    // In order: a worker outlives a killed master for a moment, and might take the next alerts.
    site.servsock().signal(Signal::SIGTERM);
    assert_eq!(site.servsock().exits().code(), Some(0));
    site.sockserv().says("no connection to servsock at");
    site.ids_sends_alerts(11..=12);
    let sockserv = site.sockserv();
    assert_eq!(sockserv.exits().code(), Some(1));
    sockserv.says("giving up: servsock was not reached in as many tries as -M allows");
    sockserv.says("2 alerts could not be sent and are dropped (servsock unreachable)");
    sockserv.says("stopped: received 12 [12], sent 10 [10], dropped 0 [0], buffered 2");
    assert!(!site.path("sockserv").exists(), "the socket is removed");
}
