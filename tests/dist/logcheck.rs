//! What the programs say on an ordinary day is no news for logcheck; what somebody must look at is.

use crate::support::{built, eventually, read, run, tree};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A syslog daemon that is the test itself, and a folder with all four programs.
struct Day {
    folder: tempfile::TempDir,
    syslog: UnixDatagram,
    lines: Vec<String>,
    pids: Vec<i32>,
}

impl Drop for Day {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pid in &self.pids {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
    }
}

impl Day {
    fn starts(&mut self, name: &str, options: &[&str]) -> i32 {
        let pid_file = format!("{name}.pid");
        let mut command = Command::new(built(name));
        command.current_dir(self.folder.path()).args(options);
        command.args(["-b", "--syslog-socket", "syslog", "-P", &pid_file]);
        let (code, said) = run(&mut command);
        assert_eq!(code, Some(0), "{said}");
        let pid = fs::read_to_string(self.folder.path().join(pid_file)).expect("a PID file");
        self.gets(&format!("{name}[{}]: ready", pid.trim_end()));
        let pid = pid.trim_end().parse().expect("a number");
        self.pids.push(pid);
        pid
    }

    /// Waits until a line contains this; returns it.
    fn gets(&mut self, text: &str) -> String {
        let (syslog, lines) = (&self.syslog, &mut self.lines);
        eventually(&format!("syslog gets {text:?}"), || {
            let mut line = [0; 8192];
            while let Ok(bytes) = syslog.recv(&mut line) {
                let line = String::from_utf8_lossy(&line[..bytes]);
                lines.push(as_written(line.trim_end_matches(['\0', '\n'])));
            }
            let found = lines.iter().find(|line| line.contains(text));
            found.cloned().ok_or_else(|| format!("{lines:#?}"))
        })
    }

    fn commands(&self, fifo: &str, command: &str) {
        let path = self.folder.path().join(fifo);
        let mut fifo = File::options()
            .write(true)
            .open(path)
            .expect("it reads its FIFO");
        writeln!(fifo, "{command}").expect("it reads its FIFO");
    }

    fn signal(&mut self, (name, pid): (&str, i32), signal: Signal, answer: &str) {
        kill(Pid::from_raw(pid), signal).expect("it runs");
        self.gets(&format!("{name}[{pid}]: {answer}"));
    }
}

/// As a syslog daemon writes it: without the priority, with the host.
fn as_written(line: &str) -> String {
    let line = line.split_once('>').expect("a priority").1;
    let (time, rest) = line.split_at(15);
    format!("{time} host{rest}")
}

/// The lines that logcheck would show.
fn shown(rules: &Path, lines: &[String]) -> String {
    let log = rules.with_file_name("log");
    fs::write(&log, lines.join("\n") + "\n").expect("a file");
    let (_, said) = run(Command::new("grep")
        .args(["-E", "-v", "-f"])
        .arg(rules)
        .arg(log));
    said
}

fn alert() -> Vec<u8> {
    br#"{"timestamp":"2025-10-09T08:53:20.000000+0000","event_type":"alert","src_ip":"192.0.2.1","dest_ip":"192.0.2.2","proto":"TCP","src_port":1,"dest_port":2,"alert":{"action":"allowed","gid":1,"signature_id":1,"rev":1,"signature":"x","category":"","severity":1}}"#.to_vec()
}

#[test]
fn an_ordinary_day_is_no_news() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let syslog = UnixDatagram::bind(folder.path().join("syslog")).expect("a socket");
    syslog
        .set_read_timeout(Some(Duration::from_millis(10)))
        .expect("a timeout");
    let mut day = Day {
        folder,
        syslog,
        lines: Vec::new(),
        pids: Vec::new(),
    };
    let servsock = day.starts("servsock", &["-p", "0", "--db", "sqlite:flop.db"]);
    let listening = day.gets("listening for sensors on ");
    let port = listening.rsplit(':').next().expect("a port").to_owned();
    let sensor = ["-s", "alerts", "-N", "sensor", "-D", "drops", "-p", &port];
    let sockserv = day.starts("sockserv", &sensor);
    let drop = day.starts("drop", &["-s", "drops", "--exec", "/bin/true", "-L", "1"]);
    day.gets("connected to servsock at ");
    let ids = UnixDatagram::unbound().expect("a socket");
    ids.send_to(&alert(), day.folder.path().join("alerts"))
        .expect("it takes alerts");
    ids.send_to(br#"{"dropped":1}"#, day.folder.path().join("drops"))
        .expect("it takes records");
    day.gets("the first alert is in the database");
    day.gets("told 1 alert");
    for fifo in ["alerts.ctrl", "servsock.ctrl"] {
        day.commands(fifo, "stats");
        day.commands(fifo, "high 20000");
    }
    day.gets("sent 1 [1]");
    day.gets(", stored ");
    day.signal(("sockserv", sockserv), Signal::SIGHUP, "restarting: SIGHUP");
    day.gets(" left after ");
    for daemon in [
        ("sockserv", sockserv),
        ("servsock", servsock),
        ("drop", drop),
    ] {
        day.signal(daemon, Signal::SIGTERM, "stopped: ");
    }
    let tree = tree();
    let rules = tree.path().join("etc/logcheck/ignore.d.server/flop");
    assert_eq!(shown(&rules, &day.lines), "");
}

#[test]
fn what_somebody_must_look_at_is_shown() {
    let tree = tree();
    let rules = tree.path().join("etc/logcheck/ignore.d.server/flop");
    assert!(
        !read(&tree, "etc/logcheck/ignore.d.server/flop").contains("\n\n"),
        "it would match all"
    );
    for text in [
        "sockserv[1]: servsock at 192.0.2.9:5765 cannot be reached",
        "sockserv[1]: 1 alerts could not be sent in the time to drain and are lost",
        "servsock[1]: cannot listen on 127.0.0.1:5765: Address already in use",
        "sockserv[1]: dropped {\"sid\":1}",
        "sockserv[1]: giving up: it is not there",
    ] {
        let line = format!("Nov 21 06:00:00 host {text}");
        assert_eq!(
            shown(&rules, std::slice::from_ref(&line)),
            format!("{line}\n")
        );
    }
}

#[test]
fn how_a_connection_is_compressed_is_no_news() {
    let tree = tree();
    let rules = tree.path().join("etc/logcheck/ignore.d.server/flop");
    for how in ["compressed", "not compressed (it is too old for that)"] {
        for after in [
            "",
            ", after 41 s without; 0 alerts were dropped since start",
        ] {
            let line = format!(
                "Nov 21 06:00:00 host sockserv[1]: connected to servsock at 192.0.2.9:5765, as sid 3, {how}{after}"
            );
            assert_eq!(shown(&rules, &[line]), "");
        }
    }
}
