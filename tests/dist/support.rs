//! A tree as it is installed, and programs that run.

use crate::files::{self, Places};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a test waits for comes within this, also on a busy machine with two cores.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value. It says what it saw instead, for the message when it never does.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > DEADLINE => {
                panic!("{what}: not within {DEADLINE:?}, but {seen}")
            }
            Err(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// The path of a program of this package.
pub(crate) fn built(name: &str) -> &'static Path {
    Path::new(match name {
        "sockserv" => env!("CARGO_BIN_EXE_sockserv"),
        "servsock" => env!("CARGO_BIN_EXE_servsock"),
        "drop" => env!("CARGO_BIN_EXE_drop"),
        "alert" => env!("CARGO_BIN_EXE_alert"),
        _ => panic!("no program {name}"),
    })
}

/// A tree for /usr and /etc, below a folder that is gone at the end.
pub(crate) fn tree() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let places = Places {
        prefix: "/usr",
        sysconf: "/etc",
    };
    files::write_all(folder.path(), &places).expect("a tree");
    folder
}

/// A text of that tree.
pub(crate) fn read(tree: &TempDir, path: &str) -> String {
    let path = tree.path().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a command says, and its exit code.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

/// One of the built programs in the foreground, in a folder of its own. Killed at the end of the test.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) log: PathBuf,
    // Dropped last.
    pub(crate) folder: TempDir,
}

impl Daemon {
    /// The options with which each starts anywhere, without a server to talk to.
    pub(crate) fn options(name: &str) -> Vec<&'static str> {
        match name {
            "sockserv" => vec!["-s", "socket", "-p", "1", "-N", "sensor"],
            "servsock" => vec!["-p", "0", "--db", "sqlite:flop.db"],
            _ => vec!["-s", "socket", "--exec", "/bin/true"],
        }
    }

    pub(crate) fn says(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), || {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            match log.contains(text) {
                true => Ok(()),
                false => Err(log),
            }
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    pub(crate) fn ends(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the program ends", || {
            let status = child.try_wait().expect("a child of ours");
            status.ok_or_else(|| "it runs on".to_owned())
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
