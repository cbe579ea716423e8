//! Lines to the local syslog daemon, as RFC 3164 and glibc's syslog(3) write them:
//! `<133>Nov 21 07:25:07 sockserv[4711]: ready`.
//!
//! - The time is local and without a zone, for that is what the receiving daemon reads it as.
//! - A daemon that takes nothing must not hold us up: it is waited for once, for `PATIENCE`; then lines are lost, and
//!   counted, until it takes one again. Before that one it gets their number.

#![forbid(unsafe_code)]

use super::Level;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use syslog::{Facility, Severity};

/// A daemon that is merely busy takes a line within this.
const PATIENCE: Duration = Duration::from_millis(200);

/// A connection to the local syslog daemon. A daemon that was restarted needs a new one.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: PathBuf,
    process: String,
    connection: Option<UnixDatagram>,
    /// It was waited for, in vain.
    is_stuck: bool,
    lost: u64,
}

impl Syslog {
    /// Each line gets the name and number of this process.
    pub(super) fn new(socket: PathBuf, name: &str) -> Syslog {
        Syslog {
            socket,
            process: format!("{name}[{}]", std::process::id()),
            connection: None,
            is_stuck: false,
            lost: 0,
        }
    }

    /// Sends a line, or counts it as lost. Holds the caller up for `PATIENCE` at most.
    pub(super) fn send(&mut self, level: Level, text: &str) {
        let is_taken = self.tell_lost() && self.write(level, text).is_ok();
        self.lost += u64::from(!is_taken);
    }

    /// Whether nothing more is to be told.
    fn tell_lost(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let text = format!(
            "{} lines are lost here: the syslog daemon at {} did not take them",
            self.lost,
            self.socket.display()
        );
        let is_told = self.write(Level::Warning, &text).is_ok();
        if is_told {
            self.lost = 0;
        }
        is_told
    }

    fn write(&mut self, level: Level, text: &str) -> io::Result<()> {
        let line = format!(
            "<{}>{} {}: {text}",
            Facility::LOG_LOCAL0 as u8 | severity(level) as u8,
            jiff::Zoned::now().strftime("%b %e %T"),
            self.process,
        );
        // Once more with a new connection: the daemon may have been restarted.
        self.attempt(line.as_bytes())
            .or_else(|error| match self.connection {
                Some(_) => Err(error),
                None => self.attempt(line.as_bytes()),
            })
    }

    fn attempt(&mut self, line: &[u8]) -> io::Result<()> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let sent = loop {
            match connection.send(line) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        let is_stuck = matches!(&sent, Err(error) if error.kind() == ErrorKind::WouldBlock);
        if is_stuck != self.is_stuck {
            connection.set_nonblocking(is_stuck)?;
            self.is_stuck = is_stuck;
        }
        if sent.is_ok() || is_stuck {
            self.connection = Some(connection);
        }
        sent.map(|_| ())
    }

    fn connect(&mut self) -> io::Result<UnixDatagram> {
        let connection = UnixDatagram::unbound()?;
        connection.connect(&self.socket)?;
        connection.set_write_timeout(Some(PATIENCE))?;
        self.is_stuck = false;
        Ok(connection)
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Err => Severity::LOG_ERR,
        Level::Warning => Severity::LOG_WARNING,
        Level::Notice => Severity::LOG_NOTICE,
        Level::Info => Severity::LOG_INFO,
        Level::Debug => Severity::LOG_DEBUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn received(daemon: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let count = daemon.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_line_begins_with_its_priority_and_the_local_time() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = UnixDatagram::bind(folder.path().join("log")).unwrap();
        let mut syslog = Syslog::new(folder.path().join("log"), "sockserv");
        let before = jiff::Zoned::now();
        syslog.send(Level::Warning, "here");
        let line = received(&daemon);
        let after = jiff::Zoned::now();
        let expected = |now: jiff::Zoned| {
            let (now, pid) = (now.strftime("%b %e %H:%M:%S"), std::process::id());
            format!("<132>{now} sockserv[{pid}]: here")
        };
        assert!(
            [expected(before), expected(after)].contains(&line),
            "{line}"
        );
    }

    #[test]
    fn one_that_takes_nothing_is_waited_for_once_and_hears_how_many_lines_it_lost() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = UnixDatagram::bind(folder.path().join("log")).unwrap();
        let mut syslog = Syslog::new(folder.path().join("log"), "sockserv");
        let mut taken = 0;
        while syslog.lost == 0 {
            syslog.send(Level::Info, "filling");
            taken += 1;
        }
        let begun = Instant::now();
        (0..99).for_each(|_| syslog.send(Level::Info, "lost"));
        assert!(
            begun.elapsed() < 10 * PATIENCE,
            "not waited for a second time"
        );
        (1..taken).for_each(|_| drop(received(&daemon)));
        syslog.send(Level::Info, "again");
        let told = received(&daemon);
        assert!(
            told.contains(": 100 lines are lost here: the syslog daemon at "),
            "{told}"
        );
        assert!(received(&daemon).ends_with(": again"));
        assert_eq!(syslog.lost, 0);
    }
}
