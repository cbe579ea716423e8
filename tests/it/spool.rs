//! sockserv's spool: what is on the disk outlives the process, and what is there is sent once.

use crate::database::{BOTH, Kind};
use crate::program::{Program, eventually, within};
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const SPOOL: [&str; 2] = ["--spool", "spool"];
const PATIENCE: Duration = Duration::from_secs(60);

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SPOOL.iter().chain(more).copied().collect()
}

/// What the program answers instead of working.
fn asks(site: &Site, args: &[&str]) -> Output {
    let mut sockserv = Command::new(crate::program::built("sockserv"));
    sockserv.args(args).current_dir(site.folder());
    sockserv.output().expect("a program that was built")
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("the spool's directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension() == Some("spool".as_ref()));
    files.sort();
    files
}

fn losses(site: &Site) -> i64 {
    site.database
        .number("SELECT coalesce(sum(count), 0) FROM flop_loss")
}

#[test]
fn a_killed_sockserv_loses_nothing_that_is_on_the_disk_and_sends_nothing_twice() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv_with(&SPOOL);
        site.sockserv()
            .says("durable: yes, alerts wait in spool spool until servsock has stored them");
        site.ids_sends_alerts(1..=500);
        site.database_gets(1..=500);
        site.servsock().kill();
        site.ids_sends_alerts(501..=3_000);
        site.sockserv().says("alerts wait, trying again");
        site.statistics_say("sockserv", "buffered 0, on disk 2500");
        site.sockserv().kill();
        site.start_sockserv_with(&SPOOL);
        site.sockserv()
            .says("alerts wait in spool spool from before");
        site.ids_sends_alerts(3_001..=3_100);
        site.start_servsock();
        site.database_gets(1..=3_100);
        assert_eq!(losses(&site), 0);
        site.stop();
        assert_eq!(
            segments(&site.path("spool")).len(),
            1,
            "what is stored is gone"
        );
    }
}

/// Of a flood the kill takes only what came last: what was sent a moment earlier is there.
#[test]
fn a_kill_in_a_flood_takes_only_the_latest() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&SPOOL);
    let pid = site.sockserv().pid();
    let flood = std::thread::scope(|scope| {
        let ids = scope.spawn(|| {
            let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
            let mut sent = Vec::new();
            for number in 1.. {
                match socket.send_to(&serial::alert(number), site.path("sockserv")) {
                    Ok(_) => sent.push(Instant::now()),
                    Err(_) => return sent, // Nobody is there any more.
                }
            }
            unreachable!()
        });
        eventually("some segments are full", || {
            match segments(&site.path("spool")).len() {
                0..3 => Err("not yet".to_owned()),
                _ => Ok(()),
            }
        });
        crate::program::signal_to(pid, Signal::SIGKILL);
        ids.join().unwrap()
    });
    let _ = fs::remove_file(site.path("sockserv"));
    let killed = *flood.last().unwrap();
    // A second where 5 ms are promised: this machine may be busy. `make torture` measures.
    let early = flood
        .iter()
        .filter(|at| killed - **at > Duration::from_secs(1))
        .count();
    site.sockserv().exits();
    site.start_sockserv_with(&SPOOL);
    site.start_servsock();
    site.sockserv().signal(Signal::SIGTERM);
    let kept = within(PATIENCE, "the spool is empty", || {
        match (
            site.sockserv().is_running(),
            site.database.number("SELECT count(*) FROM event"),
        ) {
            (true, stored) => Err(format!("{stored} stored")),
            (false, stored) => Ok(u32::try_from(stored).unwrap()),
        }
    });
    drop(site.sockserv.take());
    site.start_sockserv_with(&SPOOL);
    let kept = kept.max(u32::try_from(early).unwrap());
    site.ids_sends_alerts(1..=1);
    within(PATIENCE, "a last alert arrives", || {
        let again = site
            .database
            .number("SELECT count(*) - count(DISTINCT ip_src) FROM iphdr");
        if again == 1 {
            Ok(())
        } else {
            Err(format!("{again} serials twice"))
        }
    });
    let stored = u32::try_from(site.database.number("SELECT count(*) FROM event")).unwrap() - 1;
    assert!(
        stored >= kept,
        "{stored} of {} stored, {early} were early",
        flood.len()
    );
    assert_eq!(losses(&site), 0);
}

#[test]
fn what_is_over_high_water_waits_on_the_disk_and_nothing_is_dropped() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&with(&["-H", "100", "-L", "50"]));
    site.ids_sends_alerts(1..=5_000);
    let line = site.statistics_say("sockserv", "received 5000 ");
    assert!(line.contains("dropped 0 "), "{line}");
    site.start_servsock();
    site.database_gets(1..=5_000);
    let line = site.statistics_say("sockserv", "on disk 0");
    assert!(line.contains("sent 5000 "), "{line}");
    site.stop();
}

#[test]
fn an_orderly_stop_loses_nothing_and_says_what_waits() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&with(&["--drain", "0"]));
    site.ids_sends_alerts(1..=1_000);
    site.sockserv().signal(Signal::SIGTERM);
    assert_eq!(site.sockserv().exits().code(), Some(0));
    site.sockserv()
        .says("1000 alerts wait in spool spool for the next start");
    assert_eq!(site.sockserv().lines_with("dropped because"), 0);
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.database_gets(1..=1_000);
    site.stop();
}

#[test]
fn restarts_lose_nothing_whether_servsock_is_there_or_not() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&SPOOL);
    let mut restarts = 0;
    let mut last = 0;
    for round in 0..6 {
        site.ids_sends_alerts(last + 1..=last + 300);
        last += 300;
        site.sockserv().signal(Signal::SIGHUP);
        restarts += 1;
        site.sockserv().says_times("sockserv: ready", restarts + 1);
        if round == 2 {
            site.start_servsock();
        }
    }
    site.database_gets(1..=last);
    site.stop();
    assert_eq!(losses(&site), 0);
}

/// The configuration may get a spool, another one, and none, at a restart: nothing is lost, nothing doubled.
#[test]
fn a_restart_may_bring_a_spool_and_take_it_away() {
    let mut site = Site::empty(Kind::Sqlite);
    let configure = |site: &Site, spool: &str| {
        fs::write(site.path("flop.conf"), format!("Spool: {spool}\n")).unwrap();
    };
    configure(&site, "off");
    site.start_sockserv_with(&["-c", "flop.conf"]);
    let (mut last, mut ready) = (0, 1);
    for spool in ["first", "first", "second", "off", "first", "off"] {
        site.ids_sends_alerts(last + 1..=last + 200);
        last += 200;
        configure(&site, spool);
        site.sockserv().signal(Signal::SIGHUP);
        ready += 1;
        site.sockserv().says_times("sockserv: ready", ready);
        if ready == 4 {
            site.start_servsock();
        }
    }
    // What the last spool kept is sent when it is used again.
    for spool in ["second", "first"] {
        configure(&site, spool);
        site.sockserv().signal(Signal::SIGHUP);
        ready += 1;
        site.sockserv().says_times("sockserv: ready", ready);
        site.statistics_say("sockserv", "buffered 0, on disk 0");
    }
    site.database.has_alerts(last as usize);
    let serials = site
        .database
        .number("SELECT count(DISTINCT ip_src) FROM iphdr");
    assert_eq!(serials, i64::from(last), "each once");
    site.stop();
    assert_eq!(losses(&site), 0);
}

#[test]
fn a_second_sockserv_on_the_same_spool_is_refused_and_told_who_has_it() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&SPOOL);
    let pid = site.sockserv().pid();
    let mut second = site.run(
        "sockserv",
        "second",
        &with(&["-s", "second", "-N", "second"]),
    );
    assert_eq!(second.exits().code(), Some(1));
    let log = second.log();
    assert!(log.contains("cannot use spool directory spool"), "{log}");
    assert!(log.contains(&format!("process {pid}, uses it")), "{log}");
    site.ids_sends_alerts(1..=10);
    site.start_servsock();
    site.database_gets(1..=10);
    site.stop();
}

/// While servsock is away alerts go on in memory up to HighWater; then the newest are dropped.
#[test]
fn a_full_spool_is_told_at_its_edges_and_used_again_when_there_is_room() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&with(&["--spool-max", "16M", "-H", "50", "-L", "40", "-q"]));
    let packed = |number: u32| {
        let alert = String::from_utf8(serial::alert(number)).unwrap();
        alert.replace(
            "{\"gid\"",
            &format!("{{\"metadata\":\"{}\",\"gid\"", "x".repeat(50_000)),
        )
    };
    site.ids_sends((1..=700).map(packed));
    site.sockserv()
        .says("the most that is allowed; alerts go on in memory, under HighWater");
    site.statistics_say("sockserv", "received 700 ");
    site.start_servsock();
    site.statistics_say("sockserv", "buffered 0, on disk 0");
    site.ids_sends((701..=800).map(packed));
    site.sockserv().says("the spool takes alerts again");
    site.statistics_say("sockserv", "buffered 0, on disk 0");
    site.database
        .reaches("SELECT max(ip_src) - 167772160 FROM iphdr", 800);
    site.stop();
    let stored = site.database.number("SELECT count(*) FROM event");
    assert!(stored < 800, "something was dropped");
    assert_eq!(stored + losses(&site), 800, "received = stored + dropped");
    let full = site.sockserv().lines_with("the most that is allowed");
    let back = site.sockserv().lines_with("the spool takes alerts again");
    assert!(
        full == back && full < 10,
        "full {full} times, and {back} times no more"
    );
}

/// A file system of some megabytes; `None` where this test may not mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m,mode=700", "flop-spool-test"])
            .arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_without_room_holds_nobody_up_and_costs_nothing() {
    let mut site = Site::empty(Kind::Sqlite);
    let Some(_disk) = SmallDisk::mount(site.path("disk")) else {
        return eprintln!("only root can mount a small disk: not tested");
    };
    let filler = site.path("disk/filler");
    site.start_servsock();
    site.start_sockserv_with(&["--spool", "disk/spool"]);
    site.ids_sends_alerts(1..=100);
    site.database_gets(1..=100);
    // All the room is gone, also for a sensor whose servsock is there: alerts go past the disk.
    let _ = fs::write(&filler, vec![0; 8 << 20]);
    site.ids_sends_alerts(101..=2_000);
    site.database_gets(1..=2_000);
    site.sockserv().says("No space left on device");
    site.sockserv()
        .says("make room on that file system; alerts go on in memory");
    // A restart carries what is in memory only.
    site.servsock().kill();
    site.ids_sends_alerts(2_001..=2_500);
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", 2);
    fs::remove_file(&filler).unwrap();
    site.sockserv().says("the spool takes alerts again");
    site.ids_sends_alerts(2_501..=2_600);
    site.statistics_say("sockserv", "buffered 0, on disk 600");
    site.sockserv().kill();
    site.start_sockserv_with(&["--spool", "disk/spool"]);
    site.start_servsock();
    site.database_gets(1..=2_600);
    site.stop();
    assert_eq!(losses(&site), 0);
}

/// With servsock away and a spool that is full, what is in memory only is carried over a restart, and told by a stop.
#[test]
fn a_full_spool_and_a_full_buffer_are_no_reason_to_lose_anything_at_a_restart() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&with(&[
        "--spool-max",
        "16M",
        "-H",
        "300",
        "-L",
        "200",
        "-D",
        "drops",
        "--drain",
        "0",
    ]));
    let drops = std::os::unix::net::UnixDatagram::bind(site.path("drops")).unwrap();
    drops.set_nonblocking(true).unwrap();
    let packed = |number: u32| {
        let alert = String::from_utf8(serial::alert(number)).unwrap();
        let filler = format!("{{\"metadata\":\"{}\",\"gid\"", "x".repeat(50_000));
        alert.replace("{\"gid\"", &filler)
    };
    site.ids_sends((1..=600).map(packed));
    site.sockserv()
        .says("the most that is allowed; alerts go on in memory");
    let line = site.statistics_say("sockserv", "received 600 ");
    assert!(line.contains("dropped 0 "), "{line}");
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", 2);
    site.sockserv().signal(Signal::SIGTERM);
    assert_eq!(site.sockserv().exits().code(), Some(0));
    let log = site.sockserv().log();
    let number = |text: &str| -> usize {
        let line = log.lines().find(|line| line.contains(text)).expect(text);
        line.split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
            .expect(line)
    };
    let told = number("could not be sent and are dropped");
    let waiting = number("for the next start");
    assert_eq!(told + waiting, 600, "{log}");
    let mut buffer = vec![0; 1 << 20];
    let records = std::iter::from_fn(|| drops.recv(&mut buffer).ok()).count();
    assert!(records > 0, "the drop socket has them");
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.database.has_alerts(waiting);
    site.stop();
}

/// A spool that cannot be opened any more refuses a start, but does not end a daemon that restarts.
#[test]
fn a_restart_without_the_spools_directory_goes_on_in_memory() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(1..=100);
    site.statistics_say("sockserv", "buffered 0, on disk 100");
    fs::rename(site.path("spool"), site.path("elsewhere")).unwrap();
    fs::write(site.path("spool"), "no directory").unwrap();
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv()
        .says("alerts wait in memory until the next restart");
    site.sockserv().says_times("sockserv: ready", 2);
    site.ids_sends_alerts(101..=200);
    site.start_servsock();
    site.database.has_alerts(100);
    fs::remove_file(site.path("spool")).unwrap();
    fs::rename(site.path("elsewhere"), site.path("spool")).unwrap();
    site.sockserv().signal(Signal::SIGHUP);
    site.database.has_alerts(200);
    let serials = site
        .database
        .number("SELECT count(DISTINCT ip_src) FROM iphdr");
    assert_eq!(serials, 200, "each once");
    site.stop();
    assert_eq!(losses(&site), 0);
}

#[test]
fn damage_costs_the_alert_that_has_it_and_is_recorded_as_lost() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&with(&["--drain", "0"]));
    site.ids_sends_alerts(1..=100);
    site.sockserv().signal(Signal::SIGTERM);
    site.sockserv().exits();
    let found = asks(&site, &["--spool-check", "spool"]);
    assert_eq!(found.status.code(), Some(0));
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(text.contains("alerts:       100"), "{text}");
    let file = &segments(&site.path("spool"))[0];
    let mut bytes = fs::read(file).unwrap();
    let middle = 8_192 + (bytes.len() - 8_192) / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    let found = asks(&site, &["--spool-check", "spool"]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let exported = asks(&site, &["--spool-export", "spool"]);
    assert_eq!(exported.status.code(), Some(0));
    let lines: Vec<serde_json::Value> = String::from_utf8(exported.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 100);
    assert_eq!(lines[0]["src"], "10.0.0.1");
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.sockserv().says("alerts that waited in spool/");
    site.database.has_alerts(99);
    site.database.reaches("SELECT sum(count) FROM flop_loss", 1);
    site.statistics_say("sockserv", "dropped 1 ");
    site.stop();
}

/// A spool that was put back from a copy: servsock has more of its stream. Nothing is stored twice, nothing is taken for
/// stored that is not.
#[test]
fn a_spool_from_a_backup_begins_a_new_stream() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(1..=10);
    site.statistics_say("sockserv", "sent 10 ");
    site.stop();
    let copy = Command::new("cp")
        .args(["-r", "spool", "copy"])
        .current_dir(site.folder())
        .status();
    assert!(copy.unwrap().success());
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(11..=30);
    site.statistics_say("sockserv", "sent 20 ");
    site.stop();
    fs::remove_dir_all(site.path("spool")).unwrap();
    fs::rename(site.path("copy"), site.path("spool")).unwrap();
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(31..=50);
    site.database_gets(1..=50);
    site.sockserv().says("a new stream begins");
    site.stop();
}

/// The same disk has lost the end of what was sent, and sockserv is killed again before servsock is back.
#[test]
fn alerts_that_get_the_numbers_of_lost_ones_are_not_taken_for_those() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(1..=10);
    site.statistics_say("sockserv", "sent 10 ");
    site.stop();
    let copy = Command::new("cp")
        .args(["-r", "spool", "copy"])
        .current_dir(site.folder())
        .status();
    assert!(copy.unwrap().success());
    site.start_servsock();
    site.start_sockserv_with(&SPOOL);
    site.ids_sends_alerts(11..=20);
    site.statistics_say("sockserv", "sent 10 ");
    site.stop();
    fs::remove_dir_all(site.path("spool")).unwrap();
    fs::rename(site.path("copy"), site.path("spool")).unwrap();
    for round in 0..3 {
        site.start_sockserv_with(&SPOOL);
        let first = 21 + round * 5;
        site.ids_sends_alerts(first..=first + 4);
        let waiting = (round + 1) * 5;
        site.statistics_say("sockserv", &format!("buffered 0, on disk {waiting}"));
        match round {
            0 => site.sockserv().kill(),
            1 => {
                site.sockserv().signal(Signal::SIGHUP);
                site.statistics_say(
                    "sockserv",
                    &format!(
                        "received 0 [0], sent 0 [0], dropped 0 [0], buffered 0, on disk {waiting}"
                    ),
                );
                site.sockserv().kill();
            }
            _ => {}
        }
    }
    site.start_servsock();
    site.database_gets(1..=35);
    site.sockserv().says("a new stream begins");
    site.stop();
    assert_eq!(losses(&site), 0);
}

#[test]
fn systemd_has_a_directory_for_it_and_off_means_none() {
    let mut site = Site::empty(Kind::Sqlite);
    let state = site.path("state");
    fs::create_dir(&state).unwrap();
    let start = |more: &[&str]| -> Program {
        let mut args =
            vec!["STATE_DIRECTORY=".to_owned() + &state.display().to_string() + ":/nowhere"];
        args.push(crate::program::built("sockserv").to_owned());
        args.extend(["-s", "sockserv", "-N", "sensor"].map(str::to_owned));
        args.extend(more.iter().map(|arg| String::from(*arg)));
        let log = site.path("sockserv.log");
        Program::start_file(Path::new("/usr/bin/env"), &args, site.folder(), &log)
    };
    let mut sockserv = start(&["--spool", "off"]);
    sockserv.says("durable: no, there is no spool");
    sockserv.signal(Signal::SIGTERM);
    sockserv.exits();
    assert!(!state.join("spool").exists());
    let mut sockserv = start(&[]);
    sockserv.says(&format!(
        "durable: yes, alerts wait in spool {}/spool",
        state.display()
    ));
    site.sockserv = Some(sockserv);
    site.ids_sends_alerts(1..=3);
    eventually("a segment is there", || {
        match segments(&state.join("spool")).len() {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    });
}
