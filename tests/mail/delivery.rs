//! Mail as a real server gets it.

use crate::program::{Program, record, wait_for};
use crate::server::Server;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn start(name: &str, server: &Server, more: &str) -> Program {
    let port = server.port();
    let args = format!("-S localhost -p {port} -d flop.example -r root -r ids@example.org {more}");
    Program::start(name, &args.split_ascii_whitespace().collect::<Vec<_>>())
}

#[test]
fn one_mail_tells_all_that_waits() {
    let server = Server::start(&[]);
    let mut drop = start("drop", &server, "-L 3");
    drop.send(&record(10, 2, "Scan"));
    drop.send(&record(10, 2, "Scan"));
    drop.send(r#"{"dropped":7,"sensor":"s1","interface":"eth0","reason":"HighWater"}"#);
    let mail = server.mail(0);
    assert_eq!(mail.envelope["from"], "drop@flop.example");
    assert_eq!(mail.envelope["helo"], "flop.example");
    assert_eq!(mail.envelope["to"][0], "root@flop.example");
    assert_eq!(mail.envelope["to"][1], "ids@example.org");
    assert_eq!(
        mail.field("Subject"),
        "drop: 9 alerts, priority 2: [1:10:2] Scan"
    );
    assert_eq!(mail.field("From"), "drop@flop.example");
    assert_eq!(mail.field("To"), "root@flop.example, ids@example.org");
    assert_eq!(mail.field("Auto-Submitted"), "auto-generated");
    assert!(mail.field("Message-ID").ends_with("@flop.example>"));
    assert!(
        mail.body
            .starts_with("2 alerts of 1 rule, from 2025-10-09T08:53:20Z"),
        "{}",
        mail.body
    );
    assert!(
        mail.body.contains("       7  s1/eth0, reason: HighWater"),
        "{}",
        mail.body
    );
    assert!(
        mail.body
            .contains("192.0.2.1:53 -> 192.0.2.2:1024 proto 17, priority 2")
    );
    assert_eq!(drop.stop(), 0);
    assert_eq!(server.mails(), 1);
}

#[test]
fn what_waits_is_mailed_when_the_delay_is_over() {
    let server = Server::start(&[]);
    let _alert = {
        let alert = start("alert", &server, "-A 1");
        alert.send(&record(10, 2, "Scan"));
        alert
    };
    assert!(
        server
            .mail(0)
            .field("Subject")
            .starts_with("alert: 1 alert,")
    );
}

#[test]
fn what_waits_is_mailed_at_the_end() {
    let server = Server::start(&[]);
    let mut alert = start("alert", &server, "-f ids@flop.example");
    let stored = r#"{"sid":10,"priority":1,"message":"a","sensor_sid":3,"cid":99,"sensor":"s1"}"#;
    alert.send(stored);
    assert_eq!(alert.stop(), 0, "{}", alert.said());
    let mail = server.mail(0);
    assert_eq!(mail.envelope["from"], "ids@flop.example");
    assert!(
        mail.body.contains("in the database: sid 3 cid 99"),
        "{}",
        mail.body
    );
}

#[test]
fn a_hostile_message_makes_no_header_and_no_second_mail() {
    let server = Server::start(&[]);
    let mut drop = start("drop", &server, "-L 2");
    let hostile = "x\r\nBcc: all@example.org\r\n\r\n.\r\nMAIL FROM:<a@b>\r\n\0\u{202e}\u{2028}";
    drop.send(&record(
        10,
        1,
        &format!("{hostile}{}", "\u{fc}".repeat(400)),
    ));
    drop.send(&record(10, 1, &format!("{hostile}{}", "long ".repeat(160))));
    let mail = server.mail(0);
    assert!(
        mail.header.iter().all(|line| !line.starts_with("Bcc")),
        "{:?}",
        mail.header
    );
    assert!(
        mail.raw
            .split("\r\n")
            .all(|line| line.len() <= 998 && line != "."),
        "{}",
        mail.raw
    );
    assert!(
        mail.raw
            .bytes()
            .all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')),
        "{}",
        mail.raw
    );
    let shown = r"x\r\nBcc: all@example.org\r\n\r\n.\r\nMAIL FROM:<a@b>\r\n\u{0}\u{202e}\u{2028}";
    assert!(mail.body.contains(shown), "{}", mail.body);
    assert_eq!(drop.stop(), 0);
    assert_eq!(server.mails(), 1);
}

#[test]
fn a_flood_becomes_a_table_and_a_limit_of_single_alerts() {
    let server = Server::start(&[]);
    let mut drop = start("drop", &server, "--listed 5 --max-waiting 50 --drain 20");
    for n in 0..3000_u32 {
        drop.send(&record(n % 3, 1 + n % 3, &format!("rule {}", n % 3)));
    }
    assert_eq!(drop.stop(), 0, "{}", drop.said());
    let mail = server.mail(0);
    assert_eq!(
        mail.field("Subject"),
        "drop: 3000 alerts, priority 1: [1:0:2] rule 0"
    );
    assert!(mail.body.contains("    1000    3  "), "{}", mail.body);
    assert!(
        mail.body
            .contains("(2995 alerts more in the table above only)"),
        "{}",
        mail.body
    );
    assert_eq!(mail.body.matches(" -> ").count(), 5);
}

#[test]
fn memory_stays_small_however_much_waits() {
    let server = Server::start(&[]);
    let mut drop = start("drop", &server, "--drain 20");
    let message = "x".repeat(1000);
    for n in 0..30_000_u32 {
        drop.send(&record(n, 1, &message));
    }
    let kib = drop.memory_kib();
    assert!(kib < 100 << 10, "{kib} KiB for 30 MB of records");
    assert_eq!(drop.stop(), 0, "{}", drop.said());
    assert!(
        server
            .mail(0)
            .field("Subject")
            .starts_with("drop: 30000 alerts")
    );
}

#[test]
fn a_refused_recipient_costs_the_others_nothing() {
    let server = Server::start(&[]);
    let drop = start("drop", &server, "-r refused@example.org -L 1");
    drop.send(&record(10, 1, "Scan"));
    assert_eq!(server.mail(0).envelope["to"].as_array().unwrap().len(), 2);
    let said = drop.wait_until_it_says("refused a recipient");
    assert!(
        said.contains("refused@example.org: mail server localhost"),
        "{said}"
    );
    assert!(said.contains("550 5.1.1 no such user here"), "{said}");
}

#[test]
fn starttls_and_tls_encrypt_and_a_login_follows() {
    for how in ["starttls", "tls"] {
        let server = Server::start(&[how, "login"]);
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "sesame\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let more = format!(
            "-L 1 --tls {how} --ca-file {} --user user --password-file {}",
            server.certificate().display(),
            password.display()
        );
        let drop = start("drop", &server, &more);
        drop.send(&record(10, 1, "Scan"));
        let mail = server.mail(0);
        assert_eq!(mail.envelope["login"], true);
        if how == "starttls" {
            assert_eq!(mail.envelope["tls"], true);
        }
        assert!(!drop.said().contains("sesame"));
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = Server::start(&["starttls"]);
    for more in ["-L 1 -M 1 --tls starttls", "-L 1 -M 1"] {
        let mut alert = start("alert", &server, more);
        alert.send(&record(10, 1, "Scan"));
        assert_eq!(alert.wait_until_it_ends().code(), Some(1));
        assert_eq!(server.mails(), 0);
        let said = alert.wait_until_it_says("cannot tell 1 alert, tries: 1");
        assert!(
            said.contains("certificate") || said.contains("530"),
            "{said}"
        );
    }
}

#[test]
fn a_wrong_password_is_told() {
    let server = Server::start(&["login"]);
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "wrong").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let more = format!(
        "-L 1 -M 1 --user user --password-file {}",
        password.display()
    );
    let mut alert = start("alert", &server, &more);
    alert.send(&record(10, 1, "Scan"));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    alert.wait_until_it_says("answered 535");
}

#[test]
fn full_names_do_not_hold_up_a_mail() {
    let server = Server::start(&[]);
    let drop = start("drop", &server, "-F -L 2");
    drop.send(r#"{"sid":1,"sensor":"127.0.0.1"}"#);
    drop.send(r#"{"sid":1,"sensor":"no-such-host.invalid"}"#);
    let body = server.mail(0).body;
    assert!(body.contains("no-such-host.invalid (1)"), "{body}");
    assert!(!body.contains("127.0.0.1 (1)"), "{body}");
}

#[test]
fn hostile_datagrams_are_counted_and_the_others_told() {
    let server = Server::start(&[]);
    let mut drop = start("drop", &server, "-L 1");
    let long = vec![b'x'; 60_000];
    let bad: [&[u8]; 6] = [
        b"",
        b"\xff\xfe",
        b"{\"sid\":1e999}",
        b"{\"sid\":\"x\"}",
        b"[[[[",
        &long,
    ];
    for datagram in bad.iter().cycle().take(600) {
        drop.send_bytes(datagram);
    }
    drop.send(&record(10, 1, "Scan"));
    server.mail(0);
    assert_eq!(drop.stop(), 0);
    let said = drop.said();
    assert!(said.contains("600 datagrams refused"), "{said}");
    let lines = said.matches("were no records and are left out").count();
    assert!((1..=20).contains(&lines), "{lines} lines:\n{said}");
}

#[test]
fn after_failed_tries_one_mail_tells_all() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    let told = folder.path().join("told");
    let switch = folder.path().join("switch");
    let script = format!(
        "#!/bin/sh\n[ -e {0} ] && cat >> {1}\n",
        switch.display(),
        told.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let args = [
        "--exec",
        program.to_str().unwrap(),
        "-L",
        "1",
        "--retry",
        "1",
        "-M",
        "100",
    ];
    let drop = Program::start("drop", &args);
    drop.send(&record(10, 1, "one"));
    drop.wait_until_it_says("ended with exit status: 1; try 1 of 100");
    drop.send(&record(10, 1, "two"));
    fs::write(&switch, "").unwrap();
    let lines = wait_for("both alerts", || {
        fs::read_to_string(&told)
            .ok()
            .filter(|lines| lines.lines().count() == 2)
    });
    assert_eq!(lines.lines().next().unwrap(), record_in_order("one"));
    drop.wait_until_it_says("failed tries");
    std::mem::drop(server);
}

fn record_in_order(message: &str) -> String {
    let told = flop::dropped::read(record(10, 1, message).as_bytes());
    match told {
        Ok(flop::dropped::Told::Alert(record)) => record.json(),
        other => panic!("{other:?}"),
    }
}
