//! A unix datagram socket that we serve: bound only where no living process serves one, removed when dropped.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::own_file::OwnFile;
use crate::process::{self, LeftOpen};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::cell::Cell;
use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// A bound socket.
#[derive(Debug)]
pub struct Served {
    socket: UnixDatagram,
    file: OwnFile,
    /// Nobody can send any more.
    is_shut: Cell<bool>,
}

impl Served {
    /// Binds `path`. `what` names the socket in errors ("alert socket"). A socket file left over by a dead process is
    /// replaced: a connect to it is refused by the kernel, so a living daemon never loses its socket.
    ///
    /// # Errors
    ///
    /// A living process serves it (says which), it is no socket (not deleted), the directory is missing or not
    /// writable.
    pub fn bind(what: &str, path: &Path) -> Result<Served, Error> {
        let refused = |answer: String, advice: &str| {
            Error::start(
                format!("cannot bind {what} {}", path.display()),
                answer,
                advice,
            )
        };
        remove_left_over(path).map_err(|(answer, advice)| refused(answer, advice))?;
        let socket = UnixDatagram::bind(path).map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => "the directory must exist",
                io::ErrorKind::PermissionDenied => "the directory must be writable for this user",
                _ => "",
            };
            refused(error.to_string(), advice)
        })?;
        let file = OwnFile::made(path).map_err(|error| refused(error.to_string(), ""))?;
        Ok(Served::of(socket, file))
    }

    /// Takes over a socket that the program before this one in the same process left open. Its file may be gone by now,
    /// or be another's: see `is_there`.
    ///
    /// # Errors
    ///
    /// The descriptor is no such socket.
    pub fn inherit(what: &str, left: &LeftOpen) -> Result<Served, Error> {
        let socket = process::inherited(left.descriptor).map_err(|error| {
            let tried = format!("cannot take over {what} {}", left.path.display());
            Error::start(tried, error, "")
        })?;
        let file = OwnFile::new(left.path.clone(), left.file);
        Ok(Served::of(UnixDatagram::from(socket), file))
    }

    fn of(socket: UnixDatagram, file: OwnFile) -> Served {
        Served {
            socket,
            file,
            is_shut: Cell::new(false),
        }
    }

    /// The socket at `path`: the one of `left` that is there, or a new one. Where its file has been taken away, and
    /// something else is there that forbids a new one, the old one is kept, as it was before the restart: no reason to
    /// lose what waits.
    ///
    /// # Errors
    ///
    /// As `bind`, where none was left.
    pub fn bind_or_keep(what: &str, path: &Path, left: &mut Vec<Served>) -> Result<Served, Error> {
        let place = process::absolute(path);
        let Some(found) = left.iter().position(|left| left.path() == place) else {
            return Served::bind(what, path);
        };
        if left[found].is_there() {
            return Ok(left.swap_remove(found).named(path));
        }
        match Served::bind(what, path) {
            Ok(served) => {
                crate::warning!(
                    "the file of {what} {} was gone and is made again: who writes to it may have to be restarted",
                    path.display()
                );
                Ok(served)
            }
            Err(error) => {
                crate::err!("{error}; nobody reaches this socket there");
                Ok(left.swap_remove(found).named(path))
            }
        }
    }

    /// The same under the name that it has in this program's configuration.
    pub fn named(mut self, path: &Path) -> Served {
        self.file.set_path(path);
        self
    }

    /// As the program that follows this one in the same process takes it over.
    pub fn left_open(&self) -> LeftOpen {
        LeftOpen {
            descriptor: self.socket.as_raw_fd(),
            file: self.file.id(),
            path: process::absolute(self.file.path()),
        }
    }

    /// Whether its file is where it was: then others reach this socket by it.
    pub fn is_there(&self) -> bool {
        self.file.is_there()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Takes the next datagram, if there is one, and returns its real length, which is more than `buffer.len()` when
    /// it was cut. Never blocks.
    ///
    /// # Errors
    ///
    /// As recv(2); `WouldBlock` when nothing is there.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        loop {
            match recv(self.socket.as_raw_fd(), buffer, flags) {
                Err(Errno::EINTR) => {}
                // recv(2): the end of what is queued. An empty datagram looks like it, and is no alert.
                Ok(0) if self.is_shut.get() => return Err(io::ErrorKind::WouldBlock.into()),
                result => return Ok(result?),
            }
        }
    }

    /// Removes the socket's file, and ends the connection of who connected to it before, as Suricata does: from now on
    /// nobody can send; what is queued can still be received. Who waits in a send gets EPIPE, instead of a place in a
    /// queue that nobody reads any more.
    pub fn unlink(&self) {
        self.file.remove();
        self.is_shut
            .set(self.socket.shutdown(Shutdown::Read).is_ok());
    }
}

impl AsFd for Served {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn remove_left_over(path: &Path) -> Result<(), (String, &'static str)> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(()); // Nothing there; bind says what else is wrong.
    };
    if !there.file_type().is_socket() {
        return Err((
            "there is a file which is no socket; it is left alone".to_owned(),
            "remove it, or name another place",
        ));
    }
    let probe = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    match probe.map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        Err(Some(Errno::ECONNREFUSED)) => {
            fs::remove_file(path).map_err(|error| (error.to_string(), "remove it"))
        }
        Err(Some(Errno::ENOENT)) => Ok(()),
        Ok(()) => Err((
            match process::who_serves(path) {
                Some(who) => format!("{who}, serves it already"),
                None => "a living process serves it already".to_owned(),
            },
            "stop that one first, or name another socket",
        )),
        Err(Some(Errno::EPROTOTYPE)) => Err((
            "a living process serves a socket of another kind there".to_owned(),
            "name another place",
        )),
        Err(answer) => Err((
            format!(
                "what is there cannot be probed: {}",
                answer.map_or("unknown error", Errno::desc)
            ),
            "remove it, or name another place",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_left_over_is_replaced_and_one_in_use_is_refused_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snort");
        drop(UnixDatagram::bind(&path).unwrap()); // std leaves the file behind
        let served = Served::bind("alert socket", &path).unwrap();
        let error = Served::bind("alert socket", &path).unwrap_err().to_string();
        let me = format!("process {}, serves it already", std::process::id());
        assert!(error.contains(&me), "{error}");
        drop(served);
        assert!(!path.exists(), "removed at the end");
    }

    #[test]
    fn a_plain_file_is_refused_and_not_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snort");
        fs::write(&path, "precious").unwrap();
        let error = Served::bind("alert socket", &path).unwrap_err().to_string();
        assert!(error.contains("no socket; it is left alone"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_replaced_ours_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snort");
        let served = Served::bind("alert socket", &path).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixDatagram::bind(&path).unwrap();
        drop(served);
        assert!(path.exists());
    }

    #[test]
    fn after_unlink_what_is_queued_can_be_received_and_nothing_more_can_be_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snort");
        let served = Served::bind("alert socket", &path).unwrap();
        let connected = UnixDatagram::unbound().unwrap();
        connected.connect(&path).unwrap();
        connected.send(&[7; 10]).unwrap();
        served.unlink();
        let refused = connected.send(&[7; 10]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        let mut buffer = [0; 10];
        assert_eq!(served.receive(&mut buffer).unwrap(), 10);
        let end = served.receive(&mut buffer).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_tells_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snort");
        let served = Served::bind("alert socket", &path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(&[7; 100], &path).unwrap();
        let mut buffer = [0; 10];
        assert_eq!(served.receive(&mut buffer).unwrap(), 100);
        assert_eq!(buffer, [7; 10]);
        assert_eq!(
            served.receive(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }
}
