//! What sockserv's commands change while it runs, and where their answers go.

use crate::database::{Database, Kind};
use crate::program::{Program, eventually};
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn says(site: &mut Site, command: &str, answer: &str) {
    site.commands("sockserv.ctrl", command);
    site.sockserv().says(answer);
}

/// A second servsock with a database of its own, and the port it listens on.
fn another_servsock(site: &Site) -> (Program, String, Database) {
    let database = Database::Sqlite(site.path("second.db"));
    let db = database.url();
    let args = ["-p", "0", "--db", &db, "--control", "second.ctrl"];
    let mut servsock = site.run("servsock", "second", &args);
    let line = servsock.says("listening for sensors on ");
    servsock.says("servsock: ready");
    let (_, port) = line.rsplit_once(':').expect("an address");
    (servsock, port.to_owned(), database)
}

/// A drop socket whose reader is this test.
fn drop_socket(site: &Site) -> UnixDatagram {
    let socket = UnixDatagram::bind(site.path("drops")).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    socket
}

fn next_record(drops: &UnixDatagram) -> serde_json::Value {
    let mut record = [0; 16_384];
    let bytes = drops.recv(&mut record).expect("a record");
    serde_json::from_slice(&record[..bytes]).expect("JSON")
}

fn number_of_losses(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM flop_loss")
}

#[test]
fn server_moves_the_sensor_to_another_servsock_and_back_and_loses_nothing() {
    let mut site = Site::new(Kind::Sqlite);
    let (_second, port, other) = another_servsock(&site);
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    let moved = format!("server 127.0.0.1:{port}");
    let answer = format!("servsock is at 127.0.0.1:{port} from now on");
    says(&mut site, &moved, &answer);
    let connected = format!("connected to servsock at 127.0.0.1:{port}");
    site.sockserv().says(&connected);
    site.ids_sends_alerts(11..=20);
    other.has_alerts(10);
    serial::are_stored(&other, "sensor", 11..=20);
    // The port stays where none is given; so here it is.
    let back = format!("server {}", site.address());
    let answer = format!("is at {} from now on", site.address());
    says(&mut site, &back, &answer);
    site.ids_sends_alerts(21..=30);
    site.database.has_alerts(20);
    site.stop();
    assert_eq!(site.database.number("SELECT count(*) FROM event"), 20);
    assert_eq!(other.number("SELECT count(*) FROM event"), 10);
    assert_eq!(
        number_of_losses(&site.database),
        0,
        "no gap on the way back"
    );
    assert_eq!(number_of_losses(&other), 0);
}

#[test]
fn alerts_that_wait_for_a_servsock_that_is_gone_go_to_the_other_one() {
    let mut site = Site::without_servsock(Kind::Sqlite);
    site.ids_sends_alerts(1..=10);
    site.sockserv().says("no connection to servsock at");
    let (_second, port, other) = another_servsock(&site);
    site.commands("sockserv.ctrl", &format!("server localhost:{port}"));
    other.has_alerts(10);
    serial::are_stored(&other, "sensor", 1..=10);
    assert_eq!(number_of_losses(&other), 0);
}

#[test]
fn reconnect_makes_a_new_connection_at_once_also_when_nothing_waits() {
    let mut site = Site::new(Kind::Sqlite);
    site.sockserv().says("connected to servsock at");
    says(&mut site, "reconnect", "is made anew");
    site.sockserv().says_times("connected to servsock at", 2);
    site.servsock().kill();
    site.sockserv()
        .says("it is made again when the next alert comes");
    site.start_servsock();
    says(&mut site, "reconnect", "is made anew");
    site.sockserv().says_times("connected to servsock at", 3);
}

#[test]
fn maxtry_that_is_set_while_servsock_is_away_ends_sockserv_when_it_is_used_up() {
    let mut site = Site::without_servsock(Kind::Sqlite);
    let drops = drop_socket(&site);
    site.ids_sends_alerts(1..=2);
    site.sockserv().says("no connection to servsock at");
    says(
        &mut site,
        "dropsocket drops",
        "dropped alerts go to drop socket drops",
    );
    says(
        &mut site,
        "wait 1",
        "1 s between two tries to reach servsock",
    );
    says(
        &mut site,
        "maxtry 1",
        "after 1 tries without success it gives up",
    );
    assert_eq!(site.sockserv().exits().code(), Some(1));
    site.sockserv()
        .says("2 alerts could not be sent and are dropped (servsock unreachable)");
    site.sockserv()
        .says("stopped: received 2 [2], sent 0 [0], dropped 0 [0], buffered 2");
    for source in ["10.0.0.1", "10.0.0.2"] {
        let record = next_record(&drops);
        assert_eq!(record["src"], source);
        assert_eq!(record["reason"], "servsock unreachable");
    }
    assert!(!site.path("sockserv").exists(), "the socket is removed");
}

#[test]
fn wait_and_maxtry_are_switched_off_again() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&["-M", "2", "-W", "3600"]);
    site.ids_sends_alerts(1..=2);
    site.sockserv().says("no connection to servsock at");
    says(
        &mut site,
        "maxtry off",
        "it tries to reach servsock for ever",
    );
    // The pause that runs would last an hour.
    says(
        &mut site,
        "wait off",
        "1 s between two tries to reach servsock, growing to 30 s",
    );
    site.start_servsock();
    site.database_gets(1..=2);
}

#[test]
fn the_drop_socket_is_switched_and_silenced_while_alerts_are_dropped() {
    let mut site = Site::empty(Kind::Sqlite);
    let drops = drop_socket(&site);
    site.start_sockserv_with(&["-H", "4", "-L", "2"]);
    says(
        &mut site,
        "dropsocket drops",
        "dropped alerts go to drop socket drops",
    );
    site.ids_sends_alerts(1..=5);
    for source in ["10.0.0.3", "10.0.0.4", "10.0.0.5"] {
        assert_eq!(next_record(&drops)["src"], source);
    }
    says(
        &mut site,
        "quiet on",
        "only counted; after `quiet off` they go to drop socket drops",
    );
    site.ids_sends_alerts(6..=8);
    site.statistics_say("sockserv", "dropped 6 ");
    says(
        &mut site,
        "dropsocket off",
        "only counted; after `quiet off` they are printed",
    );
    says(
        &mut site,
        "quiet off",
        "dropped alerts are printed, or logged with -l",
    );
    site.ids_sends_alerts(9..=11);
    site.sockserv().says("sockserv: dropped {");
    drops.set_nonblocking(true).expect("a flag");
    let error = drops
        .recv(&mut [0; 16])
        .expect_err("nothing was sent meanwhile");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(site.sockserv().lines_with("\"src\":\"10.0.0.6\""), 0);
}

#[test]
fn statistics_are_switched_on_and_off() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv();
    says(&mut site, "stats every 1", "statistics come every 1 s");
    site.sockserv().says_times(": received 0 [0]", 2);
    says(
        &mut site,
        "stats every off",
        "statistics come only when asked for",
    );
}

#[test]
fn debug_lines_are_switched_by_area() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv();
    says(&mut site, "debug ctrl 1", "debug level of ctrl is 1");
    says(&mut site, "help", "control: read `help`");
    says(&mut site, "debug all 0", "debug level of all is 0");
    says(&mut site, "stats", ": received 0 ");
    assert_eq!(site.sockserv().lines_with("control: read `stats`"), 0);
}

#[test]
fn config_is_a_file_that_starts_a_sockserv_with_what_is_in_force_now() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&["-I", "eth7"]);
    for command in [
        "low 700",
        "high 777",
        "maxtry 9",
        "wait 8",
        "quiet on",
        "dropsocket /run/a b",
        "stats every 77",
        "server host.example:99",
        "debug ctrl 3",
        "config > now.conf",
    ] {
        site.commands("sockserv.ctrl", command);
    }
    let file = site.path("now.conf");
    let config = eventually("the answer is there", || {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        text.contains("\nDebug: ")
            .then_some(text.clone())
            .ok_or(text)
    });
    for line in [
        "SnortSocket: sockserv",
        "Interface: eth7",
        "HighWater: 777",
        "LowWater: 700",
        "MaxTry: 9",
        "WaitTime: 8",
        "Quiet: yes",
        "DropSocket: /run/a b",
        "Statistics: 77",
        "Server: host.example",
        "Port: 99",
        "Debug: ctrl,3",
    ] {
        assert!(
            config.lines().any(|there| there == line),
            "{line}:\n{config}"
        );
    }
    let mut again = site.run("sockserv", "again", &["-c", "now.conf", "-d"]);
    assert_eq!(again.exits().code(), Some(0));
    assert_eq!(again.log(), config, "-d of that file is that file");
}

#[test]
fn what_commands_changed_is_gone_after_a_restart() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&["-H", "500", "-L", "400"]);
    says(&mut site, "low 300", "HighWater is 500, LowWater is 300");
    says(
        &mut site,
        "restart",
        "restarting: restart, from the control FIFO",
    );
    site.sockserv().says_times("sockserv: ready", 2);
    says(&mut site, "high 501", "HighWater is 501, LowWater is 400");
}

#[test]
fn an_answer_goes_to_a_new_file_for_its_owner_alone() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv();
    site.commands("sockserv.ctrl", "stats > answer");
    let answer = eventually("the answer is there", || {
        let text = fs::read_to_string(site.path("answer")).map_err(|error| error.to_string())?;
        text.ends_with('\n').then_some(text.clone()).ok_or(text)
    });
    assert!(answer.starts_with("received 0 [0], sent 0 [0]"), "{answer}");
    let mode = fs::metadata(site.path("answer"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);

    says(
        &mut site,
        "stats > answer",
        "cannot write the answer to answer: File exists",
    );
    std::os::unix::fs::symlink(site.path("elsewhere"), site.path("link")).expect("a link");
    says(
        &mut site,
        "stats > link",
        "cannot write the answer to link: File exists",
    );
    assert!(!site.path("elsewhere").exists());
    says(&mut site, "stats > ../x", "wants a name without /");
    assert_eq!(
        fs::read_to_string(site.path("answer")).expect("a file"),
        answer
    );
}

#[test]
fn what_a_stop_leaves_goes_to_the_drop_socket_with_its_reason() {
    let mut site = Site::empty(Kind::Sqlite);
    let drops = drop_socket(&site);
    site.start_sockserv_with(&["-D", "drops", "--drain", "0"]);
    site.ids_sends_alerts(1..=10);
    site.statistics_say("sockserv", "received 10 ");
    site.sockserv().signal(Signal::SIGTERM);
    for serial in 1..=10 {
        let record = next_record(&drops);
        assert_eq!(record["src"], format!("10.0.0.{serial}"));
        assert_eq!(record["reason"], "sockserv stops");
    }
    assert_eq!(site.sockserv().exits().code(), Some(0));
    site.sockserv()
        .says("10 alerts could not be sent and are dropped (sockserv stops)");
    site.sockserv()
        .says("stopped: received 10 [10], sent 0 [0], dropped 0 [0], buffered 10");
}

#[test]
fn what_was_sent_and_not_confirmed_is_told_as_maybe_stored() {
    let mut site = Site::empty(Kind::Sqlite);
    let drops = drop_socket(&site);
    site.start_servsock();
    site.start_sockserv_with(&["-D", "drops", "--drain", "1"]);
    site.ids_sends_alerts(1..=1);
    site.database.has_alerts(1);
    site.statistics_say("sockserv", "sent 1 ");
    let lock = site.database.locked();
    site.ids_sends_alerts(2..=3);
    site.statistics_say("servsock", "received 3 ");
    site.sockserv().signal(Signal::SIGTERM);
    for source in ["10.0.0.2", "10.0.0.3"] {
        let record = next_record(&drops);
        assert_eq!(record["src"], source);
        let reason = record["reason"].as_str().expect("a text");
        assert!(
            reason.starts_with("sockserv stops; it was sent")
                && reason.ends_with("may be in the database"),
            "{reason}"
        );
    }
    drop(lock);
    site.sockserv().exits();
    site.sockserv()
        .says("stopped: received 3 [3], sent 1 [1], dropped 0 [0], buffered 2");
}

/// Nobody reads the socket: a second for each alert would be half an hour.
#[test]
fn a_drop_socket_that_hangs_holds_the_stop_up_for_seconds_and_none_is_untold() {
    const ALERTS: u64 = 2_000;
    let mut site = Site::empty(Kind::Sqlite);
    let drops = drop_socket(&site);
    site.start_sockserv_with(&["-D", "drops", "--drain", "0"]);
    site.ids_sends_alerts(1..=u32::try_from(ALERTS).expect("a small number"));
    site.statistics_say("sockserv", &format!("received {ALERTS} "));
    let start = std::time::Instant::now();
    site.sockserv().signal(Signal::SIGTERM);
    assert_eq!(site.sockserv().exits().code(), Some(0));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    drops.set_nonblocking(true).expect("a flag");
    let mut told = 0;
    let mut record = [0; 16_384];
    while drops.recv(&mut record).is_ok() {
        told += 1;
    }
    let log = site.sockserv().log();
    for json in log
        .lines()
        .filter_map(|line| line.strip_prefix("sockserv: dropped {"))
    {
        let record: serde_json::Value = serde_json::from_str(&format!("{{{json}")).expect("JSON");
        assert_eq!(record["reason"], "sockserv stops");
        told += record["dropped"].as_u64().unwrap_or(1);
    }
    assert_eq!(told, ALERTS, "{log}");
}

#[test]
fn a_command_reaches_a_sender_that_waits_for_a_servsock_which_accepts_and_says_nothing() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("it is bound").port().to_string();
    let args = ["-s", "sockserv", "-p", &port, "-N", "sensor"];
    let mut sockserv = site.run("sockserv", "sockserv", &args);
    sockserv.says("sockserv: ready");
    site.sockserv = Some(sockserv);
    site.ids_sends_alerts(1..=5);
    let _accepted = silent.accept().expect("sockserv connects");
    let server = format!("server {}", site.address());
    says(&mut site, &server, "from now on");
    site.database_gets(1..=5);
}
