//! The socket beside the control FIFO: whoever connects gets the daemon's report as JSON, and the end. `--status` asks.
//!
//! Invariants:
//! - Mode 0600 before it has a name: nobody else can ever connect.
//! - Made only where nothing is, or where a dead daemon of this user left one; removed only while it is ours.
//! - A client that does not read costs the control thread `WRITE_SECS_MAX` at most.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::options::check_socket_path;
use crate::own_file::OwnFile;
use crate::status::Report;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For a client to read; a report fits the kernel's queue unless there are hundreds of sensors.
const WRITE_SECS_MAX: Duration = Duration::from_secs(1);
/// For the daemon to answer: servsock's control thread may wait for its master.
const ANSWER_SECS_MAX: Duration = Duration::from_secs(10);
/// A thousand sensors have half a megabyte.
const REPORT_BYTES_MAX: u64 = 16 << 20;
/// Clients that wait for their turn.
const BACKLOG: i32 = 8;

/// Where the status socket of a FIFO is.
pub fn place(fifo: &Path) -> PathBuf {
    let mut path = fifo.as_os_str().to_owned();
    path.push(".status");
    path.into()
}

/// The daemon's end. Its file is removed when dropped.
#[derive(Debug)]
pub(super) struct Answering {
    listener: UnixListener,
    #[expect(dead_code, reason = "removes the socket's file when it is dropped")]
    file: OwnFile,
}

impl Answering {
    /// Makes the socket beside a FIFO.
    ///
    /// # Errors
    ///
    /// Something else is there, a living process answers there, the path is too long, or the system refuses.
    pub(super) fn beside(fifo: &Path) -> Result<Answering, Error> {
        let path = place(fifo);
        let refused = |answer: String, advice: &str| {
            Error::start(
                format!("cannot make status socket {}", path.display()),
                answer,
                advice,
            )
        };
        let elsewhere = "--control names another place";
        check_socket_path(&path).map_err(|error| refused(error.to_string(), elsewhere))?;
        remove_left_over(&path).map_err(|answer| refused(answer, elsewhere))?;
        let listener = listen(&path).map_err(|error| refused(error.to_string(), elsewhere))?;
        let file = OwnFile::made(&path).map_err(|error| refused(error.to_string(), ""))?;
        Ok(Answering { listener, file })
    }

    /// Answers one client that waits, if one does.
    pub(super) fn answer(&self, report: impl FnOnce() -> Report) {
        let Ok((client, _)) = self.listener.accept() else {
            return; // It went away again, or no descriptor is left.
        };
        let report = serde_json::to_vec(&report()).expect("names and numbers become JSON");
        if let Err(error) = write_within(&client, &report, WRITE_SECS_MAX) {
            crate::debug!(
                Ctrl,
                1,
                "whoever asked for the status did not read it: {error}"
            );
        }
    }
}

impl AsFd for Answering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    // Linux makes the file with the mode of the socket's inode: there is no moment with another one.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn remove_left_over(path: &Path) -> Result<(), String> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(()); // Nothing there; bind says what else is wrong.
    };
    if !there.file_type().is_socket() {
        return Err("there is a file which is no socket; it is left alone".to_owned());
    }
    match connect(path).map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        Err(Some(Errno::ECONNREFUSED)) if there.uid() == geteuid().as_raw() => {
            fs::remove_file(path).map_err(|error| error.to_string())
        }
        Err(Some(Errno::ECONNREFUSED)) => Err(format!(
            "the socket there belongs to user id {}",
            there.uid()
        )),
        Err(Some(Errno::ENOENT)) => Ok(()),
        _ => Err("a living process answers there".to_owned()),
    }
}

/// Never waits for a daemon whose queue is full.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

fn write_within(mut client: &UnixStream, mut bytes: &[u8], limit: Duration) -> io::Result<()> {
    // On Linux an accepted socket does not take over that its listener never blocks; std promises neither.
    client.set_nonblocking(false)?;
    let deadline = Instant::now() + limit;
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_write_timeout(Some(left))?;
        match client.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks the daemon whose FIFO this is.
///
/// # Errors
///
/// Nobody answers, or not in a report's form: says at which path, and what to do.
pub fn ask(fifo: &Path) -> Result<Report, Error> {
    let path = place(fifo);
    let failed = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => "only the daemon's user and root may ask",
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "the daemon is there and does not answer; see README.debug"
            }
            _ => "is the daemon running, and with the same -c, -s or --control as given here?",
        };
        Error::start(format!("no answer from {}", path.display()), error, advice)
    };
    let client = connect(&path).map_err(failed)?;
    client
        .set_read_timeout(Some(ANSWER_SECS_MAX))
        .map_err(failed)?;
    let mut json = Vec::new();
    client
        .take(REPORT_BYTES_MAX)
        .read_to_end(&mut json)
        .map_err(failed)?;
    serde_json::from_slice(&json).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;
    use crate::status::SensorState;
    use std::thread;

    fn report(sensors: usize) -> Report {
        let sensor = SensorState {
            name: "x".repeat(200),
            ..SensorState::default()
        };
        Report {
            program: "sockserv".to_owned(),
            version: "1".to_owned(),
            listens: String::new(),
            now_us: 2,
            started_us: 1,
            database_away: false,
            sensors: vec![sensor; sensors],
        }
    }

    fn refusal(fifo: &Path) -> String {
        Answering::beside(fifo).unwrap_err().to_string()
    }

    #[test]
    fn who_asks_gets_the_report_also_a_long_one() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("x.ctrl");
        let answering = Answering::beside(&fifo).unwrap();
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&fifo));
            net::poll(&mut [net::readable(&answering)], None).unwrap();
            answering.answer(|| report(5_000));
            assert_eq!(asked.join().unwrap().unwrap(), report(5_000));
        });
    }

    #[test]
    fn a_client_that_does_not_read_costs_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("x.ctrl");
        let answering = Answering::beside(&fifo).unwrap();
        let _hangs = connect(&place(&fifo)).unwrap();
        let start = Instant::now();
        answering.answer(|| report(5_000));
        assert!(
            start.elapsed() < WRITE_SECS_MAX * 5,
            "{:?}",
            start.elapsed()
        );
        answering.answer(|| panic!("nobody waits any more"));
    }

    #[test]
    fn the_socket_is_0600_replaces_its_own_rest_and_refuses_everything_else() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("x.ctrl");
        let path = place(&fifo);
        let answering = Answering::beside(&fifo).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let answer = refusal(&fifo);
        assert!(
            answer.contains("a living process answers there"),
            "{answer}"
        );
        drop(answering);
        assert!(!path.exists(), "removed at the end");

        drop(UnixListener::bind(&path).unwrap()); // std leaves the file behind
        drop(Answering::beside(&fifo).expect("one that nobody serves is replaced"));

        fs::write(&path, "precious").unwrap();
        assert!(refusal(&fifo).contains("no socket; it is left alone"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        refusal(&fifo);
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn a_place_that_the_kernel_has_no_room_for_gets_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let room = 107 - folder.path().as_os_str().len() - "/.status".len();
        let fits = folder.path().join("x".repeat(room));
        Answering::beside(&fits).unwrap();
        let answer = refusal(&folder.path().join("x".repeat(room + 1)));
        assert!(
            answer.contains("has 108 bytes, a unix socket's may have 107"),
            "{answer}"
        );
    }

    #[test]
    fn nobody_there_is_a_sentence_with_the_path() {
        let answer = ask(Path::new("/nowhere/x.ctrl")).unwrap_err().to_string();
        assert!(
            answer.starts_with("no answer from /nowhere/x.ctrl.status: No such file")
                && answer.contains("is the daemon running"),
            "{answer}"
        );
    }
}
