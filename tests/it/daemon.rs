//! In the background: what is refused still reaches the terminal, and syslog gets the rest.

use crate::database::Kind;
use crate::program::{Program, built, ends, eventually, pid_in, signal_to};
use crate::site::Site;
use crate::syslog::Syslog;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;

/// The kernel queues net.unix.max_dgram_qlen of them: 10, or 512 on some systems.
const MORE_LINES_THAN_QUEUED: usize = 2000;

#[test]
fn both_daemons_run_in_the_background_and_log_with_their_own_pid() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let port = site.address().port().to_string();
    let db = site.database.url();
    let daemon = ["-b", "--syslog-socket", "log", "-m", "077"];
    let servsock = ["-p", &port, "--db", &db, "-P", "servsock.pid"];
    let sockserv = [
        "-p",
        &port,
        "-s",
        "sockserv",
        "-N",
        "sensor",
        "-P",
        "sockserv.pid",
    ];
    for (name, args) in [("servsock", &servsock[..]), ("sockserv", &sockserv[..])] {
        let args = [args, &daemon[..]].concat();
        let status = site.run(name, name, &args).exits();
        assert_eq!(status.code(), Some(0), "it returns once all is checked");
    }
    let (central, sensor) = (
        pid_in(&site.path("servsock.pid")),
        pid_in(&site.path("sockserv.pid")),
    );
    // LOCAL0 is 16: 16 * 8 + 5 for notice.
    assert!(
        syslog
            .gets(&format!("sockserv[{sensor}]: ready"))
            .starts_with("<133>")
    );
    syslog.gets(&format!("servsock[{central}]: ready"));
    site.ids_sends_alerts(1..=100);
    site.database_gets(1..=100);
    site.commands("sockserv.ctrl", "stats");
    let line = syslog.gets("received 100 [100], sent 100 [100]");
    assert!(line.starts_with("<134>"), "statistics are INFO: {line}");
    signal_to(sensor, Signal::SIGHUP);
    syslog.gets("restarting: SIGHUP");
    syslog.gets_times(&format!("sockserv[{sensor}]: ready"), 2);
    site.ids_sends_alerts(101..=200);
    site.database_gets(1..=200);
    assert_eq!(
        pid_in(&site.path("sockserv.pid")),
        sensor,
        "a restart keeps its process"
    );
    for (name, pid) in [("sockserv", sensor), ("servsock", central)] {
        signal_to(pid, Signal::SIGTERM);
        ends(pid);
        assert!(
            !site.path(&format!("{name}.pid")).exists(),
            "removed at the end"
        );
        syslog.gets(&format!("{name}[{pid}]: stopped: "));
    }
}

#[test]
fn what_is_refused_in_the_background_reaches_the_terminal_and_the_exit_code() {
    let site = Site::empty(Kind::Sqlite);
    fs::write(site.path("sockserv"), "precious").expect("a file");
    // The command may not return before the line is there: scripts read both at once.
    for round in 0..20 {
        let log = format!("refused{round}");
        let mut program = site.run("sockserv", &log, &["-b", "-s", "sockserv", "-N", "s"]);
        assert_eq!(program.exits().code(), Some(1));
        let sentence = "there is a file which is no socket; it is left alone";
        assert!(program.log().contains(sentence), "in round {round}");
    }
}

#[test]
fn a_syslog_daemon_that_takes_nothing_holds_nobody_up_and_hears_how_many_lines_it_lost() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let args = ["-s", "sockserv", "-N", "s", "-l", "--syslog-socket", "log"];
    let mut sockserv = site.run("sockserv", "sockserv", &args);
    syslog.gets("]: ready");
    let many = "stats\n".repeat(MORE_LINES_THAN_QUEUED);
    site.commands("sockserv.ctrl", &many);
    site.commands("sockserv.ctrl", "help > done");
    eventually("the commands are carried out", || {
        fs::metadata(site.path("done")).map_err(|error| error.to_string())
    });
    syslog.gets("received 0 [0]"); // Which makes room again.
    site.commands("sockserv.ctrl", "stats");
    syslog.gets("lines are lost here: the syslog daemon at log did not take them");
    site.commands("sockserv.ctrl", &many);
    sockserv.signal(Signal::SIGTERM);
    assert_eq!(sockserv.exits().code(), Some(0));
}

#[test]
fn lines_in_syslog_have_the_local_time() {
    let site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let args = [
        "TZ=FAR-9",
        built("sockserv"),
        "-s",
        "sockserv",
        "-N",
        "s",
        "-l",
    ];
    let args = [&args[..], &["--syslog-socket", "log"]].concat();
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let env = Path::new("/usr/bin/env");
    let _sockserv = Program::start_file(env, &args, site.folder(), &site.path("env.log"));
    let line = syslog.gets("]: ready");
    let hour: i8 = line["<133>Nov 21 ".len()..][..2].parse().expect("an hour");
    let there = jiff::tz::TimeZone::fixed(jiff::tz::Offset::constant(9));
    let now = jiff::Timestamp::now().to_zoned(there).hour();
    assert!([now, (now + 23) % 24].contains(&hour), "{line}");
}

#[test]
fn a_second_start_with_the_same_pid_file_is_refused_and_names_the_first() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_sockserv_with(&["-P", "a.pid"]);
    let pid = site.sockserv().pid();
    let args = ["-s", "other", "-N", "s", "-P", "a.pid"];
    let mut second = site.run("sockserv", "second", &args);
    assert_eq!(second.exits().code(), Some(1));
    second.says(&format!("sockserv, process {pid}, holds it"));
    site.sockserv().kill();
    let mut third = site.run("sockserv", "third", &args);
    third.says("sockserv: ready");
    assert_eq!(
        fs::read_to_string(site.path("a.pid")).expect("it is there"),
        format!("{}\n", third.pid())
    );
}

#[test]
fn a_syslog_daemon_that_was_restarted_gets_the_next_line() {
    let mut site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let args = ["-s", "sockserv", "-N", "s", "-l", "--syslog-socket", "log"];
    site.sockserv = Some(site.run("sockserv", "sockserv", &args));
    syslog.gets("]: ready");
    drop(syslog);
    fs::remove_file(site.path("log")).expect("it is there");
    let mut syslog = Syslog::at(&site);
    site.commands("sockserv.ctrl", "stats");
    syslog.gets("received 0 [0]");
}

#[test]
fn a_configuration_file_says_the_same_as_options_and_its_errors_name_the_line() {
    let site = Site::empty(Kind::Sqlite);
    let mut number = 0;
    let mut refuses = |text: &str, code: i32, sentence: &str| {
        number += 1;
        fs::write(site.path("x.conf"), text).expect("a file");
        let mut program = site.run(
            "sockserv",
            &format!("c{number}"),
            &["-c", "x.conf", "-T", "--offline"],
        );
        assert_eq!(program.exits().code(), Some(code), "{text}");
        program.says(sentence);
    };
    refuses(
        "HighWatr: 5",
        1,
        "x.conf:1: HighWatr is no keyword; did you mean HighWater?",
    );
    refuses("\nPort = 70000", 1, "x.conf:2: Port ");
    refuses("HighWater: 100", 1, "HighWater 100 is below LowWater 9900");
    refuses(
        "SensorName: 'a b' # it\nSnortSocket: here\nquiet: yes",
        0,
        "the configuration is fine",
    );
    assert!(!site.path("here").exists(), "a test leaves nothing behind");
    let mut program = site.run("sockserv", "dump", &["-c", "x.conf", "-d", "-H", "12345"]);
    assert_eq!(program.exits().code(), Some(0));
    let dump = program.log();
    for line in [
        "SensorName: a b",
        "SnortSocket: here",
        "Quiet: yes",
        "HighWater: 12345",
    ] {
        assert!(dump.lines().any(|dumped| dumped == line), "{line}:\n{dump}");
    }
}

#[test]
fn a_worker_logs_with_its_own_pid() {
    let mut site = Site::empty(Kind::Sqlite);
    let mut syslog = Syslog::at(&site);
    let port = site.address().port().to_string();
    let db = site.database.url();
    let options = ["-l", "--syslog-socket", "log", "-V", "db,1"];
    let args = [&["-p", &port, "--db", &db], &options[..]].concat();
    site.servsock = Some(site.run("servsock", "servsock", &args));
    syslog.gets("]: ready");
    site.start_sockserv();
    site.ids_sends_alerts(1..=1);
    site.database_gets(1..=1);
    let line = syslog.gets("opening the stream");
    let [worker] = site.servsock().children()[..] else {
        panic!("a worker for the sensor");
    };
    assert!(line.contains(&format!("servsock[{worker}]: ")), "{line}");
}

#[test]
fn a_syslog_that_is_not_there_is_told_while_the_terminal_is() {
    let site = Site::empty(Kind::Sqlite);
    let options = [
        "-l",
        "--syslog-socket",
        "nowhere",
        "-s",
        "alerts",
        "-N",
        "s",
    ];
    let mut sockserv = site.run("sockserv", "sockserv", &options);
    sockserv.says("syslog does not answer at nowhere: ");
    let options = [&["-T", "--offline"], &options[..]].concat();
    let mut test = site.run("sockserv", "test", &options);
    assert_eq!(test.exits().code(), Some(0), "no reason not to start");
    test.says("syslog's socket nowhere: No such file or directory");
}
