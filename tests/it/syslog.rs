//! `Syslog`: a syslog daemon that is the test itself, at `log` in a site's folder.

use crate::program::eventually;
use crate::site::Site;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// A syslog daemon that is the test itself.
pub(crate) struct Syslog {
    socket: UnixDatagram,
    lines: Vec<String>,
}

impl Syslog {
    pub(crate) fn at(site: &Site) -> Syslog {
        let socket = UnixDatagram::bind(site.path("log")).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(10)))
            .expect("a timeout");
        Syslog {
            socket,
            lines: Vec::new(),
        }
    }

    /// Waits for a line with this text; returns the whole line.
    pub(crate) fn gets(&mut self, text: &str) -> String {
        self.gets_times(text, 1)
    }

    /// Waits for so many lines with this text; returns the last of them.
    pub(crate) fn gets_times(&mut self, text: &str, times: usize) -> String {
        eventually(&format!("syslog gets {text:?} {times} times"), || {
            let mut line = [0; 4096];
            while let Ok(bytes) = self.socket.recv(&mut line) {
                let line = String::from_utf8_lossy(&line[..bytes]);
                self.lines.push(line.trim_end_matches('\0').to_owned());
            }
            let mut found = self.lines.iter().filter(|line| line.contains(text));
            found
                .nth(times - 1)
                .cloned()
                .ok_or_else(|| format!("it got {:?}", self.lines.last()))
        })
    }
}
