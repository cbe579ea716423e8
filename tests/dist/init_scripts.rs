//! The init scripts, run as an administrator does, on the built programs.

use crate::programs::{self, Program};
use crate::support::{Daemon, built, read, run, tree};
use std::fs;
use std::process::Command;
use tempfile::TempDir;

/// A tree with one program's script, its configuration, and the file that names places of the test's own.
struct Host {
    tree: TempDir,
    program: Program,
}

impl Host {
    fn new(program: Program) -> Host {
        let tree = tree();
        let here = tree.path().display();
        let name = program.name;
        let whoami = run(Command::new("id").arg("-un")).1;
        let defaults = format!(
            "DAEMON={}\nCONFIG={here}/x.conf\nRUN_DIR={here}/run\nSTATE_DIR={here}/state\nRUN_AS={whoami}\n\
             DAEMON_OPTS='{}'\nSTOP_SECS=30\n",
            built(name).display(),
            Daemon::options(name).join(" "),
        );
        for folder in ["run", "state"] {
            fs::create_dir(tree.path().join(folder)).expect("a folder");
        }
        fs::write(tree.path().join("defaults"), defaults).expect("a file");
        fs::write(tree.path().join("x.conf"), "# Nothing.\n").expect("a file");
        Host { tree, program }
    }

    /// Asks the script; returns its exit code and what it says.
    fn asks(&self, action: &str) -> (Option<i32>, String) {
        let script = self.tree.path().join("etc/init.d").join(self.program.name);
        run(Command::new(script)
            .arg(action)
            .env("DEFAULTS", self.tree.path().join("defaults")))
    }

    fn does(&self, action: &str) {
        let (code, said) = self.asks(action);
        assert_eq!(code, Some(0), "{} {action}: {said}", self.program.name);
    }

    fn status(&self) -> Option<i32> {
        self.asks("status").0
    }

    fn pid(&self) -> u32 {
        let path = self
            .tree
            .path()
            .join(format!("run/{}.pid", self.program.name));
        let text = fs::read_to_string(path).expect("a PID file");
        text.trim_end().parse().expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.asks("stop");
    }
}

#[test]
fn each_script_starts_restarts_stops_and_tells_its_status() {
    for program in programs::all() {
        let host = Host::new(program);
        assert_eq!(host.status(), Some(3), "it does not run");
        host.does("stop");
        host.does("try-restart");
        assert_eq!(host.status(), Some(3), "it did not run");
        host.does("start");
        assert_eq!(host.status(), Some(0));
        let first = host.pid();
        host.does("start");
        assert_eq!(host.pid(), first, "a second start changes nothing");
        host.does("force-reload");
        host.does("reload");
        assert_eq!(
            (host.status(), host.pid()),
            (Some(0), first),
            "SIGHUP keeps the process"
        );
        host.does("restart");
        let second = host.pid();
        assert_ne!(second, first);
        host.does("try-restart");
        assert_ne!(host.pid(), second);
        host.does("stop");
        assert_eq!(host.status(), Some(3));
    }
}

#[test]
fn a_configuration_that_is_refused_is_told_and_ends_no_daemon() {
    for program in programs::all() {
        let host = Host::new(program);
        host.does("start");
        let pid = host.pid();
        fs::write(host.tree.path().join("x.conf"), "Nonsense: 1\n").expect("a file");
        for action in ["reload", "restart"] {
            let (code, said) = host.asks(action);
            assert_ne!(code, Some(0), "{said}");
            assert!(said.contains("x.conf:1: Nonsense is no keyword"), "{said}");
        }
        assert_eq!((host.status(), host.pid()), (Some(0), pid));
    }
}

#[test]
fn a_start_that_is_refused_says_why_and_a_dead_daemon_is_told_from_a_stopped_one() {
    let servsock = programs::all()
        .into_iter()
        .find(|program| program.name == "servsock");
    let host = Host::new(servsock.expect("it is one of them"));
    fs::write(host.tree.path().join("x.conf"), "Listen: 192.0.2.1\n").expect("a file");
    let (code, said) = host.asks("start");
    assert_ne!(code, Some(0), "{said}");
    assert!(said.contains("cannot listen on 192.0.2.1"), "{said}");
    fs::write(host.tree.path().join("x.conf"), "").expect("a file");
    host.does("start");
    let (_, said) = run(Command::new("kill").args(["-9", &host.pid().to_string()]));
    assert_eq!(said, "");
    crate::support::eventually("the daemon is gone", || match host.status() {
        Some(1) => Ok(()),
        other => Err(format!("status is {other:?}")),
    });
    host.does("start");
}

#[test]
fn an_unknown_action_tells_the_known_ones() {
    let [program, ..] = programs::all();
    let (code, said) = Host::new(program).asks("dance");
    assert_eq!(code, Some(3));
    assert!(said.contains("start|stop|restart"), "{said}");
}

#[test]
fn the_scripts_are_plain_shell() {
    let tree = tree();
    for program in programs::all() {
        let path = tree.path().join("etc/init.d").join(program.name);
        assert_eq!(
            run(Command::new("dash").arg("-n").arg(path)),
            (Some(0), String::new())
        );
        let script = read(&tree, &format!("etc/init.d/{}", program.name));
        assert!(script.contains(&format!("# Provides:          {}\n", program.name)));
    }
}
