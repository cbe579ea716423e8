//! A service manager, which is the test itself with a real NOTIFY_SOCKET, hears of the real programs.

use crate::programs;
use crate::support::{Daemon, built, eventually};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What systemd sets for `WatchdogSec=`. The threads are looked at four times in it.
const WATCHDOG_USEC: &str = "400000";
const TWO_LOOKS: Duration = Duration::from_millis(200);

struct Manager {
    socket: UnixDatagram,
    daemon: Daemon,
}

impl Manager {
    /// Starts a program as systemd does; standard output goes to `stdout`, or to the log like standard error.
    fn starts(name: &str, stdout: Option<Stdio>) -> Manager {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        let log = folder.path().join("log");
        let file = File::create(&log).expect("a log file");
        let stdout = stdout.unwrap_or_else(|| file.try_clone().expect("a descriptor").into());
        let child = Command::new(built(name))
            .args(Daemon::options(name))
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("WATCHDOG_USEC", WATCHDOG_USEC)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .spawn()
            .expect("a process");
        let daemon = Daemon { child, log, folder };
        Manager { socket, daemon }
    }

    /// The next message, if one comes soon.
    fn next(&self) -> Option<String> {
        let mut message = [0; 1024];
        match self.socket.recv(&mut message) {
            Ok(bytes) => Some(String::from_utf8_lossy(&message[..bytes]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("the notification socket: {error}"),
        }
    }

    /// Waits for a message other than signs of life, which must be this one.
    fn hears(&self, line: &str) {
        eventually(&format!("systemd hears {line}"), || match self.next() {
            Some(message) if message == "WATCHDOG=1\n" => Err("only signs of life".to_owned()),
            Some(message) => {
                assert!(
                    message.lines().any(|told| told == line),
                    "{line}: {message}"
                );
                Ok(())
            }
            None => Err("nothing".to_owned()),
        });
    }

    fn hears_signs_of_life(&self, times: usize) {
        let mut heard = 0;
        eventually("signs of life", || {
            heard += usize::from(self.next().as_deref() == Some("WATCHDOG=1\n"));
            match heard >= times {
                true => Ok(()),
                false => Err(format!("{heard} came")),
            }
        });
    }

    fn hears_no_more_signs_of_life(&self) {
        let mut last = Instant::now();
        eventually("silence", || match self.next() {
            None if last.elapsed() > 3 * TWO_LOOKS => Ok(()),
            None => Err("not long enough".to_owned()),
            Some(_) => {
                last = Instant::now();
                Err("a sign of life".to_owned())
            }
        });
    }
}

#[test]
fn systemd_hears_of_start_life_restart_and_stop() {
    for program in programs::all() {
        let mut manager = Manager::starts(program.name, None);
        manager.hears("READY=1");
        manager.hears_signs_of_life(5);
        manager.daemon.signal(Signal::SIGHUP);
        manager.hears("RELOADING=1");
        manager.hears("READY=1");
        manager.hears_signs_of_life(5);
        manager.daemon.signal(Signal::SIGTERM);
        manager.hears("STOPPING=1");
        assert_eq!(manager.daemon.ends().code(), Some(0), "{}", program.name);
    }
}

#[test]
fn a_restart_tells_its_time_as_systemd_253_wants_it() {
    let manager = Manager::starts("servsock", None);
    manager.hears("READY=1");
    manager.daemon.signal(Signal::SIGHUP);
    let told = eventually("RELOADING", || {
        let message = manager
            .next()
            .filter(|message| message.contains("RELOADING=1"));
        message.ok_or_else(|| "nothing".to_owned())
    });
    let time = told
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        time.is_some_and(|time| time.parse::<u64>().is_ok()),
        "{told}"
    );
}

#[test]
fn a_thread_that_hangs_makes_it_silent_until_it_goes_on() {
    let (mut output, stdout) = std::io::pipe().expect("a pipe");
    let manager = Manager::starts("sockserv", Some(stdout.into()));
    manager.hears("READY=1");
    manager.hears_signs_of_life(2);
    // Nobody reads standard output: sensor-ctrl hangs once the pipe is full of its answers.
    let fifo = manager.daemon.folder.path().join("socket.ctrl");
    let mut fifo = File::options()
        .write(true)
        .open(fifo)
        .expect("it reads its FIFO");
    fifo.write_all(&b"help\n".repeat(2000))
        .expect("it reads its FIFO");
    manager.hears_no_more_signs_of_life();
    let log = fs::read_to_string(&manager.daemon.log).expect("a log");
    assert_eq!(
        log.matches("thread sensor-ctrl has not answered").count(),
        1,
        "{log}"
    );
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while output.read(&mut bytes).is_ok_and(|bytes| bytes > 0) {}
    });
    manager.hears_signs_of_life(2);
}

#[test]
fn without_a_service_manager_nothing_happens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let file = File::create(&log).expect("a log file");
    let child = Command::new(built("sockserv"))
        .args(Daemon::options("sockserv"))
        .current_dir(folder.path())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .stdout(file.try_clone().expect("a descriptor"))
        .stderr(file)
        .spawn()
        .expect("a process");
    let daemon = Daemon { child, log, folder };
    daemon.says("sockserv: ready");
    let threads = format!("/proc/{}/task", daemon.child.id());
    for thread in fs::read_dir(threads).expect("its threads").flatten() {
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        assert_ne!(name.trim_end(), "main-watchdog");
    }
    let log = fs::read_to_string(&daemon.log).expect("a log");
    assert!(!log.contains("service manager"), "{log}");
}
