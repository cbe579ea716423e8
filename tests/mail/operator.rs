//! What the operator gives and gets: files, tests of them, dumps, programs instead of mail.

use crate::program::{Program, record, run, wait_for};
use crate::server::Server;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_old_file_runs_as_it_is() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drop.conf");
    let text = format!(
        "# drop.conf\nAlarmDelay: 300\nalarmlevel = 1  # at once\nFQNNames: no\nDaemonMode: no\nSyslog: off\n\
         MailServer: 'localhost'\nMailPort: {}\nMailRecipient: root\nMailRecipient: \"ids@example.org\"\n\
         MailSender: flop\nMailDomain: flop.example\nMaxCount: 5\n",
        server.port()
    );
    fs::write(&file, text).unwrap();
    let drop = Program::start("drop", &["-c", file.to_str().unwrap()]);
    drop.send(&record(10, 1, "Scan"));
    let mail = server.mail(0);
    assert_eq!(mail.envelope["from"], "flop@flop.example");
    assert_eq!(mail.envelope["to"].as_array().unwrap().len(), 2);
}

#[test]
fn a_wrong_line_is_told_and_is_a_usage_error_but_for_a_test_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drop.conf");
    let path = file.to_str().unwrap();
    for (text, sentence) in [
        (
            "\nMailPort: 70000",
            ":2: MailPort 70000 is not a port (1 to 65535)",
        ),
        (
            "MailPrt: 25",
            ":1: MailPrt is no keyword; did you mean MailPort?",
        ),
        (
            "MailRecipient: a\n\nMailRecipient: b b",
            ":3: MailRecipient (-r) b b is no mail address",
        ),
        (
            "MailTLS: maybe",
            ":1: MailTLS maybe is none of off, starttls, tls",
        ),
        ("Umask: 999", ":1: Umask 999 is not a umask (0 to 0777"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, said) = run("drop", &["-c", path]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&format!("drop: {path}{sentence}")), "{said}");
        assert_eq!(run("drop", &["-T", "-c", path]).0, 1);
    }
}

#[test]
fn a_dump_is_a_file_that_gives_the_same_dump() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alert.conf");
    let args = "-D -r root -r b@example.org -d x.example -A 7 -F --tls tls --user u --password-file /secret";
    let (code, dump) = run("alert", &args.split(' ').collect::<Vec<_>>());
    assert_eq!(code, 0, "{dump}");
    for line in [
        "AlarmDelay: 7\n",
        "Retry: 7\n",
        "MailPort: 465\n",
        "MailSender: alert@x.example\n",
        "FQNNames: yes\n",
        "MailRecipient: root\nMailRecipient: b@example.org\n",
        "Socket: /tmp/alert\n",
        "MaxCount: 5\n",
        "# Exec:\n",
    ] {
        assert!(dump.contains(line), "{line} in:\n{dump}");
    }
    fs::write(&file, &dump).unwrap();
    assert_eq!(
        run("alert", &["-D", "-c", file.to_str().unwrap()]),
        (0, dump)
    );
}

#[test]
fn a_test_ends_with_a_sentence() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let port = server.port();
    let args = [
        "-T",
        "-r",
        "root",
        "-p",
        &port,
        "-s",
        socket.to_str().unwrap(),
    ];
    let (code, said) = run("alert", &args);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("the configuration is fine: alerts from"),
        "{said}"
    );
    assert!(!socket.exists());
    assert_eq!(server.mails(), 0);
    let (code, said) = run(
        "alert",
        &["-T", "-r", "root", "-p", &port, "-s", "/nowhere/socket"],
    );
    assert_eq!(code, 1);
    assert!(said.contains("the directory must exist"), "{said}");
}

#[test]
fn drop_without_recipients_prints_each_alert_at_once() {
    let mut drop = Program::start("drop", &[]);
    drop.send(&record(10, 1, "a\u{1b}[2J"));
    let said = drop.wait_until_it_says("\"sid\":10");
    assert!(!said.contains('\u{1b}'), "{said}");
    drop.send(r#"{"dropped":7,"sensor":"s1","reason":"HighWater"}"#);
    drop.wait_until_it_says("\"dropped\":7");
    assert_eq!(drop.stop(), 0);
    drop.wait_until_it_says("8 alerts printed");
}

#[test]
fn a_program_gets_the_records_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let program = script(
        folder.path(),
        &format!("cat > {0}.tmp; mv {0}.tmp {0}", told.display()),
    );
    let args = ["--exec", &program, "-L", "3", "--max-waiting", "1"];
    let drop = Program::start("drop", &args);
    drop.send(&record(10, 1, "one\nline"));
    drop.send(&record(11, 1, "two"));
    drop.send(r#"{"dropped":7}"#);
    let lines = wait_for("records", || fs::read_to_string(&told).ok());
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["message"], "one\nline");
    assert_eq!(lines[1]["dropped"], 7);
    assert_eq!(
        (&lines[2]["counted"], &lines[2]["sid"]),
        (&1.into(), &11.into())
    );
}

#[test]
fn what_comes_while_the_last_alerts_are_told_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let (told, go) = (folder.path().join("told"), folder.path().join("go"));
    let wait = format!("while ! [ -e {} ]; do sleep 0.01; done", go.display());
    let program = script(folder.path(), &format!("cat >> {}; {wait}", told.display()));
    let mut alert = Program::start("alert", &["--exec", &program, "-L", "1", "--drain", "20"]);
    let lines = || fs::read_to_string(&told).map_or(0, |told| told.lines().count());
    alert.send(&record(10, 1, "one"));
    wait_for("first alert", || (lines() == 1).then_some(()));
    alert.send(&record(11, 1, "two"));
    alert.terminate();
    wait_for("removal of the socket", || {
        (!alert.socket().exists()).then_some(())
    });
    fs::write(&go, "").unwrap();
    assert_eq!(
        alert.wait_until_it_ends().code(),
        Some(0),
        "{}",
        alert.said()
    );
    assert_eq!(lines(), 2);
}

#[test]
fn the_program_that_is_looked_at_is_the_one_that_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    script(folder.path(), &format!("cat >> {}", told.display()));
    let file = folder.path().join("drop.conf");
    fs::write(&file, "Exec: program\nAlarmLevel: 1\n").unwrap();
    let mut drop = Program::start_in(folder.path(), "drop", &["-c", "drop.conf"]);
    drop.send(&record(10, 1, "one"));
    drop.wait_until_it_says("told 1 alert");
    assert_eq!(fs::read_to_string(&told).unwrap().lines().count(), 1);
    assert_eq!(drop.stop(), 0);
}

#[test]
fn what_is_no_executable_file_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let socket = folder.path().join("socket");
    for (program, answer) in [
        ("/", "cannot run program /: it is no regular file"),
        (plain.to_str().unwrap(), "Permission denied"),
        ("sh", "cannot run program sh: No such file or directory"),
    ] {
        let args = ["-T", "-s", socket.to_str().unwrap(), "--exec", program];
        let (code, said) = run("drop", &args);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(answer), "{said}");
        assert!(
            said.contains("it must be a path to an executable file"),
            "{said}"
        );
    }
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let program = script(
        folder.path(),
        &format!("sleep 1000 & echo $! > {}; wait", pid.display()),
    );
    let args = [
        "--exec",
        &program,
        "-L",
        "1",
        "-M",
        "1",
        "--exec-timeout",
        "1",
    ];
    let mut alert = Program::start("alert", &args);
    let begun = Instant::now();
    alert.send(&record(10, 1, &"x".repeat(1000)));
    assert_eq!(alert.wait_until_it_ends().code(), Some(1));
    assert!(begun.elapsed().as_secs() < 20);
    alert.wait_until_it_says("did not end within 1 s and was killed");
    let pid: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    wait_for("end of the child", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        matches!(state, None | Some('Z')).then_some(())
    });
}

#[test]
fn a_program_that_does_not_read_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), "exec 0<&-; exit 0");
    let drop = Program::start("drop", &["--exec", &program, "-L", "500"]);
    (0..500).for_each(|n| drop.send(&record(n, 1, &"x".repeat(900))));
    drop.wait_until_it_says("told 500 alerts");
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "sesame").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let args = [
        "-r",
        "root",
        "--user",
        "u",
        "--password-file",
        file.to_str().unwrap(),
    ];
    let (code, said) = run("drop", &args);
    assert_eq!(code, 1);
    assert!(said.contains("others can read it (mode 0644)"), "{said}");
    assert!(!said.contains("sesame"), "{said}");
}

#[test]
fn help_and_version_are_no_errors() {
    for name in ["drop", "alert"] {
        let (code, said) = run(name, &["-h"]);
        assert_eq!(code, 0);
        assert!(said.contains(&format!("/tmp/{name}")), "{said}");
        let (code, said) = run(name, &["-v"]);
        assert_eq!(
            (code, said.trim_end()),
            (0, format!("{name} {}", env!("CARGO_PKG_VERSION")).as_str())
        );
        assert_eq!(run(name, &["--nonsense"]).0, 2);
    }
}
