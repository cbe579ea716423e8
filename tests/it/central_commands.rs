//! servsock's commands that reach its workers, and what it says of its sensors.

use crate::client::Client;
use crate::database::Kind;
use crate::program::{Program, eventually};
use crate::serial;
use crate::site::Site;
use flop::status::Report;
use flop::wire::frame::{Frame, Heartbeat};

/// Two sensors whose alerts 1 are stored.
fn site_of_two() -> (Site, [Program; 2]) {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let sensors = ["web1", "web2"].map(|name| site.another_sockserv(name, &[]));
    for name in ["web1", "web2"] {
        site.ids_sends_to(name, serial::alerts(1..=1));
    }
    site.database.has_alerts(2);
    (site, sensors)
}

fn command(site: &mut Site, command: &str, answer: &str) {
    site.commands("servsock.ctrl", command);
    site.servsock().says(answer);
}

/// What the worker of a sensor holds, from the statistics.
fn buffered(site: &mut Site, sensor: &str) -> u64 {
    let begin = format!("servsock: sensor \"{sensor}\": received ");
    let before = site.servsock().lines_with(&begin);
    site.commands("servsock.ctrl", "stats");
    site.servsock().says_times(&begin, before + 1);
    let log = site.servsock().log();
    let line = log
        .lines()
        .rfind(|line| line.starts_with(&begin))
        .expect("it was seen");
    line.rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect(line)
}

#[test]
fn marks_of_one_sensor_reach_its_worker_and_no_other() {
    let (mut site, mut sensors) = site_of_two();
    command(
        &mut site,
        "low 5 web1",
        "HighWater is 10000, LowWater is 5, for sensor \"web1\"",
    );
    command(
        &mut site,
        "high 10 web1",
        "HighWater is 10, LowWater is 5, for sensor \"web1\"",
    );
    command(
        &mut site,
        "high 10 web9",
        "refused: no sensor \"web9\" has come since servsock's start",
    );
    let lock = site.database.locked();
    for name in ["web1", "web2"] {
        site.ids_sends_to(name, serial::alerts(2..=1_001));
    }
    for sensor in &mut sensors {
        sensor.says("cannot reach its database; alerts wait here");
    }
    eventually("web2 is read to the end", || {
        match buffered(&mut site, "web2") {
            1_000 => Ok(()),
            other => Err(format!("{other} are buffered")),
        }
    });
    let pushed_back = buffered(&mut site, "web1");
    assert!((10..500).contains(&pushed_back), "{pushed_back}");
    drop(lock);
    site.database.has_alerts(2_002);
    // They hold for its next connection as well, until general ones are set.
    site.servsock().says("the database takes alerts again");
    command(
        &mut site,
        "disconnect web1",
        "sensor \"web1\" is disconnected; its sockserv comes back by itself",
    );
    site.servsock().says("sensor \"web1\" left after");
    site.ids_sends_to("web1", serial::alerts(1_002..=1_002));
    site.database.has_alerts(2_003);
    command(
        &mut site,
        "config",
        "# sensor \"web1\": HighWater 10, LowWater 5",
    );
    let lock = site.database.locked();
    site.ids_sends_to("web1", serial::alerts(1_003..=2_002));
    sensors[0].says_times("alerts wait here", 2);
    let pushed_back = buffered(&mut site, "web1");
    assert!((10..500).contains(&pushed_back), "{pushed_back}");
    command(
        &mut site,
        "high 20000",
        "HighWater is 20000, LowWater is 9900, for all sensors",
    );
    eventually("web1 is read to the end", || {
        match buffered(&mut site, "web1") {
            1_000 => Ok(()),
            other => Err(format!("{other} are buffered")),
        }
    });
    drop(lock);
    site.database.has_alerts(3_003);
}

#[test]
fn a_disconnected_sensor_shows_the_reason_and_comes_back() {
    let mut site = Site::new(Kind::Sqlite);
    command(
        &mut site,
        "disconnect nobody",
        "refused: no sensor \"nobody\" has come",
    );
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    command(
        &mut site,
        "disconnect sensor",
        "sensor \"sensor\" is disconnected; its sockserv comes back by itself",
    );
    site.sockserv().says("disconnected by servsock's operator");
    site.servsock().says("left after");
    site.ids_sends_alerts(11..=20);
    site.database_gets(1..=20);
    site.servsock().says_times("sensor \"sensor\" came from", 2);
    site.stop();
}

#[test]
fn a_debug_level_reaches_workers_that_run_and_those_to_come() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    command(
        &mut site,
        "debug db 3",
        "debug level of db is 3, here and in all workers",
    );
    site.ids_sends_alerts(2..=2);
    site.servsock().says("items are committed up to number 2");
    site.commands("servsock.ctrl", "disconnect sensor");
    site.servsock().says("left after");
    site.ids_sends_alerts(3..=3);
    site.servsock().says("items are committed up to number 3");
    command(&mut site, "config", "servsock: Debug: db,3");
    command(&mut site, "debug all 0", "debug level of all is 0");
    site.ids_sends_alerts(4..=4);
    site.database_gets(1..=4);
    assert_eq!(site.servsock().lines_with("committed up to number 4"), 0);
}

#[test]
fn config_prints_what_is_in_force_now_without_secrets() {
    let mut site = Site::new(Kind::Sqlite);
    for (line, answer) in [
        ("stats every 3600", "servsock: statistics come every 3600 s"),
        ("quiet on", "dropped, and only counted"),
        ("priority 7", "priority 1 to 7"),
        ("alertsocket /run/alert", "go to alert socket /run/alert"),
        ("low 50", "LowWater is 50, for all sensors"),
    ] {
        command(&mut site, line, answer);
    }
    for line in [
        "LowWater: 50",
        "Quiet: yes",
        "UnixPriority: 7",
        "AlertSocket: /run/alert",
        "Statistics: 3600",
    ] {
        command(&mut site, "config", &format!("servsock: {line}"));
    }
    command(
        &mut site,
        "stats every off",
        "servsock: statistics come only when asked for",
    );
}

#[test]
fn statistics_have_a_line_for_each_connected_sensor() {
    let (mut site, sensors) = site_of_two();
    site.ids_sends_to("web1", serial::alerts(2..=5));
    site.database.has_alerts(6);
    site.statistics_say("servsock", "stored 6 [");
    eventually("each sensor has its line", || {
        site.commands("servsock.ctrl", "stats");
        let log = site.servsock().log();
        let has = |text: &str| log.lines().any(|line| line.ends_with(text));
        match has("sensor \"web1\": received 5 [0], stored 5 [0], dropped 0 [0], buffered 0")
            && has("sensor \"web2\": received 1 [0], stored 1 [0], dropped 0 [0], buffered 0")
        {
            true => Ok(()),
            false => Err(log),
        }
    });
    drop(sensors);
    site.servsock().says_times("left after", 2);
    let before = site.servsock().lines_with("servsock: sensor \"web");
    site.commands("servsock.ctrl", "stats");
    site.statistics_say("servsock", "received 6 [0]");
    assert_eq!(
        site.servsock().lines_with("servsock: sensor \"web"),
        before,
        "none is connected"
    );
}

#[test]
fn a_heartbeat_tells_when_the_ids_was_heard_by_servsocks_clock() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let mut client = Client::connect(&site);
    client.greets("sensor");
    client.sends_frame(&Frame::Heartbeat(Heartbeat {
        now_us: 7_000_000,
        heard_us: 4_000_000,
        received: 3,
        dropped: 0,
        buffered: 0,
        spooled: 0,
        oldest_us: 0,
    }));
    eventually("servsock's report says so", || {
        let report = report(&site);
        let state = &report.sensors[0];
        assert_eq!((state.name.as_str(), &state.down), ("sensor", &None));
        assert!(state.address.starts_with("127.0.0.1:"), "{}", state.address);
        match state.heard_us.map(|heard| report.now_us - heard) {
            Some(ago) if (3_000_000..63_000_000).contains(&ago) => Ok(()),
            other => Err(format!("heard {other:?} us ago")),
        }
    });
}

/// What servsock says of all sensors.
fn report(site: &Site) -> Report {
    let log = site.path("status.log");
    let _ = std::fs::remove_file(&log);
    let args = ["--status", "--json", "--control", "servsock.ctrl"];
    let mut asked = site.run("servsock", "status", &args);
    asked.exits();
    let text = asked.log();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
