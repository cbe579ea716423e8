//! One of the built programs, running: its log, its signals, its end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a test waits for comes within this, also on a busy machine with two cores.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value. It says what it saw instead, for the message when it never does.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    within(DEADLINE, what, condition)
}

/// As `eventually`, with a deadline that is itself a part of the behaviour.
pub(crate) fn within<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > deadline => {
                panic!("{what}: not within {deadline:?}, but {seen}")
            }
            Err(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

/// The path of a program of this package.
pub(crate) fn built(name: &str) -> &'static str {
    match name {
        "sockserv" => env!("CARGO_BIN_EXE_sockserv"),
        "servsock" => env!("CARGO_BIN_EXE_servsock"),
        "drop" => env!("CARGO_BIN_EXE_drop"),
        "alert" => env!("CARGO_BIN_EXE_alert"),
        _ => panic!("no program {name}"),
    }
}

impl Program {
    /// Starts a built program in `folder`.
    pub(crate) fn start(name: &str, args: &[String], folder: &Path, log: &Path) -> Program {
        Program::start_file(Path::new(built(name)), args, folder, log)
    }

    /// Starts a program in `folder`. Standard output and standard error go to the file `log`, behind what is there.
    pub(crate) fn start_file(
        program: &Path,
        args: &[String],
        folder: &Path,
        log: &Path,
    ) -> Program {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let child = Command::new(program)
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second descriptor"))
            .stderr(file)
            .spawn()
            .expect("a program that was built");
        Program {
            child,
            log: log.to_owned(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `text` is in the log; returns the line it first stands in.
    pub(crate) fn says(&mut self, text: &str) -> String {
        eventually(&format!("the log says {text:?}"), || {
            let ended = self.child.try_wait().expect("a child of ours");
            let log = self.log();
            match log.lines().find(|line| line.contains(text)) {
                Some(line) => Ok(line.to_owned()),
                None => {
                    let last = log.lines().last().unwrap_or_default();
                    assert!(
                        ended.is_none(),
                        "it never said {text:?} and ended: {ended:?}\n{log}"
                    );
                    Err(format!("its last line is {last:?}"))
                }
            }
        })
    }

    /// Waits until so many lines of the log contain `text`.
    pub(crate) fn says_times(&self, text: &str, times: usize) {
        eventually(
            &format!("the log says {text:?} {times} times"),
            || match self.lines_with(text) {
                seen if seen >= times => Ok(()),
                seen => Err(format!("it says it {seen} times")),
            },
        );
    }

    /// How many lines of the log contain `text`.
    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal_to(self.pid(), signal);
    }

    /// Waits until it ends by itself.
    pub(crate) fn exits(&mut self) -> ExitStatus {
        self.exits_within(DEADLINE)
    }

    /// Waits for its end, not longer than this.
    pub(crate) fn exits_within(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        within(deadline, "the program ends", || {
            let status = child.try_wait().expect("a child of ours");
            status.ok_or_else(|| String::from("it runs on"))
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// kill -9, and gone when this returns.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The processes that it started: servsock's workers.
    pub(crate) fn children(&self) -> Vec<u32> {
        children_of(self.pid())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let children = self.children();
        // A hung test may have left it stopped; SIGKILL reaches it all the same.
        self.kill();
        for pid in children {
            let _ = kill(process(pid), Signal::SIGKILL);
        }
    }
}

/// The processes that a process has started.
pub(crate) fn children_of(parent_pid: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent(*pid) == Some(parent_pid))
        .collect()
}

/// Sends a signal to a process that is there.
pub(crate) fn signal_to(pid: u32, signal: Signal) {
    kill(process(pid), signal).expect("the process is there");
}

/// Whether a process with this number is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// The process that a PID file names.
pub(crate) fn pid_in(file: &Path) -> u32 {
    let text = fs::read_to_string(file).expect("a PID file");
    text.trim().parse().expect("a number")
}

/// Waits until a process that is no child of ours has ended.
pub(crate) fn ends(pid: u32) {
    eventually("the daemon ends", || match is_alive(pid) {
        true => Err("it lives".to_owned()),
        false => Ok(()),
    });
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id"))
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|(_, parent)| parent)
}

/// State and parent of a process; its name, which may contain anything, stands in parentheses in front of them.
fn stat(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}
