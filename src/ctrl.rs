//! The control FIFO, the status socket beside it, and the thread that serves both. What a command does is the daemon's,
//! behind the trait `Controlled`. README.ctrl is the operator's page of this.

#![forbid(unsafe_code)]

mod ask;
mod command;
mod in_force;

pub use ask::{ask, place as status_socket};
pub use command::{Command, Line, Mark, Program};
pub use in_force::{Configuration, flag};

use crate::error::Error;
use crate::log::Limiter;
use crate::net;
use crate::own_file::{self, OwnFile};
use crate::process::{self, Leaving, LeftOpen};
use crate::status::Report;
use crate::wake::Waker;
use ask::Answering;
use command::shown;
use nix::fcntl::OFlag;
use nix::sys::stat::{self, Mode, SFlag};
use nix::unistd::geteuid;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longer lines are thrown away up to their newline.
pub const LINE_BYTES_MAX: usize = 1024;

/// A daemon, as the control thread sees it.
pub trait Controlled: Send {
    /// Whose commands are understood.
    const PROGRAM: Program;

    /// Carries a command out and answers with a line, or several (statistics, what was set, why not). `Help`, `Status`
    /// and `Sensors` never come here: they are the same for all.
    fn execute(&mut self, command: Command) -> String;

    /// How the daemon is, for `status`, `sensors` and `--status`.
    fn report(&mut self) -> Report;

    /// Does what is due by now (periodic statistics, what the receiver could not tell itself) and says when it wants
    /// to be asked again.
    fn tick(&mut self, now: Instant) -> Option<Instant>;

    /// Whether the thread is to end.
    fn stopped(&self) -> bool;
}

/// Something that is due every so often.
pub struct Periodic {
    every: Option<Duration>,
    next: Option<Instant>,
}

impl Periodic {
    /// The period; `None`: never due.
    pub fn every(&self) -> Option<Duration> {
        self.every
    }

    /// What `stats every` answers.
    pub fn shown(&self) -> String {
        match self.every {
            Some(every) => format!("statistics come every {} s", every.as_secs()),
            None => "statistics come only when asked for".to_owned(),
        }
    }

    /// First due one period from now; `None`: never.
    pub fn new(every: Option<Duration>) -> Periodic {
        Periodic {
            every,
            next: every.map(|every| Instant::now() + every),
        }
    }

    /// Whether it is due; then it is due again a period later.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match (self.every, self.next) {
            (Some(every), Some(next)) if now >= next => {
                // After a pause (suspended machine) it goes on from now: no burst of old lines.
                self.next = Some((next + every).max(now));
                true
            }
            _ => false,
        }
    }

    /// When it is due next.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

/// The line of statistics: each count with its change since the last line, then what is buffered.
pub fn statistics(counts: [(&str, u64, u64); 3], buffered: u64) -> String {
    let counts =
        counts.map(|(name, now, before)| format!("{name} {now} [{}]", now.saturating_sub(before)));
    format!("{}, buffered {buffered}", counts.join(", "))
}

/// What stands behind that line where alerts never came to sockserv, by the IDS's own count.
pub fn lost_before(alerts: u64) -> String {
    match alerts {
        0 => String::new(),
        alerts => format!(", lost before sockserv {alerts}"),
    }
}

/// A named pipe that we made, for us alone, and the status socket beside it. Removed when dropped, if still ours.
#[derive(Debug)]
pub struct Fifo {
    pipe: Pipe,
    answering: Answering,
}

#[derive(Debug)]
struct Pipe {
    file: File,
    own: OwnFile,
}

impl Pipe {
    fn new(path: PathBuf, file: File) -> io::Result<Pipe> {
        let own = OwnFile::new(path, own_file::id(&file.metadata()?));
        Ok(Pipe { file, own })
    }
}

impl Fifo {
    /// Makes the FIFO with mode 0600, and the status socket beside it. One left over by us is replaced; anything else at
    /// that place is refused and left alone.
    ///
    /// # Errors
    ///
    /// The path is another kind of file, another user's, in use, or cannot be written.
    pub fn create(path: &Path) -> Result<Fifo, Error> {
        let refused = |answer: String, advice: &str| {
            Error::start(
                format!("cannot make control FIFO {}", path.display()),
                answer,
                advice,
            )
        };
        remove_left_over(path).map_err(|(answer, advice)| refused(answer, advice))?;
        nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| {
            refused(
                errno.desc().to_owned(),
                "the directory must exist and be writable; --control names another place",
            )
        })?;
        // Open for reading and writing: so there is always a writer, and no end of file when one goes.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(path)
            .map_err(|error| refused(error.to_string(), ""))?;
        let status = stat::fstat(&file).map_err(|errno| refused(errno.desc().to_owned(), ""))?;
        let is_fifo = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
        if is_fifo != SFlag::S_IFIFO || status.st_uid != geteuid().as_raw() {
            return Err(refused(
                "somebody else put a file there meanwhile".to_owned(),
                "choose a directory that only this user can write",
            ));
        }
        let answering = Answering::beside(path).inspect_err(|_| drop(fs::remove_file(path)))?;
        let pipe = Pipe::new(path.to_owned(), file);
        let pipe = pipe.map_err(|error| refused(error.to_string(), ""))?;
        Ok(Fifo { pipe, answering })
    }

    /// Goes on with the FIFO that the program before this one in the same process left open, with all that is written
    /// into it already. Where it is gone, or is to be elsewhere, `create`s one.
    ///
    /// # Errors
    ///
    /// As `create`; the descriptor is not what was left.
    pub fn inherit(left: Option<LeftOpen>, path: &Path) -> Result<Fifo, Error> {
        let Some(left) = left else {
            return Fifo::create(path);
        };
        let file = process::inherited(left.descriptor).map_err(|error| {
            let tried = format!("cannot take over control FIFO {}", left.path.display());
            Error::start(tried, error, "")
        })?;
        let pipe = Pipe {
            file: File::from(file),
            own: OwnFile::new(left.path, left.file),
        };
        if pipe.own.path() != process::absolute(path) || !pipe.own.is_there() {
            drop(pipe); // With its file.
            return Fifo::create(path);
        }
        let answering = Answering::beside(pipe.own.path())?;
        Ok(Fifo { pipe, answering })
    }

    /// As the program that follows this one in the same process takes it over.
    pub fn leaving(&self) -> Leaving<'_> {
        let Pipe { file, own } = &self.pipe;
        Leaving {
            control: Some(LeftOpen {
                descriptor: file.as_raw_fd(),
                file: own.id(),
                path: process::absolute(own.path()),
            }),
            open: vec![file.as_fd()],
            payload: None,
        }
    }
}

fn remove_left_over(path: &Path) -> Result<(), (String, &'static str)> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(()); // Nothing there; mkfifo says what else is wrong.
    };
    if !there.file_type().is_fifo() {
        return Err((
            "there is a file which is no FIFO; it is left alone".to_owned(),
            "remove it, or name another place with --control",
        ));
    }
    // Without a reader, opening for writing fails with ENXIO: then nobody lives behind it.
    let probe = OpenOptions::new()
        .write(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits())
        .open(path);
    if probe.is_ok() {
        return Err((
            "a living process reads it".to_owned(),
            "is the daemon running already? another one needs another --control",
        ));
    }
    if there.uid() != geteuid().as_raw() {
        return Err((
            format!("the FIFO there belongs to user id {}", there.uid()),
            "remove it, or name another place with --control",
        ));
    }
    fs::remove_file(path).map_err(|error| (error.to_string(), ""))
}

/// The control thread: reads commands, and does what is due, until it is told to stop. The FIFO, for a restart.
pub fn run<C: Controlled>(mut fifo: Fifo, waker: &Waker, mut controlled: C) -> Fifo {
    let mut lines = Lines::default();
    let mut unknown = Unknown::default();
    loop {
        waker.clear();
        if controlled.stopped() {
            return fifo;
        }
        let now = Instant::now();
        let due = controlled.tick(now);
        unknown.tell_due(now);
        let due = due.into_iter().chain(unknown.limiter.next_due()).min();
        let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
        let mut fds = [
            net::readable(&fifo.pipe.file),
            net::readable(waker),
            net::readable(&fifo.answering),
        ];
        if let Err(error) = net::poll(&mut fds, wait) {
            crate::err!("control: poll failed: {error}; commands are not read for a second");
            std::thread::sleep(Duration::from_secs(1));
        }
        if net::is_ready(&fds[2]) {
            fifo.answering.answer(|| controlled.report());
        }
        lines.read_from(&mut fifo.pipe.file, |line| match line {
            Ok(line) => answer(line, &mut controlled, &mut unknown),
            Err(TooLong) => unknown.tell(format!(
                "a line of more than {LINE_BYTES_MAX} bytes is thrown away; {}",
                C::PROGRAM.help()
            )),
        });
    }
}

fn answer<C: Controlled>(line: &str, controlled: &mut C, unknown: &mut Unknown) {
    crate::debug!(Ctrl, 1, "control: read `{}`", shown(line));
    let Line { command, answer_to } = match C::PROGRAM.parse(line) {
        Ok(None) => return,
        Ok(Some(line)) => line,
        Err(text) => return unknown.tell(text),
    };
    let answer = match command {
        Command::Help => format!("control: {}", C::PROGRAM.help()),
        Command::Status => status(&controlled.report()),
        Command::Sensors => controlled.report().sensors_table(),
        command => controlled.execute(command),
    };
    match answer_to {
        None => answer.lines().for_each(|line| crate::info!("{line}")),
        Some(file) => write_answer(&file, &answer),
    }
}

/// The table, and what needs attention.
fn status(report: &Report) -> String {
    let lines: Vec<String> = [report.table()]
        .into_iter()
        .chain(report.attention())
        .collect();
    lines.join("\n")
}

/// `--status`: asks the daemon whose FIFO this is, prints its answer, and says by the exit code how it is: 0 fine, 1
/// something needs attention, 2 nobody answers.
pub fn print_status(fifo: &Path, as_json: bool) -> ExitCode {
    let report = match ask(fifo) {
        Ok(report) => report,
        Err(error) => {
            crate::err!("{error}");
            return ExitCode::from(2);
        }
    };
    let text = match as_json {
        true => report.json(),
        false => status(&report),
    };
    // A closed output is no fault of the daemon; the exit code is what counts then.
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::from(u8::from(!report.attention().is_empty()))
}

/// Writes an answer to a new file that nobody else can read; never through a link, never over anything.
fn write_answer(file: &Path, answer: &str) {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(file)
        .and_then(|mut new| writeln!(new, "{answer}"));
    if let Err(error) = written {
        crate::warning!(
            "control: cannot write the answer to {}: {error}; it must be a new file in the working directory",
            file.display()
        );
    }
}

/// Lines that are not understood: one answer a second, the latest, with a count of the others.
#[derive(Default)]
struct Unknown {
    limiter: Limiter,
    latest: String,
}

impl Unknown {
    fn tell(&mut self, text: String) {
        self.latest = text;
        self.limiter.add(1);
        self.tell_due(Instant::now());
    }

    fn tell_due(&mut self, now: Instant) {
        match self.limiter.due(now) {
            None => {}
            Some(1) => crate::info!("control: {}", self.latest),
            Some(count) => crate::info!(
                "control: {} (the latest of {count} lines that are not understood)",
                self.latest
            ),
        }
    }
}

/// A line that was longer than `LINE_BYTES_MAX`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts what comes out of the FIFO into lines; holds `LINE_BYTES_MAX` at most.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// The rest of a line that was too long is being thrown away.
    skipping: bool,
}

impl Lines {
    /// Reads what is there, at most 64 KiB at once: a writer that never stops must not keep the thread from its
    /// other work.
    pub(crate) fn read_from(
        &mut self,
        file: &mut impl Read,
        mut each: impl FnMut(Result<&str, TooLong>),
    ) {
        let mut bytes = [0; 4096];
        for _ in 0..16 {
            match file.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => self.feed(&bytes[..count], &mut each),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return, // WouldBlock: nothing more is there.
            }
        }
    }

    fn feed(&mut self, bytes: &[u8], each: &mut impl FnMut(Result<&str, TooLong>)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            if !self.skipping && self.begun.len() + text.len() > LINE_BYTES_MAX {
                self.skipping = true;
                self.begun.clear();
                each(Err(TooLong));
            }
            if !self.skipping {
                self.begun.extend_from_slice(text);
            }
            if whole {
                if !self.skipping {
                    each(Ok(&String::from_utf8_lossy(&self.begun)));
                }
                self.begun.clear();
                self.skipping = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<Result<String, TooLong>> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, &mut |line| seen.push(line.map(str::to_owned)));
        }
        seen
    }

    #[test]
    fn several_commands_in_one_write_and_one_in_several_writes_are_the_same() {
        let expected = [Ok("stats".to_owned()), Ok("high 5".to_owned())];
        assert_eq!(lines_of(&[b"stats\nhigh 5\n"]), expected);
        assert_eq!(
            lines_of(&[b"sta", b"ts\nhi", b"gh 5", b"\n", b"qu"]),
            expected
        );
    }

    #[test]
    fn a_megabyte_without_newline_is_one_complaint_and_takes_no_memory() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for _ in 0..1024 {
            lines.feed(&[b'x'; 1024], &mut |line| {
                seen.push(line.map(str::to_owned))
            });
        }
        assert!(lines.begun.capacity() <= 2 * LINE_BYTES_MAX);
        lines.feed(b"\nstats\n", &mut |line| seen.push(line.map(str::to_owned)));
        assert_eq!(seen, [Err(TooLong), Ok("stats".to_owned())]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        let line = [vec![b'x'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        assert_eq!(lines_of(&[&line]), [Ok("x".repeat(LINE_BYTES_MAX))]);
        let line = [vec![b'x'; LINE_BYTES_MAX + 1], b"\n".to_vec()].concat();
        assert_eq!(lines_of(&[&line]), [Err(TooLong)]);
    }

    #[test]
    fn the_fifo_is_0600_replaces_its_own_rest_and_refuses_everything_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ctrl");
        let fifo = Fifo::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let error = Fifo::create(&path).unwrap_err().to_string();
        assert!(error.contains("a living process reads it"), "{error}");
        drop(fifo);
        assert!(!path.exists(), "removed at the end");

        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        drop(Fifo::create(&path).expect("a FIFO that nobody reads is replaced"));

        fs::write(&path, "precious").unwrap();
        let error = Fifo::create(&path).unwrap_err().to_string();
        assert!(error.contains("no FIFO; it is left alone"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(Fifo::create(&path).is_err(), "never through a link");
        assert!(!folder.path().join("elsewhere").exists());
    }
}
