//! What an operator writes: lines into the control FIFO, and configuration files.

#![forbid(unsafe_code)]

use super::{Input, check_sentence};
use crate::buffer::HIGH_WATER_MAX;
use crate::config::{self, CommandLine, InForce, Keyword};
use crate::ctrl::{Command, LINE_BYTES_MAX, Line, Lines, Mark, Program, TooLong};
use crate::error::Error;
use crate::keywords::{self, Setting};
use crate::mail;
use crate::options::{
    PAUSE_SECS_MAX, SERVSOCK_KEYWORDS, SOCKSERV_KEYWORDS, Servsock, Sockserv, Surroundings,
    check_socket_path,
};
use crate::store::Url;
use clap::{CommandFactory, FromArgMatches};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

/// What one look at the FIFO reads at most.
const FIFO_BYTES_MAX: usize = 64 << 10;
const PIECES_MAX: usize = 16;

/// What comes out of the control FIFO, for both programs: how it is cut into pieces, then the bytes.
pub fn control(bytes: &[u8]) {
    let mut input = Input(bytes);
    let cut = usize::from(input.byte()) + 1;
    let bytes = &input.0[..input.0.len().min(FIFO_BYTES_MAX)];
    let lines = lines_of(&[bytes]);
    let pieces: Vec<_> = bytes.chunks(bytes.len() / PIECES_MAX + cut).collect();
    assert_eq!(lines_of(&pieces), lines);
    for line in lines.iter().flatten() {
        assert!(line.len() <= 3 * LINE_BYTES_MAX, "a bad byte becomes three");
        for program in [Program::Sockserv, Program::Servsock] {
            check_parsed(program, line);
        }
    }
}

fn lines_of(pieces: &[&[u8]]) -> Vec<Result<String, TooLong>> {
    let (mut lines, mut seen) = (Lines::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        lines.read_from(&mut piece, |line| seen.push(line.map(str::to_owned)));
    }
    seen
}

fn check_parsed(program: Program, text: &str) {
    match program.parse(text) {
        Ok(None) => assert_eq!(text.trim(), ""),
        Ok(Some(Line { command, answer_to })) => {
            check_command(&command);
            if let Some(file) = answer_to {
                assert_eq!(
                    file.file_name(),
                    Some(file.as_os_str()),
                    "in no other folder"
                );
            }
        }
        // The log shows what cannot be seen as an escape.
        Err(reason) => check_sentence(&crate::log::escaped(&reason)),
    }
}

/// What the grammar promises to those who act on it.
fn check_command(command: &Command) {
    match command {
        Command::StatsEvery(Some(pause)) => {
            assert!((1..=PAUSE_SECS_MAX).contains(&pause.as_secs()));
        }
        Command::Wait(Some(secs)) => assert!((1..=PAUSE_SECS_MAX).contains(secs)),
        Command::MaxTry(Some(tries)) => assert!((1..=u64::from(u32::MAX)).contains(tries)),
        Command::Priority(priority) => assert!(*priority > 0),
        Command::High(mark) | Command::Low(mark) => check_mark(mark),
        Command::Server(host, port) => {
            assert!(!host.is_empty() && !host.contains(char::is_whitespace));
            assert_ne!(*port, Some(0));
        }
        Command::DropSocket(Some(path)) | Command::AlertSocket(Some(path)) => {
            assert!(check_socket_path(path).is_ok());
        }
        Command::Disconnect(name) => assert!(!name.is_empty()),
        _ => {}
    }
}

fn check_mark(mark: &Mark) {
    assert!(mark.alerts <= HIGH_WATER_MAX);
    assert_ne!(mark.sensor.as_deref(), Some(""));
}

/// A configuration file: whose, then its text.
pub fn config(bytes: &[u8]) {
    let mut input = Input(bytes);
    let program = input.byte() % 4;
    let Ok(text) = std::str::from_utf8(input.0) else {
        return; // `keywords::read` refuses it.
    };
    match keywords::parse(text) {
        Ok(settings) => settings.iter().for_each(check_setting),
        Err(bad) => return check_sentence(&bad.to_string()),
    }
    let dump = match program {
        0 => sockserv,
        1 => servsock,
        2 => |text: &str| mail(mail::Kind::Drop, text),
        _ => |text: &str| mail(mail::Kind::Alert, text),
    };
    match dump(text) {
        Ok(shown) => check_dump(dump, &shown),
        Err(error) => check_sentence(&crate::log::escaped(&error.to_string())),
    }
}

fn check_setting(setting: &Setting) {
    let value = &setting.value;
    assert!(!setting.keyword.is_empty() && !value.contains('\n'));
    // What would not be seen is shown as an escape, which nobody reads back.
    if crate::log::escaped(value) == *value {
        let line = format!("{}: {}", setting.keyword, config::quoted(value));
        let again = keywords::parse(&line).expect("a quoted value can be read");
        assert_eq!(again[0].value, *value);
    }
}

/// A dump can be read again, and then says the same; of secrets it says nothing.
fn check_dump(dump: fn(&str) -> Result<String, Error>, shown: &str) {
    if shown.contains("not shown") {
        return;
    }
    match dump(shown) {
        Ok(again) => assert_eq!(again, shown),
        Err(error) => panic!("{error}: {shown}"),
    }
}

fn sockserv(text: &str) -> Result<String, Error> {
    let in_force = in_force(Sockserv::command(), SOCKSERV_KEYWORDS, text)?;
    let surroundings = Surroundings {
        host_name: || Ok("host".to_owned()),
        state_directory: None,
    };
    Sockserv::validate(&in_force, surroundings).map(|config| config.dump)
}

fn servsock(text: &str) -> Result<String, Error> {
    let in_force = in_force(Servsock::command(), SERVSOCK_KEYWORDS, text)?;
    let config = Servsock::validate(&in_force)?;
    let url = Url::parse(&config.db.with_password());
    assert_eq!(url, Ok(config.db), "a worker gets it as text");
    Ok(config.dump)
}

fn mail(kind: mail::Kind, text: &str) -> Result<String, Error> {
    let keywords = mail::options::KEYWORDS;
    let in_force = in_force(mail::options::command(kind), keywords, text)?;
    let config = mail::options::validate(kind, &in_force)?;
    Ok(in_force.dump(keywords, &mail::options::computed(&config)))
}

/// The options that a file of this text sets.
fn in_force<P: FromArgMatches>(
    command: clap::Command,
    keywords: &'static [Keyword],
    text: &str,
) -> Result<InForce<P>, Error> {
    let mut file = File::from(memfd_create(c"flop-fuzz", MFdFlags::MFD_CLOEXEC).expect("memory"));
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR).expect("it is ours");
    file.write_all(text.as_bytes()).expect("memory");
    let option = format!("--config=/proc/self/fd/{}", file.as_raw_fd());
    let args = vec![command.get_name().into(), option.into()];
    CommandLine::parse(command, args)
        .expect("--config alone is a command line")
        .with_file(keywords)
}
