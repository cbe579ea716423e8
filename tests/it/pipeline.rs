//! Alerts go in at the IDS's socket and come out of the database: all of them, in order, once.

use crate::database::{BOTH, Kind};
use crate::program::Program;
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;

#[test]
fn alerts_arrive_in_order_and_once() {
    for kind in BOTH {
        let mut site = Site::new(kind);
        site.ids_sends_alerts(1..=100);
        site.database_gets(1..=100);
        site.stop();
        site.database_gets(1..=100);
    }
}

#[test]
fn one_sockserv_may_serve_several_sockets() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv_with(&["-s", "second"]);
        site.ids_sends_alerts(1..=50);
        site.database_gets(1..=50);
        site.ids_sends_to("second", serial::alerts(51..=100));
        site.database_gets(1..=100);
        site.stop();
        assert!(!site.path("sockserv").exists() && !site.path("second").exists());
    }
}

#[test]
fn what_is_on_screen_at_start_tells_where_alerts_go_and_the_id_of_the_first() {
    let mut site = Site::new(Kind::Sqlite);
    let address = site.address();
    let log = site.sockserv().log();
    for text in [
        "listening for alerts on sockserv".to_owned(),
        format!("sending to {address} as sensor sensor"),
        "the kernel queues".to_owned(),
        "net.unix.max_dgram_qlen".to_owned(),
        "net.core.wmem_default".to_owned(),
        "durable: no".to_owned(),
    ] {
        assert!(log.contains(&text), "{text}");
    }
    site.ids_sends_alerts(1..=1);
    site.sockserv()
        .says("the first alert of Suricata came on sockserv");
    site.sockserv()
        .says("the first alert is in the database: sid 1, cid 1");
    site.servsock()
        .says("sensor \"sensor\" came from 127.0.0.1:");
    site.stop();
    site.servsock().says("sensor \"sensor\" left after");
}

#[test]
fn a_hundred_thousand_alerts_of_one_sensor_are_all_in_sqlite() {
    a_hundred_thousand_of_each(1, Kind::Sqlite);
}

#[test]
fn a_hundred_thousand_alerts_of_one_sensor_are_all_in_postgresql() {
    a_hundred_thousand_of_each(1, Kind::Postgres);
}

#[test]
fn a_hundred_thousand_alerts_of_each_of_eight_sensors_are_all_in_sqlite() {
    a_hundred_thousand_of_each(8, Kind::Sqlite);
}

#[test]
fn a_hundred_thousand_alerts_of_each_of_eight_sensors_are_all_in_postgresql() {
    a_hundred_thousand_of_each(8, Kind::Postgres);
}

/// As fast as the sockets take them. HighWater is above that number: the claim is that nothing gets lost on the way,
/// not that nothing is dropped at the limit which the operator set.
fn a_hundred_thousand_of_each(sensors: usize, kind: Kind) {
    const ALERTS: u32 = 100_000;
    let mut site = Site::empty(kind);
    site.start_servsock();
    let names: Vec<String> = (1..=sensors)
        .map(|number| format!("sensor{number}"))
        .collect();
    let mut sockservs: Vec<Program> = names
        .iter()
        .map(|name| {
            site.another_sockserv(name, &["-H", "200000", "-L", "199000", "--drain", "300"])
        })
        .collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| site.ids_sends_to(name, serial::alerts(1..=ALERTS)));
        }
    });
    // Stopping is asked for while most alerts are still on their way: "--drain" is long enough for them.
    for sockserv in &mut sockservs {
        sockserv.signal(Signal::SIGTERM);
    }
    for sockserv in &mut sockservs {
        let status = sockserv.exits_within(std::time::Duration::from_secs(300));
        assert_eq!(status.code(), Some(0));
        sockserv.says(&format!(
            "received {ALERTS} [{ALERTS}], sent {ALERTS} [{ALERTS}], dropped 0 [0], buffered 0"
        ));
    }
    for name in &names {
        serial::are_stored(&site.database, name, 1..=ALERTS);
    }
    assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
}
