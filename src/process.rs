//! Processes: signals, a worker's start and the descriptors it is handed, who serves a socket; the `unsafe`.

mod background;
mod detach;
pub(crate) mod handover;
mod pid_file;
mod restart;
mod service;
mod trial;

pub use background::{Begun, Running};
pub use detach::tell_parent;
pub use handover::{Carrier, LeftOpen, absolute};
pub use pid_file::PidFile;
pub(crate) use pid_file::who_is;
pub use restart::{Leaving, Restart, WritePayload};
pub use service::{Pulse, Service};

use crate::error::Error;
use crossbeam_channel::{Receiver, unbounded};
use nix::fcntl::{FcntlArg, FdFlag};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
    recvmsg, sendmsg, socketpair,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as SignalStream;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A control message between servsock and a worker is never longer.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// Why a daemon ends, or begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// To stop; the text says who asked.
    Stop(&'static str),
    /// To restart.
    Restart(&'static str),
    /// To stop with an error.
    GiveUp(&'static str),
}

impl Cause {
    /// Who asked.
    pub fn text(self) -> &'static str {
        let (Cause::Stop(text) | Cause::Restart(text) | Cause::GiveUp(text)) = self;
        text
    }
}

/// The signals of a daemon, as a channel. SIGPIPE is ignored already, by Rust's own start.
pub struct Signals {
    /// What they ask for, as they come.
    pub caught: Receiver<Cause>,
    /// SIGINT or SIGTERM came; set by the handler itself, before `caught` hears of it.
    stop_came: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. To be called after the process detached, for it starts a thread. `hang_up` is what
    /// SIGHUP asks for.
    ///
    /// # Errors
    ///
    /// The system refuses a handler or the thread.
    pub fn install(hang_up: Cause) -> Result<Signals, Error> {
        let failed = |error| Error::start("cannot install signal handlers", error, "");
        let mut stream = SignalStream::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
        let stop_came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop_came)).map_err(failed)?;
        }
        let (send, caught) = unbounded();
        std::thread::Builder::new()
            .name("main-signals".to_owned())
            .spawn(move || {
                // While a restart executes, a signal has to wait for the new program: no handler runs here.
                restart::block();
                for signal in stream.forever() {
                    let cause = match signal {
                        SIGINT => Cause::Stop("SIGINT"),
                        SIGHUP => hang_up,
                        _ => Cause::Stop("SIGTERM"),
                    };
                    if send.send(cause).is_err() {
                        return;
                    }
                }
            })
            .map_err(failed)?;
        restart::unblock();
        Ok(Signals { caught, stop_came })
    }

    fn ask_to_stop(&self) -> bool {
        self.stop_came.load(Ordering::SeqCst)
    }
}

/// In a worker: a descriptor that becomes readable when SIGTERM, SIGINT or SIGHUP comes. (Ctrl-C reaches the whole group.)
///
/// # Errors
///
/// The system refuses.
pub fn stop_signal_pipe() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    Ok(read)
}

/// One end of the control connection between servsock and a worker: whole messages, and descriptors with them.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// What `Control::receive` found. Not `Debug`: a message may hold a password.
pub enum Received {
    /// A message, and the descriptor that came with it.
    Message(Vec<u8>, Option<OwnedFd>),
    /// Nothing at the moment.
    Nothing,
    /// The other process has ended.
    Closed,
}

impl Control {
    /// Sends one message, with a descriptor if there is one. Never blocks.
    ///
    /// # Errors
    ///
    /// The other process is gone or does not read.
    pub fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let raw: Vec<RawFd> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = match raw.is_empty() {
            true => &[],
            false => rights.as_slice(),
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let parts = [IoSlice::new(message)];
        sendmsg::<UnixAddr>(self.0.as_raw_fd(), &parts, rights, flags, None)?;
        Ok(())
    }

    /// Takes the next message. Never blocks.
    ///
    /// # Errors
    ///
    /// As recvmsg(2).
    pub fn receive(&self) -> io::Result<Received> {
        let mut message = vec![0; CONTROL_BYTES_MAX];
        let mut space = nix::cmsg_space!(RawFd);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut message)];
        let result = recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let (bytes, descriptors) = match result {
            Ok(received) => (received.bytes, received_descriptors(&received)?),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {
                return Ok(Received::Nothing);
            }
            Err(nix::errno::Errno::ECONNRESET) => return Ok(Received::Closed),
            Err(errno) => return Err(errno.into()),
        };
        message.truncate(bytes);
        match bytes {
            0 => Ok(Received::Closed), // We never send empty messages.
            _ => Ok(Received::Message(message, descriptors.into_iter().next())),
        }
    }

    /// In a worker: the control connection, which the master left as standard input.
    ///
    /// # Errors
    ///
    /// Standard input is no socket: somebody else started this.
    pub fn inherited() -> Result<Control, Error> {
        let refused = |answer: &str| {
            Error::start(
                "cannot be a worker",
                answer,
                "only servsock itself starts --worker",
            )
        };
        let stdin = io::stdin();
        let kind =
            nix::sys::socket::getsockopt(&stdin.as_fd(), nix::sys::socket::sockopt::SockType);
        if kind != Ok(SockType::SeqPacket) {
            return Err(refused("standard input is no control connection"));
        }
        let owned = stdin
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| refused(&error.to_string()))?;
        Ok(Control(owned))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn received_descriptors(
    received: &nix::sys::socket::RecvMsg<'_, '_, UnixAddr>,
) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            for descriptor in raw {
                // SAFETY: the kernel has just made this descriptor for us while receiving the message; nothing else
                // in this process knows its number, so nothing else owns or closes it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok(descriptors)
}

/// Starts a worker process: this very program, also when its file was replaced meanwhile.
///
/// Plain `Command` without `pre_exec` or user ids: std then uses posix_spawn, which is safe beside threads and costs
/// less than a millisecond.
///
/// # Errors
///
/// No process or descriptor is left.
pub fn start_worker() -> io::Result<(Child, Control)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let child = Command::new("/proc/self/exe")
        .arg0("servsock-worker")
        .arg("--worker")
        .stdin(Stdio::from(theirs))
        .spawn()?;
    Ok((child, Control(ours)))
}

/// Names this process, which was started as `/proc/self/exe`, for ps and top.
pub fn name_worker() {
    // An error: it is called "exe" there, and works as well.
    let _ = nix::sys::prctl::set_name(c"servsock-worker");
}

/// Takes over a descriptor that was left open across an exec; from now on it closes on exec.
///
/// # Errors
///
/// There is no such descriptor.
pub fn inherited(descriptor: RawFd) -> io::Result<OwnedFd> {
    // Standard input and its like are never left, and belong to std.
    if descriptor <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl(2) below checks that it is open. Its number comes from the program before this one in the same
    // process, which left it for us alone; nothing here has opened it, for each is taken over once, at the start.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    match nix::fcntl::fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => Ok(owned),
        Err(errno) => {
            std::mem::forget(owned); // It is not ours to close.
            Err(errno.into())
        }
    }
}

/// Leaves a descriptor open across an exec.
///
/// # Errors
///
/// As fcntl(2).
pub fn keep_on_exec(descriptor: &impl AsFd) -> io::Result<()> {
    nix::fcntl::fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Takes a variable out of the environment, so that no child inherits it. To be called at the start, before there are
/// threads.
fn take_variable(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?;
    // SAFETY: by this function's contract there is no other thread yet, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) };
    Some(value)
}

/// Takes over the TCP connection that came with a control message.
pub fn into_tcp(descriptor: OwnedFd) -> TcpStream {
    TcpStream::from(descriptor)
}

/// This machine's name.
///
/// # Errors
///
/// As gethostname(2).
pub fn host_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname().map_err(|errno| {
        Error::start(
            "cannot ask for the host name",
            errno.desc(),
            "give a sensor name with -N",
        )
    })?;
    Ok(name.to_string_lossy().into_owned())
}

/// The name of the user who runs this process, or the user's number where there is none.
pub fn user_name() -> String {
    let user = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(user) {
        Ok(Some(known)) => known.name,
        _ => user.to_string(),
    }
}

/// Which process has a unix socket bound at `path`: "sockserv, process 4711", as far as this user may know.
///
/// The kernel lists a socket under the path that its owner gave, which may be relative to a directory that is not
/// ours: so of all with the same file name, the one is meant that has the same file behind it.
pub fn who_serves(path: &Path) -> Option<String> {
    let file = file_id(path)?;
    let bound = sockets_named(path.file_name()?);
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let is_pid = |name: &&str| name.bytes().all(|byte| byte.is_ascii_digit());
        let Some(pid) = name.to_str().filter(is_pid) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue; // Not ours to look at, or just ended.
        };
        let serves = |fd: fs::DirEntry| {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            bound.iter().any(|(socket, place)| {
                target.as_os_str() == socket.as_str()
                    && file_id(&process.path().join("cwd").join(place)) == Some(file)
            })
        };
        if descriptors.flatten().any(serves) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{}, process {pid}", command.trim_end()));
        }
    }
    None
}

/// Device and inode.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Unix sockets bound at a path that ends like this: their names as descriptors, and the path.
fn sockets_named(name: &OsStr) -> Vec<(String, PathBuf)> {
    let list = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let lines = list.lines().filter_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path
        let mut rest = line.trim_start();
        let mut inode = "";
        for _ in 0..7 {
            let (field, behind) = rest.split_once(' ')?;
            (inode, rest) = (field, behind.trim_start());
        }
        let path = Path::new(rest);
        (path.file_name() == Some(name)).then(|| (format!("socket:[{inode}]"), path.to_owned()))
    });
    lines.collect()
}
