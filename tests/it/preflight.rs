//! `-T`: looks at all that a configuration names, and makes and disturbs nothing.

use crate::database::{Database, Kind};
use crate::site::Site;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

/// Names and inodes of all that is in the folder, but for logs.
fn listing(site: &Site) -> Vec<(OsString, u64)> {
    let entries = fs::read_dir(site.folder()).expect("a folder").flatten();
    let mut all: Vec<_> = entries
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(".log"))
        .map(|entry| (entry.file_name(), entry.metadata().expect("a file").ino()))
        .collect();
    all.sort();
    all
}

/// Runs a program with -T: its exit code, and what it said. Nothing is there afterwards that was not before.
fn test(site: &Site, program: &str, args: &[&str]) -> (Option<i32>, String) {
    let before = listing(site);
    let _ = fs::remove_file(site.path("test.log"));
    let mut test = site.run(program, "test", &[&["-T"], args].concat());
    let code = test.exits().code();
    assert_eq!(listing(site), before);
    (code, test.log())
}

fn fine(site: &Site, program: &str, args: &[&str], sentences: &[&str]) {
    let (code, text) = test(site, program, args);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with(": the configuration is fine\n"), "{text}");
    for sentence in sentences {
        assert!(text.contains(sentence), "{sentence}: {text}");
    }
}

fn wrong(site: &Site, program: &str, args: &[&str], sentence: &str) {
    let (code, text) = test(site, program, args);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(sentence), "{sentence}: {text}");
    assert!(
        text.contains("the configuration is not fine: 1 thing is wrong"),
        "{text}"
    );
}

#[test]
fn beside_the_running_daemons_all_is_fine_and_they_are_not_disturbed() {
    let mut site = Site::empty(Kind::Sqlite);
    let port = site.address().port().to_string();
    let db = site.database.url();
    site.start_servsock_with(&["-P", "servsock.pid"]);
    site.start_sockserv_with(&["-P", "sockserv.pid"]);
    site.ids_sends_alerts(1..=5);
    site.database_gets(1..=5);
    fine(
        &site,
        "sockserv",
        &[
            "-s",
            "sockserv",
            "-N",
            "sensor",
            "-p",
            &port,
            "-P",
            "sockserv.pid",
        ],
        &[
            "alert socket sockserv is served by sockserv, process ",
            "control FIFO sockserv.ctrl is read by the sockserv that runs",
            "PID file sockserv.pid is that of sockserv, process ",
            "can be reached",
        ],
    );
    let args = ["-p", &port, "--db", &db, "-P", "servsock.pid"];
    fine(
        &site,
        "servsock",
        &args,
        &[
            "is in use, and the servsock of this control FIFO runs",
            "control FIFO servsock.ctrl is read by the servsock that runs",
            "alerts.db can be written",
        ],
    );
    site.ids_sends_alerts(6..=10);
    site.database_gets(1..=10);
    assert_eq!(site.sockserv().lines_with("no connection"), 0);
    site.stop();
}

#[test]
fn a_server_that_is_away_is_wrong_unless_it_is_left_out() {
    let site = Site::empty(Kind::Sqlite);
    let port = site.address().port().to_string();
    let args = ["-s", "here", "-N", "sensor", "-p", &port, "-D", "drops"];
    wrong(
        &site,
        "sockserv",
        &args,
        "cannot be reached: Connection refused",
    );
    let args = [&args[..], &["--offline"]].concat();
    fine(
        &site,
        "sockserv",
        &args,
        &[
            "alert socket here can be made",
            "control FIFO here.ctrl can be made",
        ],
    );
}

#[test]
fn a_drop_socket_that_nobody_reads_is_a_warning() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let port = site.address().port().to_string();
    let args = ["-s", "here", "-N", "sensor", "-p", &port, "-D", "drops"];
    fine(
        &site,
        "sockserv",
        &args,
        &["drop socket drops: No such file"],
    );
    let _drops = UnixDatagram::bind(site.path("drops")).expect("a socket");
    fine(&site, "sockserv", &args, &["drop socket drops is read"]);
}

#[test]
fn places_of_others_are_wrong_and_left_alone() {
    let site = Site::empty(Kind::Sqlite);
    fs::write(site.path("precious"), "precious").expect("a file");
    let sockserv = ["--offline", "-N", "sensor"];
    for (args, sentence) in [
        (["-s", "precious", "--control", "c"], "no socket; remove it"),
        (
            ["-s", "here", "--control", "precious"],
            "no FIFO; remove it",
        ),
        (
            ["-s", "none/here", "--control", "c"],
            "it must exist and be writable",
        ),
        (["-s", "here", "-P", "precious"], "holds no PID; remove it"),
    ] {
        wrong(
            &site,
            "sockserv",
            &[&sockserv[..], &args].concat(),
            sentence,
        );
    }
    let servsock = ["--db", "sqlite:new.db", "-p", "0"];
    for (args, sentence) in [
        (
            ["-W", "none", "--control", "c"],
            "directory for alerts (-W) none: No such file",
        ),
        (
            ["--db", "sqlite:none/x.db", "--control", "c"],
            "database none/x.db cannot be made",
        ),
        (
            ["--listen", "192.0.2.1", "--control", "c"],
            "--listen takes an address of this machine",
        ),
    ] {
        let args = match args[0] {
            "--db" => [&servsock[2..], &args].concat(),
            _ => [&servsock[..], &args].concat(),
        };
        wrong(&site, "servsock", &args, sentence);
    }
}

#[test]
fn in_the_background_paths_are_meant_from_the_daemons_directory() {
    let site = Site::empty(Kind::Sqlite);
    fs::create_dir(site.path("dir")).expect("a folder");
    let args = ["-s", "here", "-N", "sensor", "--offline", "-b", "-w", "dir"];
    fine(
        &site,
        "sockserv",
        &args,
        &[
            "directory (-w) dir can be written",
            "alert socket dir/here can be made",
        ],
    );
    let args = ["--db", "sqlite:x.db", "-p", "0", "-b", "-w", "dir"];
    fine(&site, "servsock", &args, &["database dir/x.db can be made"]);
}

#[test]
fn a_test_makes_no_tables() {
    let site = Site::empty(Kind::Postgres);
    let db = site.database.url();
    fine(&site, "servsock", &["--db", &db, "-p", "0"], &[" answers"]);
    let Database::Postgres(_) = &site.database else {
        panic!("asked for PostgreSQL")
    };
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(site.database.number(tables), 0);
    let nobody = "postgresql://u:p@127.0.0.1:1/nothing";
    wrong(
        &site,
        "servsock",
        &["--db", nobody, "-p", "0"],
        "--offline leaves this out",
    );
    fine(
        &site,
        "servsock",
        &["--db", nobody, "-p", "0", "--offline"],
        &[],
    );
}
