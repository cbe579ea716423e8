//! The grammar of the control FIFO: a line -> a command, and where its answer goes.

#![forbid(unsafe_code)]

use crate::buffer::HIGH_WATER_MAX;
use crate::config::port;
use crate::daemon::{Debug, debug_level};
use crate::options::PAUSE_SECS_MAX;
use std::path::PathBuf;
use std::time::Duration;

/// Which program's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The sensor's.
    Sockserv,
    /// The central server's.
    Servsock,
}

/// One line of the FIFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What to do.
    pub command: Command,
    /// The new file for the answer: a name without folder. `None`: the daemon's output or syslog.
    pub answer_to: Option<PathBuf>,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Says what is known.
    Help,
    /// Prints the statistics once.
    Stats,
    /// Prints them every so often from now on; `None`: no more.
    StatsEvery(Option<Duration>),
    /// Prints the table of `--status`.
    Status,
    /// Sets HighWater.
    High(Mark),
    /// Sets LowWater.
    Low(Mark),
    /// Whether what is dropped is only counted.
    Quiet(bool),
    /// Sets a debug level.
    Debug(Debug),
    /// Prints the configuration in force.
    Config,
    /// Restarts the daemon as SIGHUP does.
    Restart,
    /// Stops the daemon as SIGTERM does.
    Quit,
    /// sockserv: another servsock from now on; the port stays where none is given.
    Server(String, Option<u16>),
    /// sockserv: ends the connection, and makes a new one at once.
    Reconnect,
    /// sockserv: tries to reach servsock; `None`: for ever.
    MaxTry(Option<u64>),
    /// sockserv: seconds between two tries; `None`: 1, growing to 30.
    Wait(Option<u64>),
    /// sockserv: who gets what is dropped; `None`: it is printed.
    DropSocket(Option<PathBuf>),
    /// servsock: alerts of this priority or a more important one go to the alert socket.
    Priority(u32),
    /// servsock: who gets important alerts; `None`: nobody.
    AlertSocket(Option<PathBuf>),
    /// servsock: the table of all sensors.
    Sensors,
    /// servsock: ends the connections of the sensor of this name.
    Disconnect(String),
}

/// A mark, and the sensor that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// In alerts.
    pub alerts: u64,
    /// servsock: only this sensor's worker; `None`: all.
    pub sensor: Option<String>,
}

impl Program {
    /// What `help` answers, and everything unknown.
    pub fn help(self) -> &'static str {
        match self {
            Program::Sockserv => {
                "known commands: help, stats, stats every N|off, status, high N, low N, quiet on|off, debug AREA LEVEL, \
                 config, restart, quit, server HOST[:PORT], reconnect, maxtry N|off, wait N|off, dropsocket PATH|off; \
                 > FILE behind a command"
            }
            Program::Servsock => {
                "known commands: help, stats, stats every N|off, status, high N [NAME], low N [NAME], quiet on|off, \
                 debug AREA LEVEL, config, restart, quit, priority N, alertsocket PATH|off, sensors, disconnect NAME; \
                 > FILE behind a command"
            }
        }
    }

    /// Reads a line without its newline; `None` for an empty one.
    ///
    /// # Errors
    ///
    /// One line for the operator, which says what is wrong, or what is known.
    pub fn parse(self, line: &str) -> Result<Option<Line>, String> {
        let (line, answer_to) = match line.rsplit_once(" > ") {
            Some((line, file)) => (line, Some(file_name(file.trim())?)),
            None => (line, None),
        };
        let line = line.trim();
        if line.is_empty() {
            return match answer_to {
                None => Ok(None),
                Some(_) => Err("> FILE stands behind a command".to_owned()),
            };
        }
        let command = self.command(line)?;
        Ok(Some(Line { command, answer_to }))
    }

    fn command(self, line: &str) -> Result<Command, String> {
        let unknown = || format!("unknown command `{}`; {}", shown(line), self.help());
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let known = match rest {
            "" => match self.word(word) {
                Some(command) => Some(command),
                // A word that wants something behind it says what.
                None => self
                    .word_with(word, "")
                    .map_err(|reason| format!("`{word}` is not complete: {reason}"))?,
            },
            rest => self
                .word_with(word, rest)
                .map_err(|reason| format!("`{}` is refused: {reason}", shown(line)))?,
        };
        known.ok_or_else(unknown)
    }

    /// Commands of one word.
    fn word(self, word: &str) -> Option<Command> {
        Some(match (word, self) {
            ("help", _) => Command::Help,
            ("stats", _) => Command::Stats,
            ("status", _) => Command::Status,
            ("config", _) => Command::Config,
            ("restart", _) => Command::Restart,
            ("quit", _) => Command::Quit,
            ("reconnect", Program::Sockserv) => Command::Reconnect,
            ("sensors", Program::Servsock) => Command::Sensors,
            _ => return None,
        })
    }

    /// Commands with something behind their word.
    fn word_with(self, word: &str, rest: &str) -> Result<Option<Command>, String> {
        Ok(Some(match (word, self) {
            ("stats", _) => match rest.strip_prefix("every ") {
                Some(pause) => {
                    let secs = or_off(pause.trim(), |word| {
                        number(word, "seconds", 1, PAUSE_SECS_MAX)
                    })?;
                    Command::StatsEvery(secs.map(Duration::from_secs))
                }
                None => return Ok(None),
            },
            ("high", _) => Command::High(self.mark(rest)?),
            ("low", _) => Command::Low(self.mark(rest)?),
            ("quiet", _) => Command::Quiet(on_or_off(rest)?),
            ("debug", _) => Command::Debug(debug(rest)?),
            ("server", Program::Sockserv) => server(rest)?,
            ("maxtry", Program::Sockserv) => Command::MaxTry(or_off(rest, |word| {
                number(word, "tries", 1, u64::from(u32::MAX))
            })?),
            ("wait", Program::Sockserv) => Command::Wait(or_off(rest, |word| {
                number(word, "seconds", 1, PAUSE_SECS_MAX)
            })?),
            ("dropsocket", Program::Sockserv) => Command::DropSocket(or_off(rest, socket)?),
            ("priority", Program::Servsock) => {
                let priority = number(rest, "priority", 1, u64::from(u32::MAX))?;
                Command::Priority(u32::try_from(priority).unwrap_or(u32::MAX))
            }
            ("alertsocket", Program::Servsock) => Command::AlertSocket(or_off(rest, socket)?),
            ("disconnect", Program::Servsock) if rest.is_empty() => {
                return Err("it wants the name of a sensor".to_owned());
            }
            ("disconnect", Program::Servsock) => Command::Disconnect(rest.to_owned()),
            _ => return Ok(None),
        }))
    }

    /// `N`, and for servsock `N NAME`.
    fn mark(self, rest: &str) -> Result<Mark, String> {
        let (alerts, sensor) = match (rest.split_once(char::is_whitespace), self) {
            (Some((alerts, sensor)), Program::Servsock) => (alerts, Some(sensor.trim().to_owned())),
            _ => (rest, None),
        };
        let alerts = number(alerts, "alerts", 0, HIGH_WATER_MAX)?;
        Ok(Mark { alerts, sensor })
    }
}

fn number(word: &str, unit: &str, min: u64, max: u64) -> Result<u64, String> {
    match word.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("it wants a number ({unit}, {min} to {max})")),
    }
}

fn or_off<T>(
    word: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match word {
        "off" => Ok(None),
        word => read(word)
            .map(Some)
            .map_err(|reason| format!("{reason}, or off")),
    }
}

fn on_or_off(word: &str) -> Result<bool, String> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it wants on or off".to_owned()),
    }
}

/// `AREA LEVEL`; -V's comma is fine as well.
fn debug(rest: &str) -> Result<Debug, String> {
    let words: Vec<&str> = rest
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
        .collect();
    match words.as_slice() {
        [area, level] => debug_level(&format!("{area},{level}")),
        _ => Err("it wants an area and a level".to_owned()),
    }
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a bare IPv6 address.
fn server(rest: &str) -> Result<Command, String> {
    let unclear = || "it wants HOST, HOST:PORT or [ADDRESS]:PORT".to_owned();
    if rest.contains(char::is_whitespace) {
        return Err(unclear());
    }
    let (host, port_word) = match rest.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or_else(unclear)? {
            (host, "") => (host, None),
            (host, port) => (host, Some(port.strip_prefix(':').ok_or_else(unclear)?)),
        },
        None => match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (rest, None),
        },
    };
    match host {
        "" => Err(unclear()),
        host => Ok(Command::Server(
            host.to_owned(),
            port_word.map(port).transpose()?,
        )),
    }
}

fn socket(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    crate::options::check_socket_path(&path).map_err(|error| error.to_string())?;
    Ok(path)
}

/// A name in the working directory, and nowhere else.
fn file_name(name: &str) -> Result<PathBuf, String> {
    match name {
        "" | "." | ".." => Err("> wants the name of a new file".to_owned()),
        name if name.contains('/') => Err(
            "an answer goes into the daemon's working directory: > wants a name without /"
                .to_owned(),
        ),
        name => Ok(PathBuf::from(name)),
    }
}

/// A line that came from outside, short enough to be shown.
pub(super) fn shown(line: &str) -> &str {
    &line[..line.floor_char_boundary(60)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use Program::{Servsock, Sockserv};

    fn command(program: Program, line: &str) -> Command {
        let parsed = program.parse(line);
        parsed
            .unwrap_or_else(|error| panic!("{error}"))
            .expect("a command")
            .command
    }

    fn mark(alerts: u64, sensor: Option<&str>) -> Mark {
        Mark {
            alerts,
            sensor: sensor.map(str::to_owned),
        }
    }

    #[test]
    fn commands_are_words_and_what_stands_behind_them() {
        let text = |text: &str| text.to_owned();
        for (program, line, expected) in [
            (Sockserv, "help", Command::Help),
            (
                Sockserv,
                "  high   20000 ",
                Command::High(mark(20_000, None)),
            ),
            (Servsock, "low 1", Command::Low(mark(1, None))),
            (
                Servsock,
                "high 5 web server",
                Command::High(mark(5, Some("web server"))),
            ),
            (
                Sockserv,
                "stats every 10",
                Command::StatsEvery(Some(Duration::from_secs(10))),
            ),
            (Servsock, "stats every off", Command::StatsEvery(None)),
            (Sockserv, "quiet on", Command::Quiet(true)),
            (
                Sockserv,
                "debug all 9",
                Command::Debug(Debug {
                    area: "all",
                    level: 9,
                }),
            ),
            (
                Servsock,
                "debug db,0",
                Command::Debug(Debug {
                    area: "db",
                    level: 0,
                }),
            ),
            (Sockserv, "server h", Command::Server(text("h"), None)),
            (
                Sockserv,
                "server h:99",
                Command::Server(text("h"), Some(99)),
            ),
            (
                Sockserv,
                "server [::1]:99",
                Command::Server(text("::1"), Some(99)),
            ),
            (Sockserv, "server ::1", Command::Server(text("::1"), None)),
            (Sockserv, "maxtry off", Command::MaxTry(None)),
            (Sockserv, "wait 5", Command::Wait(Some(5))),
            (
                Sockserv,
                "dropsocket /run/d",
                Command::DropSocket(Some("/run/d".into())),
            ),
            (Sockserv, "dropsocket off", Command::DropSocket(None)),
            (Servsock, "priority 2", Command::Priority(2)),
            (Servsock, "alertsocket off", Command::AlertSocket(None)),
            (
                Servsock,
                "disconnect web server",
                Command::Disconnect(text("web server")),
            ),
            (Servsock, "sensors", Command::Sensors),
        ] {
            assert_eq!(command(program, line), expected, "{line}");
        }
        assert_eq!(Sockserv.parse(" \t"), Ok(None));
    }

    #[test]
    fn an_answer_goes_to_a_name_in_the_working_directory_only() {
        let line = Sockserv.parse("stats every 5 > a b.txt").unwrap().unwrap();
        assert_eq!(line.answer_to, Some("a b.txt".into()));
        assert_eq!(
            line.command,
            Command::StatsEvery(Some(Duration::from_secs(5)))
        );
        for line in [
            "stats > /etc/x",
            "stats > ../x",
            "stats > .",
            "stats > ..",
            "stats > a/",
            " > x",
        ] {
            let error = Sockserv.parse(line).unwrap_err();
            assert!(error.contains('>'), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_unknown_gets_one_line_that_says_what_is_known() {
        for program in [Sockserv, Servsock] {
            for line in ["hihg 3", "stats now", "QUIT", "help me", &"x".repeat(900)] {
                let answer = program.parse(line).unwrap_err();
                assert!(answer.ends_with(program.help()), "{answer}");
                assert!(answer.len() < 500);
            }
        }
        for line in ["sensors", "priority 1", "disconnect a", "alertsocket off"] {
            assert!(Sockserv.parse(line).is_err(), "{line}");
        }
        for line in [
            "server h",
            "reconnect",
            "maxtry 1",
            "wait 1",
            "dropsocket off",
        ] {
            assert!(Servsock.parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_behind_a_word_is_told() {
        for (line, reason) in [
            ("high -1", "it wants a number (alerts, 0 to 1000000000)"),
            ("high 3 4", "it wants a number"),
            (
                "stats every 0",
                "it wants a number (seconds, 1 to 86400), or off",
            ),
            ("high", "`high` is not complete: it wants a number"),
            ("quiet", "`quiet` is not complete: it wants on or off"),
            ("quiet maybe", "it wants on or off"),
            ("debug post 1", "is not AREA,LEVEL (areas: main"),
            ("debug db", "it wants an area and a level"),
            ("server h:0", "0 is not a port (1 to 65535)"),
            ("server [::1", "it wants HOST"),
            ("server a b", "it wants HOST"),
            ("maxtry 0", "it wants a number (tries"),
        ] {
            let answer = Sockserv.parse(line).unwrap_err();
            assert!(answer.contains(reason), "{answer}");
        }
        let long = format!("dropsocket /{}", "x".repeat(200));
        assert!(Sockserv.parse(&long).unwrap_err().contains("has 201 bytes"));
    }
}
