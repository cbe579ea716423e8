//! Options: each long form is its short one, and what holds where none is given.

use crate::captures;
use crate::database::{Database, Kind};
use crate::fixtures::datagrams;
use crate::program::{Program, eventually};
use crate::serial;
use crate::site::Site;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;

/// The same with the short and the long form of an option.
fn with_each_form(forms: &[&str], test: impl Fn(&str)) {
    for form in forms {
        test(form);
    }
}

fn says_and_succeeds(program: &str, option: &str) -> String {
    let site = Site::empty(Kind::Sqlite);
    let mut program = site.run(program, "log", &[option]);
    assert_eq!(program.exits().code(), Some(0), "{}", program.log());
    program.log()
}

/// The words of a help text, with one space between.
fn help(program: &str) -> String {
    let help = says_and_succeeds(program, "--help");
    let words: Vec<&str> = help.split_ascii_whitespace().collect();
    words.join(" ")
}

#[test]
fn help_names_each_option_with_both_forms_and_its_default() {
    let sockserv = help("sockserv");
    for (option, default) in [
        ("-s, --socket <PATH>", "[default: /tmp/snort]"),
        ("-S, --server <HOST>", "[default: 127.0.0.1]"),
        ("-p, --port <PORT>", "[default: 5765]"),
        ("-N, --sensor-name <NAME>", "[default: the host name]"),
        ("-I, --interface <NAME>", ""),
        ("-H, --high-water <ALERTS>", "[default: 10000]"),
        ("-L, --low-water <ALERTS>", "[default: 9900]"),
        ("-D, --drop-socket <PATH>", "[default: printed]"),
        ("-q, --quiet", ""),
        ("--linktype <TYPE>", "[default: auto]"),
        ("-A, --stats <SECS>", "[default: off]"),
        ("--control <FIFO>", "[default: the first socket's path"),
        ("--drain <SECS>", "[default: 5]"),
        ("-v, --version", ""),
    ] {
        has(&sockserv, option, default);
    }
    let servsock = help("servsock");
    for (option, default) in [
        ("-p, --port <PORT>", "[default: 5765]"),
        ("--listen <ADDRESS>", "[default: 127.0.0.1]"),
        ("--db <URL>", "The default is sqlite:flop.db"),
        ("-H, --high-water <ALERTS>", "[default: 10000]"),
        ("-L, --low-water <ALERTS>", "[default: 9900]"),
        ("-A, --stats <SECS>", "[default: off]"),
        ("--control <FIFO>", "[default: servsock.ctrl]"),
        ("--drain <SECS>", "[default: 5]"),
        ("-v, --version", ""),
    ] {
        has(&servsock, option, default);
    }
}

/// The default stands between this option and the next.
fn has(help: &str, option: &str, default: &str) {
    let (_, behind) = help
        .split_once(option)
        .unwrap_or_else(|| panic!("{option} is not in {help}"));
    let end = behind.find(" --").unwrap_or(behind.len());
    assert!(behind[..end].contains(default), "{option}: {behind}");
}

#[test]
fn the_version_is_printed() {
    for program in ["sockserv", "servsock", "drop"] {
        with_each_form(&["-v", "--version"], |form| {
            let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(says_and_succeeds(program, form), version);
        });
    }
}

/// sockserv with the options in both forms; where a value shows in its lines or its files.
#[test]
fn long_options_of_sockserv_are_the_short_ones() {
    let pairs: [(&str, &str, &str, &str); 5] = [
        ("-s", "--socket", "here", "listening for alerts on here"),
        (
            "-S",
            "--server",
            "127.0.0.9",
            "sending to 127.0.0.9:5765 as sensor",
        ),
        ("-p", "--port", "1", "sending to 127.0.0.1:1 as sensor"),
        ("-N", "--sensor-name", "me", ":5765 as sensor me"),
        ("-I", "--interface", "eth7", "eth7"),
    ];
    for (short, long, value, line) in pairs {
        with_each_form(&[short, long], |form| {
            let site = Site::empty(Kind::Sqlite);
            let mut args = vec![form, value];
            if short != "-s" {
                args.extend(["-s", "here"]);
            }
            let mut sockserv = site.run("sockserv", "log", &args);
            sockserv.says(": ready");
            sockserv.says(line);
            for file in ["here", "here.ctrl"] {
                assert!(site.path(file).exists(), "{form}: {file}");
            }
        });
    }
    for program in ["sockserv", "servsock"] {
        let (both, high, low) = (["-H", "-L"], ["--high-water", "-L"], ["-H", "--low-water"]);
        for [high, low] in [both, high, low] {
            let site = Site::empty(Kind::Sqlite);
            let mut program = started(&site, program, &[high, "700", low, "600"]);
            site.commands("fifo", "high 1");
            program.says("HighWater 1 is below LowWater 600; HighWater stays 700, LowWater 600");
        }
        with_each_form(&["-A", "--stats"], |form| {
            let site = Site::empty(Kind::Sqlite);
            started(&site, program, &[form, "1"]).says(": received 0 [0], ");
        });
    }
}

/// A program with its FIFO at `fifo`.
fn started(site: &Site, program: &str, more: &[&str]) -> Program {
    let place = match program {
        "sockserv" => ["-s", "socket"],
        _ => ["-p", "0"],
    };
    let args = [&place[..], &["--control", "fifo"], more].concat();
    let mut program = site.run(program, "log", &args);
    program.says(": ready");
    let file = std::fs::metadata(site.path("fifo")).expect("the FIFO");
    assert!(file.file_type().is_fifo());
    program
}

#[test]
fn long_options_about_dropped_alerts_are_the_short_ones() {
    let site_with = |more: &[&str]| {
        let mut site = Site::empty(Kind::Sqlite);
        site.start_sockserv_with(&[&["-H", "4", "-L", "2"], more].concat());
        site
    };
    with_each_form(&["-D", "--drop-socket"], |form| {
        let mut site = Site::empty(Kind::Sqlite);
        let drops = UnixDatagram::bind(site.path("drops")).expect("a socket");
        drops
            .set_read_timeout(Some(std::time::Duration::from_secs(30)))
            .expect("a timeout");
        site.start_sockserv_with(&["-H", "4", "-L", "2", form, "drops"]);
        site.ids_sends_alerts(1..=5);
        let mut record = [0; 4_096];
        let bytes = drops.recv(&mut record).expect("a record");
        assert!(record[..bytes].starts_with(b"{\"sensor\":\"sensor\""));
    });
    with_each_form(&["-q", "--quiet"], |form| {
        let mut site = site_with(&[form]);
        site.ids_sends_alerts(1..=5);
        site.statistics_say("sockserv", "dropped 3 ");
        site.sockserv().signal(nix::sys::signal::Signal::SIGTERM);
        site.sockserv().exits();
        assert_eq!(site.sockserv().lines_with("{"), 0);
    });
}

#[test]
fn long_options_of_servsock_are_the_short_ones() {
    with_each_form(&["-p", "--port"], |form| {
        let site = Site::empty(Kind::Sqlite);
        let port = site.address().port().to_string();
        let args = [form, &port, "--listen", "127.0.0.1", "--db", "sqlite:x.db"];
        let mut servsock = site.run("servsock", "log", &args);
        servsock.says(&format!("listening for sensors on 127.0.0.1:{port}"));
        servsock.says("alerts are stored in sqlite:x.db");
    });
}

#[test]
fn servsock_without_options_has_these_places() {
    let site = Site::empty(Kind::Sqlite);
    let mut servsock = site.run("servsock", "log", &["-p", "0"]);
    servsock.says(": ready");
    servsock.says("alerts are stored in sqlite:flop.db");
    servsock.says("listening for sensors on 127.0.0.1:");
    assert!(site.path("flop.db").exists());
    let fifo = std::fs::metadata(site.path("servsock.ctrl")).expect("the FIFO");
    assert!(fifo.file_type().is_fifo());
    site.commands("servsock.ctrl", "high 1");
    servsock.says("HighWater stays 10000, LowWater 9900");
    // The port of a machine's own servsock may be in use: then it says which one it wanted.
    let second = site.run("servsock", "second", &["--control", "second.ctrl"]);
    eventually("it says the port", || {
        let log = second.log();
        let line = log.lines().find(|line| line.contains("127.0.0.1:5765"));
        line.map(|_| ()).ok_or(log.clone())
    });
}

#[test]
fn a_sensor_without_name_is_the_host() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let port = site.address().port().to_string();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux");
    let host = host.trim();
    let mut sockserv = site.run("sockserv", "sockserv", &["-s", "sockserv", "-p", &port]);
    sockserv.says(&format!(" as sensor {host}"));
    sockserv.says(": ready");
    site.ids_sends_alerts(1..=3);
    site.database.has_alerts(3);
    serial::are_stored(&site.database, host, 1..=3);
    let sockets = "SELECT hostname, interface FROM sensor";
    assert_eq!(site.database.lines(sockets), [format!("{host}|-")]);
}

/// Each value with captures of that link layer, and one that it does not fit.
#[test]
fn linktype_says_where_the_packets_begin() {
    const NULL: &str = "snort29-unixsock-linknull";
    const RAW: &str = "snort29-unixsock-linkraw";
    const ETHERNET: &str = "snort29-unixsock-own";
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    for (value, fits, capture) in [
        ("ethernet", true, ETHERNET),
        ("ethernet", false, RAW),
        ("raw", true, RAW),
        ("raw", false, NULL),
        ("null", true, NULL),
        ("null", false, RAW),
        ("auto", true, NULL),
        ("auto", true, RAW),
        ("auto", true, ETHERNET),
    ] {
        let sensor = format!("{value}-{capture}");
        let _sockserv = site.another_sockserv(&sensor, &["--linktype", value]);
        site.ids_sends_to(&sensor, datagrams(capture));
        match fits {
            true => captures::sensor_agrees(&site.database, &sensor, capture),
            false => has_no_addresses(&site.database, &sensor, datagrams(capture).len()),
        }
    }
}

fn has_no_addresses(database: &Database, sensor: &str, alerts: usize) {
    let sql = format!("SELECT count(*) FROM alerts WHERE src IS NULL AND sensor = '{sensor}'");
    database.reaches(&sql, i64::try_from(alerts).expect("a small number"));
}
