//! Configuration files and command line as one: a table tells which keyword is which option; a file's setting becomes
//! that option, and clap checks both alike.
//!
//! - What the command line gives wins; of an option that can be repeated, all of the file's values are replaced.
//! - Flags take `yes`, `no`, `on`, `off`, `true`, `false`, `1` and `0`.
//! - An error in a file names the file and the line: `drop.conf:12: MailPort 70000 is not a port (1 to 65535)`.

#![forbid(unsafe_code)]

use crate::error::Error;
use crate::keywords::{self, Setting};
use crate::process;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `-h` fits the smallest terminal.
const SCREEN_COLUMNS: usize = 80;
/// A password with more bytes is a mistake: the wrong file.
const SECRET_BYTES_MAX: u64 = 1024;

/// A keyword of the file, and the option that it sets.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// As documentation and dump write it.
    pub name: &'static str,
    /// clap's id of the option: the field's name.
    pub option: &'static str,
    /// Its value is never shown.
    pub secret: bool,
}

impl Keyword {
    /// A keyword whose value may be shown.
    pub const fn new(name: &'static str, option: &'static str) -> Keyword {
        Keyword {
            name,
            option,
            secret: false,
        }
    }

    /// A keyword whose value is never shown.
    pub const fn secret(name: &'static str, option: &'static str) -> Keyword {
        Keyword {
            name,
            option,
            secret: true,
        }
    }
}

/// Tables of keywords, one behind the other; `N` is the number of all keywords.
pub const fn join<const N: usize>(tables: &[&[Keyword]]) -> [Keyword; N] {
    let mut joined = [Keyword::new("", ""); N];
    let (mut number, mut table) = (0, 0);
    while table < tables.len() {
        let mut keyword = 0;
        while keyword < tables[table].len() {
            joined[number] = tables[table][keyword];
            keyword += 1;
            number += 1;
        }
        table += 1;
    }
    assert!(number == N, "N is the number of all keywords");
    joined
}

/// A checked command line, before the file.
#[derive(Debug)]
pub struct CommandLine {
    command: Command,
    args: Vec<OsString>,
    matches: ArgMatches,
}

/// The options in force.
#[derive(Debug)]
pub struct InForce<P> {
    /// The program's clap struct.
    pub options: P,
    command: Command,
    matches: ArgMatches,
    file: Option<PathBuf>,
    settings: Vec<(Setting, &'static Keyword)>,
}

impl CommandLine {
    /// Checks a command line.
    ///
    /// # Errors
    ///
    /// clap's, which is also how `-h` and `-v` answer: for `clap::Error::exit`.
    pub fn parse(command: Command, args: Vec<OsString>) -> Result<CommandLine, clap::Error> {
        let matches = command.clone().try_get_matches_from(&args)?;
        Ok(CommandLine {
            command,
            args,
            matches,
        })
    }

    /// Whether this flag is given here.
    pub fn flag(&self, option: &str) -> bool {
        self.matches.get_flag(option)
    }

    /// Adds the settings of the file that the option `config` names, if it does.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the first line in it that is wrong.
    pub fn with_file<P: FromArgMatches>(
        self,
        table: &'static [Keyword],
    ) -> Result<InForce<P>, Error> {
        let file = self.matches.get_one::<PathBuf>("config").cloned();
        let settings = match &file {
            Some(file) => read_settings(&self.command, file, table)?,
            None => Vec::new(),
        };
        let given = |option| self.matches.value_source(option) == Some(ValueSource::CommandLine);
        // The command line wins.
        let settings: Vec<_> = settings
            .into_iter()
            .filter(|(_, keyword)| !given(keyword.option))
            .collect();
        let (program, own) = self.args.split_first().expect("a program has a name");
        let from_file = settings
            .iter()
            .filter_map(|(setting, keyword)| argument(&self.command, keyword, &setting.value).ok())
            .flatten();
        let args = [program.clone()]
            .into_iter()
            .chain(from_file)
            .chain(own.iter().cloned());
        let usage = |error: clap::Error| Error::Usage(reason_line(&error));
        let matches = self
            .command
            .clone()
            .try_get_matches_from(args)
            .map_err(usage)?;
        Ok(InForce {
            options: P::from_arg_matches(&matches).map_err(usage)?,
            file,
            command: self.command,
            matches,
            settings,
        })
    }
}

/// Runs a program from its command line to its exit code: 2 for usage errors, 1 for others, and 0 or 1 for a test (-T).
pub fn run_program(
    command: Command,
    work: impl FnOnce(CommandLine) -> Result<ExitCode, Error>,
) -> ExitCode {
    crate::log::open(command.get_name().to_owned());
    let line = match CommandLine::parse(command.clone(), std::env::args_os().collect()) {
        Ok(line) => line,
        Err(error) => return tell(command, &error),
    };
    let testing = line.flag("test");
    work(line).unwrap_or_else(|error| {
        crate::err!("{error}");
        process::tell_parent(error.code());
        match testing {
            true => ExitCode::FAILURE,
            false => error.exit_code(),
        }
    })
}

/// clap's answer: a usage error, the version, or a help text.
fn tell(mut command: Command, error: &clap::Error) -> ExitCode {
    let is_short = error.kind() == ErrorKind::DisplayHelp
        && error.render().to_string() == command.render_help().to_string();
    // A closed output is no error of ours.
    let _ = match is_short {
        true => std::io::stdout().write_all(short_help(command).as_bytes()),
        false => error.print(),
    };
    ExitCode::from(u8::from(error.use_stderr()) * 2)
}

/// What `-h` answers: the usual options on one screen, without groups.
pub(crate) fn short_help(mut command: Command) -> String {
    command.build(); // Which adds -h itself.
    let mut command = command
        .mut_args(|arg| match arg.get_id().as_str() {
            "help" | "version" => arg.hide_short_help(true),
            _ => arg.help_heading(None),
        })
        .help_template("{usage-heading} {usage}\n{options}\n")
        .term_width(SCREEN_COLUMNS);
    let help = command.render_help().to_string();
    format!(
        "{}\n  -v, --version; --help explains these and further options, in groups\n",
        help.trim_end()
    )
}

/// Prints a dump.
///
/// # Errors
///
/// Standard output takes nothing.
pub fn print(text: &str) -> Result<ExitCode, Error> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Error::start("cannot print the configuration", error, ""))?;
    Ok(ExitCode::SUCCESS)
}

impl<P> InForce<P> {
    /// Refuses a file that others can read, where an option in it holds a secret.
    ///
    /// # Errors
    ///
    /// Others can read it.
    pub fn check_secret(&self, option: &str) -> Result<(), Error> {
        match (&self.file, self.place(option).as_str()) {
            (None, _) | (_, "") => Ok(()),
            (Some(path), _) => {
                let file = File::open(path).map_err(|error| {
                    Error::start(format!("cannot open {}", path.display()), error, "")
                })?;
                check_private("password", path, &file)
            }
        }
    }

    /// Where an option got its value, for errors about several options together: `drop.conf:12: `, else nothing.
    pub fn place(&self, option: &str) -> String {
        let setting = self
            .settings
            .iter()
            .rev()
            .find(|(_, keyword)| keyword.option == option);
        match (&self.file, setting) {
            (Some(file), Some((setting, _))) => format!("{}:{}: ", file.display(), setting.line),
            _ => String::new(),
        }
    }

    /// The configuration in force, as a file that can be read again. A secret is not shown, unless `computed` has
    /// something else for it. `computed` has the values of options which the
    /// program works out where they are not given.
    pub fn dump(&self, table: &[Keyword], computed: &[(&str, String)]) -> String {
        let mut text = String::new();
        for keyword in table {
            let arg = find(&self.command, keyword.option);
            let values = match is_flag(arg) {
                true => {
                    vec![["no", "yes"][usize::from(self.matches.get_flag(keyword.option))].into()]
                }
                false => self.values(keyword.option, computed),
            };
            let is_shown = computed.iter().any(|(option, _)| *option == keyword.option);
            let _ = match (values.as_slice(), keyword.secret && !is_shown) {
                ([], _) => writeln!(text, "# {}:", keyword.name),
                (_, true) => writeln!(text, "# {}: (set, and not shown)", keyword.name),
                (values, false) => values
                    .iter()
                    .try_for_each(|value| writeln!(text, "{}: {}", keyword.name, quoted(value))),
            };
        }
        text
    }

    fn values(&self, option: &str, computed: &[(&str, String)]) -> Vec<String> {
        let raw = self.matches.get_raw(option).into_iter().flatten();
        let values: Vec<String> = raw
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        match values.is_empty() {
            true => computed
                .iter()
                .filter(|(id, _)| *id == option)
                .map(|(_, value)| value.clone())
                .collect(),
            false => values,
        }
    }
}

/// A value as a file writes it, so that reading gives the same.
pub(crate) fn quoted(value: &str) -> String {
    let value = crate::log::escaped(value).replace('#', "\\#");
    match value.is_empty() || value.trim() != value || value.starts_with(['"', '\'']) {
        true => format!("\"{value}\""),
        false => value,
    }
}

fn read_settings(
    command: &Command,
    file: &Path,
    table: &'static [Keyword],
) -> Result<Vec<(Setting, &'static Keyword)>, Error> {
    let shown = file.display();
    let text = keywords::read(file).map_err(|error| {
        Error::start(format!("cannot read configuration file {shown}"), error, "")
    })?;
    let settings = keywords::parse(&text).map_err(|bad| Error::Usage(format!("{shown}:{bad}")))?;
    let mut known: Vec<(Setting, &'static Keyword)> = Vec::with_capacity(settings.len());
    for setting in settings {
        let line = setting.line;
        let refused = |reason: String| Error::Usage(format!("{shown}:{line}: {reason}"));
        let keyword = keyword(command, &setting.keyword, table).map_err(refused)?;
        let before = known.iter().find(|(_, known)| known.name == keyword.name);
        if let Some((before, _)) = before
            && !is_repeatable(find(command, keyword.option))
        {
            return Err(refused(format!(
                "{} is given twice, before in line {}",
                keyword.name, before.line
            )));
        }
        check(command, keyword, &setting.value).map_err(refused)?;
        known.push((setting, keyword));
    }
    Ok(known)
}

fn keyword(
    command: &Command,
    written: &str,
    table: &'static [Keyword],
) -> Result<&'static Keyword, String> {
    let found = table
        .iter()
        .find(|keyword| keyword.name.eq_ignore_ascii_case(written));
    found.ok_or_else(|| {
        let nearest = keywords::nearest(written, table.iter().map(|keyword| keyword.name));
        match nearest {
            Some(nearest) => format!("{written} is no keyword; did you mean {nearest}?"),
            None => {
                let dump = command.get_arguments().find(|arg| arg.get_id() == "dump");
                let short = dump.and_then(Arg::get_short).unwrap_or('d');
                format!("{written} is no keyword; -{short} shows all of them")
            }
        }
    })
}

/// What is wrong with a keyword's value, by clap's own check of the option alone.
fn check(command: &Command, keyword: &Keyword, value: &str) -> Result<(), String> {
    let argument = argument(command, keyword, value)?;
    let args = [OsString::from(command.get_name())]
        .into_iter()
        .chain(argument);
    let Err(error) = command.clone().try_get_matches_from(args) else {
        return Ok(());
    };
    // Another option may be missing beside it; that is for the whole.
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Ok(());
    }
    if keyword.secret {
        return Err(format!("the value of {} is refused", keyword.name));
    }
    let possible: Vec<String> = find(command, keyword.option)
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    Err(match error.source().map(ToString::to_string) {
        Some(reason) if reason.starts_with(value) => format!("{} {reason}", keyword.name),
        Some(reason) => format!("{} {value}: {reason}", keyword.name),
        None if !possible.is_empty() => {
            format!(
                "{} {value} is none of {}",
                keyword.name,
                possible.join(", ")
            )
        }
        None => format!("{} {value}: {}", keyword.name, reason_line(&error)),
    })
}

/// The command-line argument which says the same; none for a flag that is off.
fn argument(command: &Command, keyword: &Keyword, value: &str) -> Result<Option<OsString>, String> {
    let arg = find(command, keyword.option);
    let long = arg
        .get_long()
        .expect("each option with a keyword has a long name");
    if !is_flag(arg) {
        return Ok(Some(format!("--{long}={value}").into()));
    }
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "1" => Ok(Some(format!("--{long}").into())),
        "no" | "off" | "false" | "0" => Ok(None),
        _ => Err(format!(
            "{} {value} is neither yes nor no (on, off, true, false, 1, 0)",
            keyword.name
        )),
    }
}

fn find<'a>(command: &'a Command, option: &str) -> &'a Arg {
    let found = command.get_arguments().find(|arg| arg.get_id() == option);
    found.expect("the table of keywords names options that exist")
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_repeatable(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// clap's message without its label and its hints.
fn reason_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// A TCP port, as clap's value parser.
///
/// # Errors
///
/// A sentence that begins with the value.
pub fn port(value: &str) -> Result<u16, String> {
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{value} is not a port (1 to 65535)")),
    }
}

/// A whole number within limits, as clap's value parser; `unit` is what is counted.
///
/// # Errors
///
/// A sentence that begins with the value.
pub fn number(value: &str, unit: &str, min: u64, max: u64) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!(
            "{value} is not a number of {unit} ({min} to {max})"
        )),
    }
}

/// A number of bytes within limits, with K, M, G or T (powers of 1024) behind it or nothing, as clap's value parser.
///
/// # Errors
///
/// A sentence that begins with the value.
pub fn size(value: &str, min: u64, max: u64) -> Result<u64, String> {
    const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let unit = UNITS
        .iter()
        .find(|(unit, _)| value.ends_with([*unit, unit.to_ascii_lowercase()]));
    let (digits, shift) = unit.map_or((value, 0), |(_, shift)| (&value[..value.len() - 1], *shift));
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| (min..=max).contains(bytes))
        .ok_or_else(|| {
            let least = min >> 20;
            format!("{value} is no size, as 500M or 1G (at least {least}M)")
        })
}

/// The first line of a file that holds a password. Refused when it is not its owner's alone; a group may read it where
/// root owns it, as Debian's packages do.
///
/// # Errors
///
/// It cannot be read, others can read it, or it holds nothing.
pub fn read_secret(what: &str, path: &Path) -> Result<String, Error> {
    let refused = |answer: String, advice: &str| {
        let tried = format!("cannot take the {what} from {}", path.display());
        Error::start(tried, answer, advice)
    };
    let io = |error: std::io::Error| refused(error.to_string(), "");
    let file = File::open(path).map_err(io)?;
    check_private(what, path, &file)?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(io)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(refused("its first line is empty".to_owned(), "")),
    }
}

/// Refuses a file that holds a secret and is not its owner's alone.
///
/// # Errors
///
/// Others can read it.
pub(crate) fn check_private(what: &str, path: &Path, file: &File) -> Result<(), Error> {
    let refused = |answer: String, advice: &str| {
        let tried = format!("cannot take the {what} from {}", path.display());
        Error::start(tried, answer, advice)
    };
    let metadata = file
        .metadata()
        .map_err(|error| refused(error.to_string(), ""))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    match metadata.mode() & forbidden {
        0 => Ok(()),
        _ => Err(refused(
            format!("others can read it (mode {:04o})", metadata.mode() & 0o7777),
            "chmod 600 it, and change the password",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use std::fs;

    #[derive(Debug, Parser)]
    #[command(name = "try")]
    struct Try {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(long, default_value_t = 25, value_parser = crate::config::port)]
        port: u16,
        #[arg(long)]
        to: Vec<String>,
        #[arg(long)]
        quiet: bool,
        #[arg(long, default_value = "")]
        word: String,
        #[arg(long, value_parser = ["a", "b"])]
        choice: Option<String>,
        #[arg(long)]
        password: Option<String>,
    }

    const TABLE: &[Keyword] = &[
        Keyword::new("MailPort", "port"),
        Keyword::new("MailRecipient", "to"),
        Keyword::new("Quiet", "quiet"),
        Keyword::new("Word", "word"),
        Keyword::new("Choice", "choice"),
        Keyword::secret("Password", "password"),
    ];

    fn load(text: &str, args: &[&str]) -> Result<InForce<Try>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("try.conf");
        fs::write(&file, text).unwrap();
        let file = ["try", "--config", file.to_str().unwrap()].into_iter();
        let args = file.chain(args.iter().copied()).map(Into::into).collect();
        let line = CommandLine::parse(Try::command(), args).unwrap();
        let in_force = line.with_file(TABLE);
        in_force.map_err(|error| {
            let text = error.to_string();
            text.rsplit_once("try.conf:")
                .map_or(text.clone(), |(_, it)| it.to_owned())
        })
    }

    #[test]
    fn the_command_line_wins_and_replaces_repeatable_options_as_a_whole() {
        let text = "mailport = 26\nMailRecipient: a\nMailRecipient: b\nQuiet: on\nword: --to=x";
        let file = load(text, &[]).unwrap().options;
        assert_eq!(
            (file.port, file.quiet, file.word.as_str()),
            (26, true, "--to=x")
        );
        assert_eq!(file.to, ["a", "b"]);
        let both = load(text, &["--to", "c", "--port=27"]).unwrap().options;
        assert_eq!((both.port, both.to), (27, vec!["c".to_owned()]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, sentence) in [
            (
                "\nMailPort: 70000",
                "2: MailPort 70000 is not a port (1 to 65535)",
            ),
            ("mailport: 0", "1: MailPort 0 is not a port (1 to 65535)"),
            (
                "MailPrt: 1",
                "1: MailPrt is no keyword; did you mean MailPort?",
            ),
            (
                "Nothing: 1",
                "1: Nothing is no keyword; -d shows all of them",
            ),
            (
                "Quiet: perhaps",
                "1: Quiet perhaps is neither yes nor no (on, off, true, false, 1, 0)",
            ),
            (
                "MailPort: 1\nMailPort: 2",
                "2: MailPort is given twice, before in line 1",
            ),
            ("Choice: c", "1: Choice c is none of a, b"),
            (
                "nonsense",
                "1: a setting is `keyword: value` or `keyword = value`",
            ),
        ] {
            assert_eq!(load(text, &[]).unwrap_err(), sentence, "{text}");
        }
    }

    #[test]
    fn flags_take_the_usual_words() {
        for (word, on) in [("yes", true), ("On", true), ("TRUE", true), ("1", true)] {
            assert_eq!(
                load(&format!("Quiet: {word}"), &[]).unwrap().options.quiet,
                on
            );
        }
        for word in ["no", "Off", "false", "0"] {
            assert!(!load(&format!("Quiet: {word}"), &[]).unwrap().options.quiet);
            let both = load(&format!("Quiet: {word}"), &["--quiet"]);
            assert!(both.unwrap().options.quiet, "the command line wins");
        }
    }

    #[test]
    fn a_dump_can_be_read_again_and_shows_no_secret() {
        let text =
            "Word: \" a \\# b \"\nMailRecipient: x\nMailRecipient: y\nQuiet: 1\nPassword: sesame";
        let dump = load(text, &[])
            .unwrap()
            .dump(TABLE, &[("choice", "a".into())]);
        assert!(!dump.contains("sesame"), "{dump}");
        assert!(
            dump.contains("MailPort: 25\n") && dump.contains("Choice: a\n"),
            "{dump}"
        );
        let again = load(&dump, &[]).unwrap().options;
        assert_eq!((again.word.as_str(), again.quiet), (" a # b ", true));
        assert_eq!(again.to, ["x", "y"]);
    }

    #[test]
    fn the_place_of_a_value_is_known_where_a_file_gave_it() {
        let loaded = load("Quiet: 1\nMailPort: 5", &[]).unwrap();
        assert!(loaded.place("port").ends_with("try.conf:2: "));
        assert_eq!(loaded.place("to"), "");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "sesame\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_secret("password", &path) {
                Ok(secret) => assert!(fine && secret == "sesame", "{mode:o}"),
                Err(error) => assert!(!fine && error.to_string().contains("others can"), "{error}"),
            }
        }
    }
}
