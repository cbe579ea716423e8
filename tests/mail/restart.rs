//! SIGHUP while something waits: nothing is lost, nothing is told twice, and nothing early.

use crate::program::{Program, record, wait_for};
use crate::server::Server;
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// A port where nobody listens.
fn free_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port().to_string()
}

#[test]
fn what_waits_is_carried_over_while_the_mail_server_is_away() {
    for name in ["drop", "alert"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf");
        let write = |port: &str| {
            let text = format!(
                "MailServer: localhost\nMailPort: {port}\nMailRecipient: root\nMailDomain: x\nMaxWaiting: 2\n"
            );
            fs::write(&file, text).unwrap();
        };
        write(&free_port());
        let mut program = Program::start(name, &["-c", file.to_str().unwrap()]);
        for n in 0..3 {
            program.send(&record(n, 1, "before"));
        }
        program.send(r#"{"dropped":7,"sensor":"s1","reason":"HighWater"}"#);
        program.restart();
        program.restart();
        program.send(&record(9, 2, "after"));
        let server = Server::start(&[]);
        write(&server.port()); // The program reads its file again.
        program.restart();
        assert_eq!(server.mails(), 0, "there is no hurry:\n{}", program.said());
        assert_eq!(program.stop(), 0, "{}", program.said());
        let mail = server.mail(0);
        assert_eq!(
            mail.field("Subject"),
            format!("{name}: 11 alerts, priority 1: [1:0:2] before")
        );
        assert_eq!(mail.body.matches(" -> ").count(), 2, "{}", mail.body);
        assert!(mail.body.contains("reason: HighWater"), "{}", mail.body);
        assert_eq!(server.mails(), 1);
        assert!(!program.said().contains("cannot"), "{}", program.said());
        assert!(!program.socket().exists());
    }
}

#[test]
fn failed_tries_are_carried_over() {
    let port = free_port();
    let args = format!("-S 127.0.0.1 -p {port} -r root -d x -L 1 -M 3 --retry 2");
    let mut alert = Program::start("alert", &args.split(' ').collect::<Vec<_>>());
    alert.send(&record(7, 1, "one"));
    alert.wait_until_it_says("try 1 of 3");
    alert.restart();
    alert.wait_until_it_says("try 2 of 3");
    alert.restart();
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    let said = alert.wait_until_it_says("cannot tell 1 alert, tries: 3");
    assert_eq!(said.matches("Connection refused").count(), 3, "{said}");
    assert!(!alert.socket().exists(), "the socket is removed");
}

#[test]
fn a_delay_does_not_begin_anew() {
    let server = Server::start(&[]);
    let port = server.port();
    let args = format!("-S localhost -p {port} -r root -d x -A 3");
    let drop = Program::start("drop", &args.split(' ').collect::<Vec<_>>());
    drop.send(&record(7, 1, "one"));
    wait_for("mail in spite of restarts", || {
        drop.restart();
        (server.mails() == 1).then_some(())
    });
}

/// A mail server that takes its time for the end of the first mail, and counts what it took.
#[derive(Default)]
struct Slow {
    connections: AtomicUsize,
    taken: AtomicUsize,
    /// The first mail is there, and its end waits for `goes_on`.
    is_asked: AtomicBool,
    goes_on: AtomicBool,
}

impl Slow {
    fn start() -> (Arc<Slow>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let slow = Arc::new(Slow::default());
        let server = Arc::clone(&slow);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                thread::spawn(move || server.converse(stream));
            }
        });
        (slow, port)
    }

    /// Ends at the first error: the client is gone.
    fn converse(&self, mut stream: TcpStream) -> Option<()> {
        let is_first = self.connections.fetch_add(1, SeqCst) == 0;
        stream.write_all(b"220 hi\r\n").ok()?;
        let mut in_mail = false;
        for line in BufReader::new(stream.try_clone().ok()?).lines() {
            let line = line.ok()?;
            let is_end = in_mail && line == ".";
            if is_end && is_first {
                self.is_asked.store(true, SeqCst);
                while !self.goes_on.load(SeqCst) {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            if is_end {
                self.taken.fetch_add(1, SeqCst);
            }
            match (in_mail && !is_end, line.as_str()) {
                (true, _) => {}
                (false, "DATA") => stream.write_all(b"354 go on\r\n").ok()?,
                (false, _) => stream.write_all(b"250 ok\r\n").ok()?,
            }
            in_mail = !is_end && (in_mail || line == "DATA");
        }
        None
    }

    fn wait_until_asked(&self) {
        wait_for("mail", || self.is_asked.load(SeqCst).then_some(()));
    }
}

#[test]
fn a_mail_that_is_on_its_way_is_mailed_once() {
    let (server, port) = Slow::start();
    let args = format!("-S 127.0.0.1 -p {port} -r root -d x -L 1 --drain 20");
    let mut drop = Program::start("drop", &args.split(' ').collect::<Vec<_>>());
    drop.send(&record(7, 1, "one"));
    server.wait_until_asked();
    drop.hang_up();
    drop.wait_until_it_says("restarting: SIGHUP");
    server.goes_on.store(true, SeqCst);
    drop.wait_until_it_says("told 1 alert");
    wait_for("restart", || {
        (drop.said().matches(": ready: ").count() == 2).then_some(())
    });
    assert_eq!(drop.stop(), 0);
    assert_eq!(server.taken.load(SeqCst), 1);
    assert_eq!(server.connections.load(SeqCst), 1, "{}", drop.said());
}

#[test]
fn a_mail_that_hangs_is_no_failed_try_and_goes_to_the_next_program() {
    let (server, port) = Slow::start();
    let args = format!("-S 127.0.0.1 -p {port} -r root -d x -L 1 -M 1 --drain 1");
    let mut alert = Program::start("alert", &args.split(' ').collect::<Vec<_>>());
    alert.send(&record(7, 1, "one"));
    server.wait_until_asked();
    alert.restart();
    let said = alert.wait_until_it_says("told 1 alert");
    assert_eq!(server.taken.load(SeqCst), 1);
    assert!(!said.contains("cannot"), "{said}");
    assert_eq!(alert.stop(), 0);
}

#[test]
fn a_flood_over_restarts_is_told_to_the_last_alert_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let told = folder.path().join("told");
    fs::write(&program, format!("#!/bin/sh\ncat >> {}\n", told.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let args = [
        "--exec",
        program.to_str().unwrap(),
        "-L",
        "1",
        "--drain",
        "30",
    ];
    let mut drop = Program::start("drop", &args);
    let flood = 5 * 400;
    for n in 0..flood {
        if n % 400 == 200 {
            drop.hang_up(); // And goes on sending.
        }
        drop.send(&record(n, 1, "flood"));
    }
    drop.restart();
    assert_eq!(drop.stop(), 0, "{}", drop.said());
    let lines = fs::read_to_string(&told).unwrap();
    let rules = lines.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["sid"].as_u64().unwrap()
    });
    let rules: Vec<u64> = rules.collect();
    assert_eq!(rules.len(), flood as usize, "{}", drop.said());
    assert_eq!(rules.iter().collect::<HashSet<_>>().len(), flood as usize);
}
