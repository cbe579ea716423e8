//! The PID file: refuses a second start, and is removed at the end.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::own_file::{self, OwnFile};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Another start that looks into the file holds its lock for a moment.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// A PID file is a number; more is another file.
const FILE_BYTES_MAX: u64 = 64;

/// A PID file of ours: locked, so that of two starts at once one wins. Removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    // Dropped in this order: the file goes while its lock is held.
    #[expect(dead_code, reason = "removes the file when it is dropped")]
    own: OwnFile,
    #[cfg_attr(not(test), expect(dead_code, reason = "held, not used"))]
    lock: Flock<File>,
}

impl PidFile {
    /// Writes this process's PID. A file left over is replaced; one whose process lives refuses the start, unless
    /// that is this process (which has executed itself anew).
    ///
    /// # Errors
    ///
    /// Says which program lives, or what the system answered.
    pub fn create(path: &Path) -> Result<PidFile, Error> {
        let refused = |answer: String, advice: &str| {
            Error::start(
                format!("cannot take PID file {}", path.display()),
                answer,
                advice,
            )
        };
        let mut file = locked(path).map_err(|answer| refused(answer, ""))?;
        let mut text = String::new();
        let read = (&*file).take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| refused(error.to_string(), ""))?;
        // Of a restart: it stays as it is, for it must not be empty when somebody looks at it.
        if text == format!("{}\n", std::process::id()) {
            return PidFile::of(path, file).map_err(|error| refused(error.to_string(), ""));
        }
        match text.trim().parse::<i32>() {
            Ok(pid) if is_other_process(pid) => {
                return Err(refused(
                    format!("{} lives", who_is(pid)),
                    "stop that one first, or name another file with -P",
                ));
            }
            Err(_) if !text.trim().is_empty() => {
                return Err(refused(
                    "there is a file which holds no PID; it is left alone".to_owned(),
                    "remove it, or name another file with -P",
                ));
            }
            _ => {}
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        written
            .and_then(|()| PidFile::of(path, file))
            .map_err(|error| refused(error.to_string(), ""))
    }

    fn of(path: &Path, file: Flock<File>) -> io::Result<PidFile> {
        let id = own_file::id(&file.metadata()?);
        Ok(PidFile {
            own: OwnFile::new(path.to_owned(), id),
            lock: file,
        })
    }

    /// Removes the file that the program before this one in the same process had, if it still holds our PID.
    pub(super) fn remove_own(path: &Path) {
        let own = format!("{}\n", std::process::id());
        if fs::read_to_string(path).is_ok_and(|text| text == own) {
            // An error: a file that is left over refuses no start.
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens and locks the file that is at `path` now.
fn locked(path: &Path) -> Result<Flock<File>, String> {
    let patience = Instant::now() + LOCK_WAIT;
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits())
            .open(path)
            .map_err(|error| error.to_string())?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => {
                // Its last owner may have removed it between open and lock.
                let same = |there: fs::Metadata| {
                    file.metadata()
                        .is_ok_and(|ours| own_file::id(&ours) == own_file::id(&there))
                };
                if fs::symlink_metadata(path).is_ok_and(same) {
                    return Ok(file);
                }
            }
            Err((_, Errno::EAGAIN)) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err((file, Errno::EAGAIN)) => {
                let mut text = String::new();
                // Without its number the answer is a little shorter.
                let _ = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
                return Err(match text.trim().parse() {
                    Ok(pid) => format!("{} holds it", who_is(pid)),
                    Err(_) => "a living process holds it".to_owned(),
                });
            }
            Err((_, errno)) => return Err(errno.desc().to_owned()),
        }
    }
}

fn is_other_process(pid: i32) -> bool {
    let is_me = u32::try_from(pid).is_ok_and(|pid| pid == std::process::id());
    // EPERM: it lives, but is not ours.
    pid > 0 && !is_me && kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// A process as a part of a sentence: "sockserv, process 123,".
pub(crate) fn who_is(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(command) => format!("{}, process {pid},", command.trim_end()),
        Err(_) => format!("process {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn refusal(path: &Path) -> String {
        PidFile::create(path).unwrap_err().to_string()
    }

    #[test]
    fn it_holds_the_pid_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        let file = PidFile::create(&path).unwrap();
        let expected = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_living_process_refuses_the_start_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        fs::write(&path, "1\n").unwrap();
        let answer = refusal(&path);
        assert!(answer.contains(", process 1, lives"), "{answer}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn one_whose_process_has_ended_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        fs::write(&path, format!("{}\n", child.id())).unwrap();
        let _file = PidFile::create(&path).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
    }

    #[test]
    fn our_own_is_taken_again_after_an_exec_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        let left_by_exec = |file: PidFile| {
            // execve(2) drops nothing, but closes the file, and so gives up the lock.
            let file = std::mem::ManuallyDrop::new(file);
            nix::unistd::close(file.lock.as_raw_fd()).unwrap();
        };
        left_by_exec(PidFile::create(&path).unwrap());
        assert!(path.exists(), "left for the program that comes");
        let again = PidFile::create(&path).unwrap();
        assert!(refusal(&path).contains(" holds it"), "it is locked again");
        drop(again);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_is_not_used_any_more_is_removed_only_while_it_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        fs::write(&path, "1\n").unwrap();
        PidFile::remove_own(&path);
        assert!(path.exists());
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        PidFile::remove_own(&path);
        assert!(!path.exists());
    }

    #[test]
    fn our_own_is_not_written_again_so_that_nobody_finds_it_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
        let _ours = PidFile::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
    }

    #[test]
    fn of_two_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        let _first = PidFile::create(&path).unwrap();
        let answer = refusal(&path);
        assert!(answer.contains(" holds it"), "{answer}");
    }

    #[test]
    fn another_file_is_left_alone_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pid");
        fs::write(&path, "precious").unwrap();
        assert!(refusal(&path).contains("holds no PID; it is left alone"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        refusal(&path);
        assert!(!folder.path().join("elsewhere").exists());
    }
}
