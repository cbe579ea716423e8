//! Servers that no one wants: they answer 4xx or 5xx, hang, or close in the middle.

use crate::program::{Program, record, run};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What a bad server does at a command.
#[derive(Clone, Copy)]
enum Deed {
    Answer(&'static str),
    Hang,
    Close,
}

/// A server that is fine until the client says `at` ("" is the connection itself, "." the end of the mail).
struct Bad {
    port: String,
    connections: Arc<AtomicU64>,
}

impl Bad {
    fn start(at: &'static str, deed: Deed) -> Bad {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let connections = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, SeqCst);
                thread::spawn(move || converse(stream, at, deed));
            }
        });
        Bad { port, connections }
    }
}

/// Ends at the first error: the client is gone.
fn converse(mut stream: TcpStream, at: &str, deed: Deed) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut command = String::new();
    let mut in_mail = false;
    loop {
        let answer = match (command.as_str(), in_mail) {
            (command, _) if command.starts_with(at) && (!at.is_empty() || command.is_empty()) => {
                match deed {
                    Deed::Answer(answer) => answer,
                    Deed::Close => return None,
                    Deed::Hang => {
                        // Until the client leaves.
                        while lines.next()?.is_ok() {}
                        return None;
                    }
                }
            }
            (".", true) => "250 OK",
            (_, true) => "",
            ("DATA", false) => "354 go on",
            ("", false) => "220 ready",
            _ => "250 OK",
        };
        in_mail = (in_mail || answer.starts_with("354")) && command != ".";
        if !answer.is_empty() {
            stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
        }
        command = lines.next()?.ok()?;
        if command.is_empty() {
            command = " ".to_owned(); // An empty line of the mail, not the connection.
        }
    }
}

const DEEDS: [(&str, Deed, &str); 9] = [
    ("", Deed::Answer("421 too busy"), "answered 421"),
    ("", Deed::Close, "incomplete response"),
    ("", Deed::Hang, "no answer within 1 s"),
    ("MAIL", Deed::Answer("451 later\r\n"), "answered 451"),
    (
        "RCPT",
        Deed::Answer("550 no such user"),
        "all recipients are refused: root@x: mail server",
    ),
    ("DATA", Deed::Hang, "no answer within 1 s"),
    ("DATA", Deed::Close, "incomplete response"),
    (".", Deed::Answer("554 looks like spam"), "answered 554"),
    ("EHLO", Deed::Answer("250 \u{1b}[2J nonsense \u{1b}"), ""),
];

fn args<'a>(port: &'a str, tries: &'a str) -> Vec<&'a str> {
    let args = "-S 127.0.0.1 -r root -d x -L 1 --retry 1 --mail-timeout 1 --drain 1";
    let more = ["-p", port, "-M", tries];
    args.split(' ').chain(more).collect()
}

#[test]
fn drop_prints_what_no_server_takes_and_goes_on() {
    let deeds = DEEDS
        .into_iter()
        .filter(|(_, _, answer)| !answer.is_empty());
    let all: Vec<_> = deeds
        .map(|(at, deed, answer)| thread::spawn(move || prints_and_goes_on(at, deed, answer)))
        .collect();
    for one in all {
        one.join().unwrap();
    }
}

fn prints_and_goes_on(at: &'static str, deed: Deed, answer: &str) {
    let server = Bad::start(at, deed);
    let mut drop = Program::start("drop", &args(&server.port, "2"));
    drop.send(&record(7, 1, "first"));
    drop.wait_until_it_says("\"message\":\"first\"");
    // The record goes to standard output, what is said of it to standard error.
    let said = drop.wait_until_it_says("they are printed instead");
    assert!(said.contains(answer), "{at}: {said}");
    assert!(said.contains("try 1 of 2, the next in 1 s"), "{said}");
    assert!(said.contains("cannot tell 1 alert, tries: 2"), "{said}");
    drop.send(&record(8, 1, "second"));
    drop.wait_until_it_says("\"message\":\"second\"");
    assert_eq!(drop.stop(), 0, "{}", drop.said());
}

#[test]
fn alert_ends_with_an_error_and_says_how_many_it_had() {
    let server = Bad::start("MAIL", Deed::Answer("451 later"));
    let mut alert = Program::start("alert", &args(&server.port, "3"));
    alert.send(&record(7, 1, "one"));
    alert.wait_until_it_says("try 1 of 3");
    alert.send(&record(7, 1, "two"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    let said = alert.wait_until_it_says("alert ends");
    assert!(said.contains("cannot tell 2 alerts, tries: 3"), "{said}");
    assert!(said.contains("answered 451"), "{said}");
    assert_eq!(server.connections.load(SeqCst), 3);
    assert!(!alert.socket().exists(), "the socket is removed");
}

#[test]
fn a_refused_connection_is_a_failed_try() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut alert = Program::start("alert", &args(&port, "1"));
    alert.send(&record(7, 1, "one"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    alert.wait_until_it_says("Connection refused");
}

#[test]
fn the_socket_is_read_while_the_mail_server_hangs() {
    let server = Bad::start("MAIL", Deed::Hang);
    let port = server.port.clone();
    let args = format!("-S 127.0.0.1 -r root -d x -L 1 --mail-timeout 60 --drain 1 -p {port}");
    let mut drop = Program::start("drop", &args.split(' ').collect::<Vec<_>>());
    drop.send(&record(1, 1, "begin"));
    crate::program::wait_for("connection", || {
        (server.connections.load(SeqCst) == 1).then_some(())
    });
    let begun = Instant::now();
    (0..2000).for_each(|n| drop.send(&record(n % 10, 1, "flood")));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        drop.stop(),
        0,
        "a server that hangs does not hold up the end"
    );
    let said = drop.said();
    assert!(
        said.contains("no answer within 1 s after the signal to stop"),
        "{said}"
    );
    assert!(said.contains("2001 records came"), "{said}");
    assert_eq!(said.matches("\"message\":\"flood\"").count(), 2000);
}

#[test]
fn alert_counts_also_what_came_while_the_mail_server_hung() {
    let server = Bad::start("MAIL", Deed::Hang);
    let port = server.port.clone();
    let args = format!("-S 127.0.0.1 -r root -d x -L 1 --mail-timeout 60 --drain 1 -p {port}");
    let mut alert = Program::start("alert", &args.split(' ').collect::<Vec<_>>());
    alert.send(&record(1, 1, "begin"));
    crate::program::wait_for("connection", || {
        (server.connections.load(SeqCst) == 1).then_some(())
    });
    (0..4).for_each(|n| alert.send(&record(n, 1, "more")));
    assert_eq!(alert.stop(), 1);
    alert.wait_until_it_says("cannot tell 5 alerts, tries: 1");
}

#[test]
fn a_test_says_what_the_server_answers() {
    for (at, deed, answer) in DEEDS {
        if !matches!(at, "" | "EHLO") {
            continue;
        }
        let server = Bad::start(at, deed);
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let args = args(&server.port, "1");
        let args = [&args[..], &["-T", "-s", socket.to_str().unwrap()]].concat();
        let (code, said) = run("drop", &args);
        if !answer.is_empty() {
            assert_eq!(code, 1, "{said}");
            assert!(
                said.contains(answer) && said.contains("cannot use the mail server"),
                "{said}"
            );
        }
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}
