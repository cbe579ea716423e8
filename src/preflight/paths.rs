//! Looks at paths: directories, and places where a daemon makes a file.

#![forbid(unsafe_code)]

use super::Finding::{self, Fine, Warning, Wrong};
use crate::ctrl;
use crate::daemon::DaemonConfig;
use crate::options::check_socket_path;
use crate::process;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, faccessat, geteuid};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// A PID file is a number; more is another file.
const PID_FILE_BYTES_MAX: u64 = 64;

/// Whether files can be made in a directory.
pub(super) fn directory(what: &str, path: &Path) -> Finding {
    match can_make_files(path) {
        Ok(()) => Fine(format!("{what} {} can be written", path.display())),
        Err(reason) => Wrong(format!("{what} {}: {reason}", path.display())),
    }
}

/// A directory that the daemon makes if it is not there.
pub(super) fn own_directory(what: &str, path: &Path) -> Finding {
    match fs::symlink_metadata(path) {
        Ok(_) => directory(what, path),
        Err(_) => free(what, path),
    }
}

pub(super) fn can_make_files(path: &Path) -> Result<(), String> {
    let directory = fs::metadata(path)
        .map_err(|error| format!("{error}; it must exist and be writable for this user"))?;
    if !directory.is_dir() {
        return Err("it is no directory".to_owned());
    }
    can(path, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| format!("{}; it must be writable for this user", errno.desc()))
}

/// Whether this process may, as the kernel would answer.
fn can(path: &Path, access: AccessFlags) -> Result<(), Errno> {
    faccessat(AT_FDCWD, path, access, AtFlags::AT_EACCESS)
}

/// Whether a file can be made at a path where nothing is.
fn free(what: &str, path: &Path) -> Finding {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match can_make_files(directory) {
        Ok(()) => Fine(format!("{what} {} can be made", path.display())),
        Err(reason) => Wrong(format!(
            "{what} {} cannot be made in {}: {reason}",
            path.display(),
            directory.display()
        )),
    }
}

/// A place where a file of a dead daemon lies: to be replaced, if it is this user's.
fn left_over(what: &str, path: &Path, there: &fs::Metadata) -> Finding {
    match free(what, path) {
        Fine(_) if there.uid() == geteuid().as_raw() || geteuid().is_root() => Fine(format!(
            "{what} {} is left over from a daemon that ended, and will be replaced",
            path.display()
        )),
        Fine(_) => Wrong(format!(
            "{what} {} is left over and belongs to user id {}; remove it, or name another place",
            path.display(),
            there.uid()
        )),
        finding => finding,
    }
}

/// The place of a datagram socket that the daemon makes.
pub(super) fn served_socket(program: &str, what: &str, path: &Path) -> Finding {
    let shown = path.display();
    let Ok(there) = fs::symlink_metadata(path) else {
        return free(what, path);
    };
    if !there.file_type().is_socket() {
        return Wrong(format!(
            "{what} {shown}: there is a file which is no socket; remove it, or name another place"
        ));
    }
    match connect(path) {
        Err(Errno::ECONNREFUSED) => left_over(what, path, &there),
        Ok(()) => match process::who_serves(path) {
            Some(who) if who.starts_with(&format!("{program}, ")) => {
                Fine(format!("{what} {shown} is served by {who}"))
            }
            Some(who) => Wrong(format!(
                "{what} {shown} is served by {who}; stop that one, or name another socket"
            )),
            None => Warning(format!(
                "{what} {shown} is served by a process of another user; is it {program}?"
            )),
        },
        Err(errno) => Wrong(format!(
            "{what} {shown} cannot be probed: {}; remove it, or name another place",
            errno.desc()
        )),
    }
}

/// A datagram socket that another program serves. It may come later, so nothing here is wrong.
pub(super) fn read_socket(what: &str, path: &Path) -> Finding {
    let shown = path.display();
    match connect(path) {
        Ok(()) => Fine(format!("{what} {shown} is read")),
        Err(Errno::ECONNREFUSED) => Warning(format!(
            "{what} {shown} is read by nobody; is the program behind it running?"
        )),
        Err(Errno::EPROTOTYPE) => Warning(format!(
            "{what} {shown} is no datagram socket; does the path belong to the right program?"
        )),
        Err(errno) => Warning(format!("{what} {shown}: {}", errno.desc())),
    }
}

/// Connects a datagram socket, of which its reader does not notice anything.
fn connect(path: &Path) -> Result<(), Errno> {
    let probe = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    probe.map_err(|error| error.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw))
}

/// The place of the control FIFO, and of the status socket beside it.
pub(super) fn fifo(program: &str, path: &Path) -> Vec<Finding> {
    let status = ctrl::status_socket(path);
    let length = check_socket_path(&status).err();
    let length =
        length.map(|error| Wrong(format!("{error}, or name another place with --control")));
    [fifo_itself(program, path)]
        .into_iter()
        .chain(length)
        .collect()
}

fn fifo_itself(program: &str, path: &Path) -> Finding {
    let (what, shown) = ("control FIFO", path.display());
    let Ok(there) = fs::symlink_metadata(path) else {
        return free(what, path);
    };
    if !there.file_type().is_fifo() {
        return Wrong(format!(
            "{what} {shown}: there is a file which is no FIFO; remove it, or name another place with --control"
        ));
    }
    // Without a reader, opening for writing fails with ENXIO; nothing is written.
    let probe = OpenOptions::new()
        .write(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits())
        .open(path);
    match probe {
        Ok(_) => match ctrl::ask(path) {
            Ok(report) if report.program == program => {
                Fine(format!("{what} {shown} is read by the {program} that runs"))
            }
            Ok(report) => Wrong(format!(
                "{what} {shown} is read by {}; name another place with --control",
                report.program
            )),
            Err(_) => Wrong(format!(
                "{what} {shown} is read by a living process that is no {program}; name another place with --control"
            )),
        },
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => {
            left_over(what, path, &there)
        }
        Err(error) => Wrong(format!(
            "{what} {shown}: {error}; remove it, or name another place with --control"
        )),
    }
}

/// Everything that the daemon options name.
pub(super) fn daemon(program: &str, config: &DaemonConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let (true, Some(path)) = (config.background, &config.work_dir) {
        findings.push(directory("directory (-w)", path));
    }
    if let Some(path) = &config.pid_file {
        findings.push(pid_file(program, &config.from_here(path)));
    }
    if config.syslog {
        let socket = config.from_here(&config.syslog_socket);
        findings.push(read_socket("syslog's socket", &socket));
    }
    findings
}

fn pid_file(program: &str, path: &Path) -> Finding {
    let (what, shown) = ("PID file", path.display());
    let Ok(there) = fs::symlink_metadata(path) else {
        return free(what, path);
    };
    if !there.is_file() {
        return Wrong(format!("{what} {shown}: what is there is no file"));
    }
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(PID_FILE_BYTES_MAX).read_to_string(&mut text));
    if let Err(error) = read {
        return Wrong(format!("{what} {shown} cannot be read: {error}"));
    }
    let pid: Result<u32, _> = text.trim().parse();
    let Ok(pid) = pid else {
        return match text.trim() {
            "" => left_over(what, path, &there),
            _ => Wrong(format!(
                "{what} {shown}: there is a file which holds no PID; remove it, or name another file with -P"
            )),
        };
    };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Err(_) => left_over(what, path, &there),
        Ok(command) if command.trim_end() == program => Fine(format!(
            "{what} {shown} is that of {program}, process {pid}"
        )),
        Ok(command) => Wrong(format!(
            "{what} {shown} names {}, process {pid}, which lives; stop that one, or name another file with -P",
            command.trim_end()
        )),
    }
}

/// A file that is to be read and written, and is made where it is missing.
pub(super) fn written_file(what: &str, path: &Path) -> Finding {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => free(what, path),
        Err(error) => Wrong(format!("{what} {shown}: {error}")),
        Ok(there) if !there.is_file() => Wrong(format!("{what} {shown} is no file")),
        Ok(_) => match can(path, AccessFlags::R_OK | AccessFlags::W_OK) {
            Ok(()) => Fine(format!("{what} {shown} can be written")),
            Err(errno) => Wrong(format!(
                "{what} {shown}: {}; this user must be able to read and write it",
                errno.desc()
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn text(finding: Finding) -> (&'static str, String) {
        match finding {
            Fine(text) => ("fine", text),
            Warning(text) => ("warning", text),
            Wrong(text) => ("wrong", text),
        }
    }

    fn says(finding: Finding, kind: &str, sentence: &str) {
        let (seen, text) = text(finding);
        assert!(seen == kind && text.contains(sentence), "{seen}: {text}");
    }

    /// Names and inodes of all that is in a folder: a look changes nothing.
    fn listing(folder: &Path) -> Vec<(std::ffi::OsString, u64)> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut all: Vec<_> = entries
            .map(|entry| (entry.file_name(), entry.metadata().unwrap().ino()))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn places_are_looked_at_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "precious").unwrap();
        drop(UnixDatagram::bind(at("stale")).unwrap());
        let _served = UnixDatagram::bind(at("served")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let before = listing(folder.path());
        let socket = |name: &str| served_socket("sockserv", "alert socket", &at(name));
        says(socket("new"), "fine", "can be made");
        says(socket("none/new"), "wrong", "it must exist and be writable");
        says(socket("file/new"), "wrong", "it is no directory");
        says(socket("file"), "wrong", "no socket; remove it");
        says(socket("stale"), "fine", "will be replaced");
        says(socket("served"), "wrong", "is served by flop"); // By this test.
        let fifo = |name: &str| fifo_itself("sockserv", &at(name));
        says(fifo("new"), "fine", "can be made");
        says(fifo("file"), "wrong", "no FIFO; remove it");
        says(fifo("fifo"), "fine", "will be replaced");
        let reader = OpenOptions::new().read(true).write(true).open(at("fifo"));
        says(
            fifo("fifo"),
            "wrong",
            "a living process that is no sockserv",
        );
        drop(reader);
        let pid = |name: &str| pid_file("sockserv", &at(name));
        says(pid("new"), "fine", "can be made");
        says(pid("file"), "wrong", "holds no PID");
        assert_eq!(listing(folder.path()), before);
        assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
        fs::write(at("pid"), "1\n").unwrap();
        says(pid("pid"), "wrong", "process 1, which lives");
        fs::write(at("pid"), "4194305\n").unwrap(); // Above the kernel's greatest.
        says(pid("pid"), "fine", "will be replaced");
        says(
            directory("swap directory", folder.path()),
            "fine",
            "can be written",
        );
        says(
            directory("swap directory", &at("file")),
            "wrong",
            "no directory",
        );
        says(written_file("database", &at("new")), "fine", "can be made");
        says(
            written_file("database", &at("file")),
            "fine",
            "can be written",
        );
        says(written_file("database", folder.path()), "wrong", "no file");
    }

    #[test]
    fn a_socket_of_another_program_is_a_warning_where_nobody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let read = |name: &str| read_socket("drop socket", &at(name));
        says(read("none"), "warning", "No such file");
        drop(UnixDatagram::bind(at("stale")).unwrap());
        says(read("stale"), "warning", "read by nobody");
        let _stream = std::os::unix::net::UnixListener::bind(at("stream")).unwrap();
        says(read("stream"), "warning", "no datagram socket");
        assert!(UnixStream::connect(at("stream")).is_ok());
        let _served = UnixDatagram::bind(at("served")).unwrap();
        says(read("served"), "fine", "is read");
    }
}
