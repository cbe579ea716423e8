//! One running `drop` or `alert`, its socket, and what it says.

use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// No condition takes so long, also on a machine with other work.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` gives something; `what` is for the panic.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "no {what} in time");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A program in a folder of its own, which is gone with it.
pub(crate) struct Program {
    child: Child,
    said: Arc<Mutex<String>>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

pub(crate) fn executable(name: &str) -> &'static str {
    match name {
        "drop" => env!("CARGO_BIN_EXE_drop"),
        _ => env!("CARGO_BIN_EXE_alert"),
    }
}

/// Runs a program that ends by itself: exit code and all it said.
pub(crate) fn run(name: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(executable(name)).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

impl Program {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(name: &str, args: &[&str]) -> Program {
        Program::start_in(Path::new("."), name, args)
    }

    /// The same in another directory.
    pub(crate) fn start_in(directory: &Path, name: &str, args: &[&str]) -> Program {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let mut child = Command::new(executable(name))
            .current_dir(directory)
            .arg("-s")
            .arg(&socket)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        let program = Program {
            child,
            said,
            socket,
            _folder: folder,
        };
        program.wait_until_it_says("ready");
        program
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a datagram to its socket; waits as sockserv does, a second at most.
    pub(crate) fn send(&self, record: &str) {
        self.send_bytes(record.as_bytes());
    }

    pub(crate) fn send_bytes(&self, datagram: &[u8]) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        let sent = socket.send_to(datagram, &self.socket);
        sent.unwrap_or_else(|error| panic!("{error}; it said:\n{}", self.said()));
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn wait_until_it_says(&self, text: &str) -> String {
        let found = || Some(self.said()).filter(|said| said.contains(text));
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(said) = found() {
                return said;
            }
            assert!(
                Instant::now() < deadline,
                "no {text:?} in:\n{}",
                self.said()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit, which must come.
    pub(crate) fn wait_until_it_ends(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("end of the program", || child.try_wait().unwrap())
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        self.terminate();
        self.wait_until_it_ends().code().unwrap_or(-1)
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGHUP, and until it is ready again.
    pub(crate) fn restart(&self) {
        let ready = |said: &str| said.matches(": ready: ").count();
        let before = ready(&self.said());
        self.hang_up();
        let deadline = Instant::now() + DEADLINE;
        while ready(&self.said()) <= before {
            assert!(Instant::now() < deadline, "no restart:\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Its resident memory in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(mut from: impl Read + Send + 'static, to: &Arc<Mutex<String>>) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            to.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        }
    });
}

/// An alert of rule `sid`.
pub(crate) fn record(sid: u32, priority: u32, message: &str) -> String {
    serde_json::json!({
        "sensor": "s1", "interface": "eth0", "time": "2025-10-09T08:53:20.100003Z",
        "gid": 1, "sid": sid, "rev": 2, "priority": priority, "message": message,
        "src": "192.0.2.1", "sport": 53, "dst": "192.0.2.2", "dport": 1024, "proto": 17,
        "reason": "HighWater",
    })
    .to_string()
}
