//! Places that are taken, missing or nobody's: told before anything starts, with the exit code that init systems know.

use crate::database::Kind;
use crate::program::Program;
use crate::site::Site;
use std::fs;

/// It ends with this exit code, and its last line has these texts in it.
fn ends(mut program: Program, code: i32, texts: &[&str]) {
    let status = program.exits();
    let log = program.log();
    assert_eq!(status.code(), Some(code), "{log}");
    for text in texts {
        assert!(log.contains(text), "{text:?} is not in:\n{log}");
    }
}

#[test]
fn a_socket_that_a_living_process_serves_is_refused_and_stays() {
    // Another one, whose socket has the same name in another folder, is not the one to be named.
    let _elsewhere = Site::without_servsock(Kind::Sqlite);
    let mut site = Site::new(Kind::Sqlite);
    let who = format!(
        "sockserv, process {}, serves it already",
        site.sockserv().pid()
    );
    let absolute = site.path("sockserv").display().to_string();
    for (number, path) in ["sockserv", "./sockserv", &absolute]
        .into_iter()
        .enumerate()
    {
        let log = format!("second{number}");
        let second = site.run("sockserv", &log, &["-s", path, "--control", "second.ctrl"]);
        ends(
            second,
            1,
            &[&format!("cannot bind alert socket {path}: {who}")],
        );
    }
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
}

#[test]
fn a_socket_and_a_fifo_of_a_dead_process_are_replaced() {
    let mut site = Site::new(Kind::Sqlite);
    site.sockserv().kill();
    site.servsock().kill();
    for file in ["sockserv", "sockserv.ctrl", "servsock.ctrl"] {
        assert!(site.path(file).exists(), "{file} is left over");
    }
    site.start_servsock();
    site.start_sockserv();
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
}

#[test]
fn a_plain_file_in_the_place_of_socket_or_fifo_is_refused_and_not_deleted() {
    let site = Site::empty(Kind::Sqlite);
    let file = site.path("precious");
    fs::write(&file, "precious").expect("a writable folder");
    let sockserv = site.run("sockserv", "a", &["-s", "precious"]);
    ends(
        sockserv,
        1,
        &["cannot bind alert socket precious: there is a file which is no socket"],
    );
    let sockserv = site.run("sockserv", "b", &["-s", "socket", "--control", "precious"]);
    ends(
        sockserv,
        1,
        &["cannot make control FIFO precious: there is a file which is no FIFO"],
    );
    let servsock = site.run("servsock", "c", &["-p", "0", "--control", "precious"]);
    ends(
        servsock,
        1,
        &["cannot make control FIFO precious: there is a file which is no FIFO"],
    );
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious");
    assert!(
        !site.path("socket").exists(),
        "what was bound before is removed"
    );
}

#[test]
fn usage_errors_end_with_code_2() {
    let site = Site::empty(Kind::Sqlite);
    let long = "x".repeat(108);
    for (number, (program, args, says)) in [
        ("sockserv", vec!["-s", &long], "has 108 bytes"),
        (
            "sockserv",
            vec!["-H", "10", "-L", "10"],
            "HighWater 10 is not above LowWater 10",
        ),
        ("sockserv", vec!["-N", ""], "sensor name (-N) of 0 bytes"),
        ("sockserv", vec!["-N", "a\nb"], "control character"),
        ("sockserv", vec!["-p", "70000"], "70000"),
        ("sockserv", vec!["--no-such-option"], "--no-such-option"),
        ("servsock", vec!["--db", "mysql://x/y"], "--db"),
        ("servsock", vec!["--db", "sqlite:"], "--db"),
        ("servsock", vec!["-p", "-1"], "-1"),
        ("servsock", vec!["surplus"], "surplus"),
    ]
    .into_iter()
    .enumerate()
    {
        let program = site.run(program, &format!("{number}"), &args);
        ends(program, 2, &[says]);
    }
    assert!(
        !site.path("servsock.ctrl").exists(),
        "refused before anything is made"
    );
}

#[test]
fn a_port_in_use_is_refused() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock();
    let (address, port) = (site.address(), site.address().port().to_string());
    let second = site.run(
        "servsock",
        "second",
        &["-p", &port, "--control", "second.ctrl"],
    );
    let text = format!("cannot listen on {address}: Address already in use");
    ends(second, 1, &[&text, "is another servsock running?"]);
    let elsewhere = site.run("servsock", "third", &["-p", "0", "--listen", "192.0.2.1"]);
    ends(
        elsewhere,
        1,
        &[
            "cannot listen on 192.0.2.1:0",
            "--listen takes an address of this machine",
        ],
    );
    assert!(site.servsock().is_running());
}

#[test]
fn a_free_port_is_told() {
    let site = Site::empty(Kind::Sqlite);
    let mut servsock = site.run("servsock", "servsock", &["-p", "0"]);
    let line = servsock.says("listening for sensors on 127.0.0.1:");
    let port: u16 = line
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a number");
    assert_ne!(port, 0);
    let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
    std::net::TcpStream::connect(address).expect("it listens there");
}

/// Permissions do not bind root, these places do.
#[test]
fn a_database_that_cannot_be_made_is_refused() {
    let site = Site::empty(Kind::Sqlite);
    fs::write(
        site.path("file"),
        "this is no database, and longer than a header of SQLite: ".repeat(20),
    )
    .expect("a writable folder");
    let before = fs::read(site.path("file")).expect("it is there");
    for (number, path) in ["file/x.db", "missing/x.db", "file", "."]
        .into_iter()
        .enumerate()
    {
        let db = format!("sqlite:{path}");
        let servsock = site.run("servsock", &format!("{number}"), &["-p", "0", "--db", &db]);
        ends(
            servsock,
            1,
            &[&format!("the database cannot be used: cannot open {db}: ")],
        );
    }
    assert_eq!(fs::read(site.path("file")).expect("it is there"), before);
    assert!(
        !site.path("servsock.ctrl").exists(),
        "what was made before is removed"
    );
}
