//! `-W`: what arrives while the database is away waits on servsock's disk, acknowledged.

use crate::client::Client;
use crate::database::{Database, Kind};
use crate::postgres_server::{Cluster, Stop};
use crate::program::{ends, eventually, signal_to};
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;
use std::fs;

fn site_of(cluster: &Cluster) -> Site {
    let mut site = Site::empty(Kind::Sqlite);
    site.database = Database::Postgres(cluster.create_database());
    fs::create_dir(site.path("swap")).expect("a folder");
    site
}

/// The names of the sensors that have something in the swap.
fn swapped(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path("swap"))
        .expect("the folder")
        .flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.collect()
}

fn is_empty(site: &Site) {
    eventually("the swap is empty", || match swapped(site).as_slice() {
        [] => Ok(()),
        names => Err(format!("{names:?} are there")),
    });
}

/// Waits until the sensor has forgotten all that it had: it is safe at servsock.
fn all_is_acknowledged(site: &Site, sent: u32) {
    site.statistics_say("sockserv", &format!("sent {sent} ["));
}

#[test]
fn alerts_wait_on_disk_while_the_database_is_away_and_are_stored_before_newer_ones() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=100);
    site.database_gets(1..=100);
    cluster.stop(Stop::Immediate);
    site.ids_sends_alerts(101..=5_000);
    all_is_acknowledged(&site, 5_000);
    assert_eq!(swapped(&site), ["servsock_swap_sensor"]);
    site.servsock()
        .says("alerts wait on disk, in swap/servsock_swap_sensor/");
    cluster.start_again();
    site.ids_sends_alerts(5_001..=6_000);
    site.database_gets(1..=6_000);
    site.servsock()
        .says("what waited on disk is in the database");
    is_empty(&site);
    assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
    // And once more: it is no matter of the first time.
    cluster.stop(Stop::Fast);
    site.ids_sends_alerts(6_001..=6_100);
    all_is_acknowledged(&site, 6_100);
    cluster.start_again();
    site.database_gets(1..=6_100);
    is_empty(&site);
}

#[test]
fn a_database_that_is_away_at_the_start_is_no_reason_to_wait() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    cluster.stop(Stop::Fast);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=500);
    all_is_acknowledged(&site, 500);
    cluster.start_again();
    site.database_gets(1..=500);
    is_empty(&site);
}

#[test]
fn what_is_on_disk_survives_kill_9_and_is_stored_also_when_its_sensor_never_comes_back() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    cluster.stop(Stop::Immediate);
    site.ids_sends_alerts(11..=2_000);
    all_is_acknowledged(&site, 2_000);
    let workers = site.servsock().children();
    site.servsock().kill();
    for worker in workers {
        ends(worker);
    }
    site.sockserv().kill();
    cluster.start_again();
    site.start_servsock_with(&["-W", "swap"]);
    site.database_gets(1..=2_000);
    is_empty(&site);
}

#[test]
fn a_sensor_that_leaves_while_the_database_is_away_leaves_nothing_behind() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    cluster.stop(Stop::Fast);
    site.ids_sends_alerts(11..=300);
    all_is_acknowledged(&site, 300);
    site.sockserv().signal(Signal::SIGTERM);
    assert_eq!(site.sockserv().exits().code(), Some(0));
    site.servsock().says("sensor \"sensor\" left");
    // It comes back as another stream, and is served while the first one's alerts wait.
    site.start_sockserv();
    site.ids_sends_alerts(301..=400);
    all_is_acknowledged(&site, 100);
    cluster.start_again();
    site.database.has_alerts(400);
    is_empty(&site);
    let streams = site.database.number("SELECT count(*) FROM flop_stream");
    assert_eq!(streams, 2);
    let distinct = "SELECT count(DISTINCT ip_src) FROM iphdr";
    assert_eq!(site.database.number(distinct), 400);
}

#[test]
fn sockservs_restarts_and_servsocks_find_the_swap_again() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    cluster.stop(Stop::Fast);
    site.ids_sends_alerts(1..=100);
    all_is_acknowledged(&site, 100);
    site.servsock().signal(Signal::SIGHUP);
    site.servsock().says_times("servsock: ready", 2);
    site.ids_sends_alerts(101..=200);
    all_is_acknowledged(&site, 200);
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", 2);
    site.ids_sends_alerts(201..=300);
    cluster.start_again();
    site.database_gets(1..=300);
    serial::are_stored(&site.database, "sensor", 1..=300);
    is_empty(&site);
}

#[test]
fn a_swap_that_cannot_be_used_refuses_the_start() {
    let site = Site::empty(Kind::Sqlite);
    fs::write(site.path("file"), "").expect("a file");
    for (dir, why) in [("absent", "No such file"), ("file", "it is no directory")] {
        let mut servsock = site.run("servsock", dir, &["-p", "0", "-W", dir]);
        assert_eq!(servsock.exits().code(), Some(1));
        servsock.says(&format!("cannot keep alerts in {dir} (-W): {why}"));
    }
}

#[test]
fn a_swap_that_is_full_leaves_the_rest_to_the_sensor_and_empties_all_the_same() {
    const ALERTS: u32 = 60_000;
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap", "--swap-max", "16M"]);
    site.start_sockserv_with(&["-H", "1000000", "-L", "900000"]);
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    cluster.stop(Stop::Fast);
    site.ids_sends_alerts(11..=ALERTS);
    site.servsock().says("the most that is allowed");
    cluster.start_again();
    site.database_gets(1..=ALERTS);
    is_empty(&site);
    site.stop();
    serial::are_stored(&site.database, "sensor", 1..=ALERTS);
    assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
}

#[test]
fn alerts_that_come_again_because_their_acknowledgement_was_lost_are_not_taken_for_new_ones() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    site.start_servsock_with(&["-W", "swap"]);
    let mut client = Client::connect(&site);
    client.greets("sensor");
    client.sends(&Client::items_bytes(1, 1..=100));
    client.gets_acknowledged(100);
    cluster.stop(Stop::Fast);
    drop(client);
    // As a sensor that never got that acknowledgement.
    let mut client = Client::connect(&site);
    assert_eq!(client.greets("sensor").stored, 0);
    client.sends(&Client::items_bytes(1, 1..=50));
    client.gets_acknowledged(50);
    cluster.start_again();
    site.servsock().says("the database takes alerts again");
    client.sends(&Client::items_bytes(51, 51..=120));
    client.gets_acknowledged(120);
    site.database.has_alerts(120);
    serial::are_stored(&site.database, "sensor", 1..=120);
    is_empty(&site);
}

#[test]
fn a_process_that_empties_what_was_left_and_is_killed_is_started_again() {
    let mut cluster = Cluster::start();
    let mut site = site_of(&cluster);
    cluster.stop(Stop::Fast);
    site.start_servsock_with(&["-W", "swap"]);
    site.start_sockserv();
    site.ids_sends_alerts(1..=100);
    all_is_acknowledged(&site, 100);
    site.servsock().kill();
    site.sockserv().kill();
    // No sensor has come to this one: nothing else wakes it.
    site.start_servsock_with(&["-W", "swap"]);
    let emptier = eventually("it is there", || match site.servsock().children()[..] {
        [emptier] => Ok(emptier),
        ref others => Err(format!("{others:?} are")),
    });
    signal_to(emptier, Signal::SIGKILL);
    ends(emptier);
    cluster.start_again();
    site.database_gets(1..=100);
    is_empty(&site);
}
