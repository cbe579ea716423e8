//! SIGHUP with another configuration, or with something in the way: what cannot work is refused while the daemon still
//! runs, what is not configured any more is given back, and nothing is lost or left behind.

use crate::database::Kind;
use crate::program::{Program, built, ends, eventually, pid_in, signal_to};
use crate::serial;
use crate::site::Site;
use crate::syslog::Syslog;
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Once a restart ends within a second or so, an IDS that is held up for this long is held up for ever.
const IDS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// The head of a program, and nothing that it could run with.
const CUT_OFF_BYTES: usize = 64 << 10;

/// sockserv with a configuration file: its sockets, and further lines.
fn configure(site: &Site, sockets: &[&str], more: &str) {
    let mut text = format!(
        "SensorName: sensor\nControl: sockserv.ctrl\nPort: {}\n{more}\n",
        site.address().port()
    );
    for socket in sockets {
        text += &format!("SnortSocket: {socket}\n");
    }
    fs::write(site.path("s.conf"), text).expect("a file");
}

fn start_configured(site: &mut Site) {
    let mut sockserv = site.run("sockserv", "sockserv", &["-c", "s.conf"]);
    sockserv.says("sockserv: ready");
    site.sockserv = Some(sockserv);
}

fn restart(site: &mut Site) {
    let before = site.sockserv().lines_with("sockserv: ready");
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", before + 1);
}

#[test]
fn a_file_with_an_error_refuses_the_restart_and_what_is_buffered_stays() {
    let mut site = Site::empty(Kind::Sqlite);
    configure(&site, &["sockserv"], "");
    start_configured(&mut site);
    site.ids_sends_alerts(1..=50);
    configure(&site, &["sockserv"], "HighWatr: 5");
    site.sockserv().signal(Signal::SIGHUP);
    let line = site.sockserv().says("cannot restart");
    assert!(
        line.contains("s.conf:4: HighWatr is no keyword"),
        "it says why: {line}"
    );
    // What no line of the file shows by itself.
    configure(&site, &["sockserv"], "HighWater: 5");
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says("HighWater 5 is below LowWater");
    site.start_servsock();
    site.database_gets(1..=50);
    configure(&site, &["sockserv"], "HighWater: 50000");
    restart(&mut site);
    site.stop();
}

#[test]
fn no_daemon_executes_a_program_that_is_empty_or_cut_off_until_it_is_whole() {
    let site = Site::empty(Kind::Sqlite);
    let db = site.database.url();
    for (name, args) in [
        ("sockserv", vec!["-s", "alerts", "-N", "s"]),
        ("servsock", vec!["-p", "0", "--db", &db]),
        ("drop", vec!["-s", "drops"]),
    ] {
        let program = site.path(&format!("a-{name}"));
        fs::copy(built(name), &program).expect("a copy");
        let whole = fs::read(&program).expect("it is there");
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let log = site.path(&format!("{name}.log"));
        let mut running = Program::start_file(&program, &args, site.folder(), &log);
        running.says(": ready");
        for (times, bytes) in [(1, &whole[..0]), (2, &whole[..CUT_OFF_BYTES])] {
            let mode = fs::metadata(&program).expect("it is there").permissions();
            fs::remove_file(&program).expect("it is there");
            fs::write(&program, bytes).expect("a file");
            fs::set_permissions(&program, mode).expect("it is ours");
            running.signal(Signal::SIGHUP);
            running.says_times("this one goes on running", times);
            assert!(running.is_running());
        }
        fs::write(&program, whole).expect("it is ours");
        running.signal(Signal::SIGHUP);
        running.says_times(": ready", 2);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.exits().code(), Some(0), "{}", running.log());
    }
}

#[test]
fn a_daemon_whose_start_directory_was_removed_restarts_all_the_same() {
    let site = Site::empty(Kind::Sqlite);
    let here = site.path("here");
    fs::create_dir(&here).expect("a directory");
    let path = |name: &str| site.path(name).display().to_string();
    let args = [
        "-p",
        "0",
        "--db",
        &format!("sqlite:{}", path("f.db")),
        "--control",
        &path("c"),
    ]
    .map(str::to_owned);
    let log = site.path("servsock.log");
    let mut servsock = Program::start_file(Path::new(built("servsock")), &args, &here, &log);
    servsock.says("servsock: ready");
    fs::remove_dir(&here).expect("it is empty");
    servsock.signal(Signal::SIGHUP);
    servsock.says_times("servsock: ready", 2);
    assert!(servsock.is_running());
}

#[test]
fn what_is_refused_only_after_the_exec_is_in_syslog_and_so_is_the_number_of_lost_alerts() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let daemon = "DaemonMode: yes\nSyslogSocket: log\nPidFile: pid";
    configure(&site, &["sockserv"], daemon);
    let status = site.run("sockserv", "start", &["-c", "s.conf"]).exits();
    assert_eq!(status.code(), Some(0));
    let pid = pid_in(&site.path("pid"));
    site.ids_sends_alerts(1..=7);
    let mut asked = 0;
    eventually("all are received", || {
        asked += 1;
        let answer = format!("answer{asked}");
        site.commands("sockserv.ctrl", &format!("stats > {answer}"));
        let text = eventually("there is an answer", || {
            let text = fs::read_to_string(site.path(&answer)).unwrap_or_default();
            text.ends_with('\n')
                .then_some(text)
                .ok_or("none".to_owned())
        });
        text.contains("received 7 ").then_some(()).ok_or(text)
    });
    configure(&site, &["no-directory/sockserv"], daemon);
    signal_to(pid, Signal::SIGHUP);
    syslog.gets("cannot bind alert socket no-directory/sockserv: ");
    syslog.gets("7 alerts that were buffered before the restart are lost");
    ends(pid);
}

#[test]
fn a_socket_whose_file_was_removed_is_made_again() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv();
    site.ids_sends_alerts(1..=50);
    fs::remove_file(site.path("sockserv")).expect("it is there");
    restart(&mut site);
    site.ids_sends_alerts(51..=60);
    site.start_servsock();
    site.database_gets(1..=60);
    site.stop();
}

#[test]
fn a_socket_that_another_process_put_in_place_of_ours_is_left_alone_and_nothing_is_lost() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv();
    site.ids_sends_alerts(1..=50);
    site.statistics_say("sockserv", "received 50 ");
    fs::remove_file(site.path("sockserv")).expect("it is there");
    let other = UnixDatagram::bind(site.path("sockserv")).expect("the place is free");
    restart(&mut site);
    site.sockserv().says("nobody reaches this socket there");
    site.start_servsock();
    site.database_gets(1..=50);
    site.stop();
    let ids = UnixDatagram::unbound().expect("a socket");
    ids.send_to(b"x", site.path("sockserv"))
        .expect("the other one's file is still there");
    drop(other);
}

#[test]
fn a_socket_that_is_not_configured_any_more_is_emptied_and_closed_and_so_is_the_pid_file() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    configure(&site, &["a", "b"], "PidFile: one.pid");
    start_configured(&mut site);
    let ids = UnixDatagram::unbound().expect("a socket");
    ids.set_write_timeout(Some(IDS_PATIENCE))
        .expect("a timeout");
    let place = site.path("a");
    // As Snort does: as soon as the kernel takes it, until it is told that nobody is there.
    let sending = std::thread::spawn(move || {
        let mut sent = 0;
        loop {
            match ids.send_to(&serial::alert(sent + 1), &place) {
                Ok(_) => sent += 1,
                Err(error) => return (sent, error.kind()),
            }
        }
    });
    site.statistics_say("sockserv", "received ");
    configure(&site, &["b"], "PidFile: two.pid");
    restart(&mut site);
    let (sent, ended) = sending.join().expect("no panic");
    assert_ne!(ended, std::io::ErrorKind::WouldBlock, "held up for ever");
    site.database_gets(1..=sent);
    assert!(!site.path("a").exists() && !site.path("one.pid").exists());
    assert_eq!(pid_in(&site.path("two.pid")), site.sockserv().pid());
    site.ids_sends_to("b", serial::alerts(sent + 1..=sent + 10));
    site.database_gets(1..=sent + 10);
    site.stop();
}

#[test]
fn a_control_fifo_stays_open_for_whoever_writes_into_it() {
    let mut site = Site::new(Kind::Sqlite);
    for name in ["sockserv", "servsock"] {
        let mut operator = File::options()
            .write(true)
            .open(site.path(&format!("{name}.ctrl")))
            .expect("the program reads its FIFO");
        let program = match name {
            "sockserv" => site.sockserv(),
            _ => site.servsock(),
        };
        program.signal(Signal::SIGHUP);
        program.says_times(": ready", 2);
        let before = program.lines_with(": received 0 [0]");
        writeln!(operator, "stats").expect("it is still the same");
        program.says_times(": received 0 [0]", before + 1);
    }
    site.stop();
}

#[test]
fn restarts_leave_no_descriptor_behind_and_children_inherit_nothing_of_them() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let open = |pid: u32| {
        let list = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
        list.count()
    };
    let pid = site.servsock().pid();
    let mut counts = Vec::new();
    for restart in 1..=3 {
        site.servsock().signal(Signal::SIGHUP);
        site.servsock().says_times("servsock: ready", restart + 1);
        counts.push(open(pid));
    }
    assert_eq!(counts[0], counts[2], "{counts:?}");
    site.start_sockserv();
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    let worker = eventually("there is a worker", || {
        let workers = site.servsock.as_ref().expect("it was started").children();
        workers.first().copied().ok_or("none".to_owned())
    });
    let environment = fs::read(format!("/proc/{worker}/environ")).expect("it runs");
    let environment = String::from_utf8_lossy(&environment);
    assert!(!environment.contains("FLOP_"), "{environment}");
    for fd in fs::read_dir(format!("/proc/{worker}/fd")).expect("it runs") {
        let target = fs::read_link(fd.expect("an entry").path()).unwrap_or_default();
        let target = target.to_string_lossy();
        assert!(!target.contains("flop-carried"), "{target}");
    }
    site.stop();
}

#[test]
fn what_one_process_hands_over_to_itself_is_nothing_to_another_one() {
    let site = Site::empty(Kind::Sqlite);
    // As a program that drop starts could inherit it.
    let args = ["FLOP_CARRIED=1:3", built("sockserv"), "-s", "a", "-N", "s"].map(str::to_owned);
    let env = Path::new("/usr/bin/env");
    let mut sockserv = Program::start_file(env, &args, site.folder(), &site.path("env.log"));
    sockserv.says("sockserv: ready");
}
