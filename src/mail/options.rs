//! The command line of `drop` and `alert`, the keywords of their files, and the configuration that comes out of both.

#![forbid(unsafe_code)]

use super::Kind;
use crate::config::{self, InForce, Keyword, number, port};
use crate::daemon::{self, DaemonConfig, DaemonOptions};
use crate::error::Error;
use crate::options::check_socket_path;
use crate::process::host_name;
use clap::{CommandFactory, Parser, ValueEnum};
use lettre::Address;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A day; a longer pause is a mistake.
const SECS_MAX: u64 = 86_400;
/// More records than this do not fit a mail anybody reads, nor the memory that is meant for them.
const RECORDS_MAX: u64 = 1_000_000;
/// SMTP with TLS from the first byte (RFC 8314).
const PORT_TLS: u16 = 465;
const PORT: u16 = 25;
/// RFC 1035.
const DOMAIN_BYTES_MAX: usize = 253;

/// The command line.
#[derive(Debug, Parser)]
#[command(version, disable_version_flag = true, max_term_width = 100)]
pub struct Options {
    /// Configuration file
    #[arg(short = 'c', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Socket to make
    ///
    /// A unix datagram socket, which gets JSON records.
    #[arg(short = 's', long, value_name = "SOCKET")]
    socket: PathBuf,
    /// Seconds between looks for alerts
    #[arg(short = 'A', long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    alarm_delay: u64,
    /// Mail at once when so many wait
    ///
    /// 0 is off: only the timer of -A counts.
    #[arg(short = 'L', long, value_name = "ALERTS", default_value = "0", value_parser = records)]
    alarm_level: u64,
    /// Give up after so many failed tries
    #[arg(short = 'M', long, value_name = "TRIES", default_value = "5", value_parser = tries)]
    max_count: u64,
    /// Seconds from a failed try to the next [default: those of -A]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, hide_short_help = true)]
    retry: Option<u64>,
    /// Show sensors by their full DNS names
    #[arg(short = 'F', long)]
    fqn_names: bool,
    /// Alerts shown one by one in a mail; the others are in its table
    #[arg(long, value_name = "ALERTS", default_value = "100", value_parser = records, hide_short_help = true)]
    listed: u64,
    /// Alerts kept one by one while they wait; further ones are counted by rule
    #[arg(long, value_name = "ALERTS", default_value = "10000", value_parser = records, hide_short_help = true)]
    max_waiting: u64,
    /// Seconds to go on after a signal to stop
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = drain, hide_short_help = true)]
    drain: u64,
    /// Print the configuration in force, and end
    #[arg(short = 'D', long)]
    pub dump: bool,
    /// Test the configuration and all it names, and end
    ///
    /// Also the socket and the mail server.
    #[arg(short = 'T', long)]
    pub test: bool,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    mail: MailOptions,
    #[command(flatten)]
    exec: ExecOptions,
    #[command(flatten)]
    daemon: DaemonOptions,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Mail")]
struct MailOptions {
    /// Who gets the mail; may be given several times
    #[arg(short = 'r', long = "recipient", value_name = "ADDRESS")]
    recipients: Vec<String>,
    /// Sender of the mail
    ///
    /// Without it, the program's name at the domain of -d.
    #[arg(short = 'f', long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Mail server
    #[arg(short = 'S', long, value_name = "HOST", default_value = "localhost")]
    server: String,
    /// Its TCP port [default: 25, or 465 for TLS]
    #[arg(short = 'p', long, value_name = "PORT", value_parser = port)]
    port: Option<u16>,
    /// Our name [default: the host name]
    ///
    /// To greet the mail server with, and for addresses without a domain.
    #[arg(short = 'd', long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// off, starttls, or tls from the first byte
    ///
    /// How the connection to the mail server is encrypted.
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "off",
        hide_possible_values = true
    )]
    tls: Tls,
    /// Certificates to trust instead of the public ones, PEM
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_file: Option<PathBuf>,
    /// Log in at the mail server as this user
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    user: Option<String>,
    /// File with the password in its first line; nobody else may read it
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    password_file: Option<PathBuf>,
    /// Seconds to wait for each answer of the mail server
    ///
    /// A try as a whole may take ten times as long.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = timeout, hide_short_help = true)]
    mail_timeout: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Instead of mail")]
struct ExecOptions {
    /// Program that gets the alerts instead
    ///
    /// On its standard input, a JSON record per line.
    #[arg(long, value_name = "PROGRAM")]
    exec: Option<PathBuf>,
    /// Seconds after which it is killed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = timeout, hide_short_help = true)]
    exec_timeout: u64,
}

/// `--tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// Plain
    Off,
    /// Plain first, then encrypted; a server that cannot is refused
    Starttls,
    /// Encrypted from the first byte
    Tls,
}

const OWN_KEYWORDS: [Keyword; 21] = [
    Keyword::new("Socket", "socket"),
    Keyword::new("AlarmDelay", "alarm_delay"),
    Keyword::new("AlarmLevel", "alarm_level"),
    Keyword::new("MaxCount", "max_count"),
    Keyword::new("Retry", "retry"),
    Keyword::new("FQNNames", "fqn_names"),
    Keyword::new("Listed", "listed"),
    Keyword::new("MaxWaiting", "max_waiting"),
    Keyword::new("Drain", "drain"),
    Keyword::new("MailServer", "server"),
    Keyword::new("MailPort", "port"),
    Keyword::new("MailRecipient", "recipients"),
    Keyword::new("MailSender", "from"),
    Keyword::new("MailDomain", "domain"),
    Keyword::new("MailTLS", "tls"),
    Keyword::new("MailCAFile", "ca_file"),
    Keyword::new("MailUser", "user"),
    Keyword::new("MailPasswordFile", "password_file"),
    Keyword::new("MailTimeout", "mail_timeout"),
    Keyword::new("Exec", "exec"),
    Keyword::new("ExecTimeout", "exec_timeout"),
];

/// The keywords of drop.conf and alert.conf.
pub const KEYWORDS: &[Keyword] =
    &config::join::<{ OWN_KEYWORDS.len() + daemon::KEYWORDS.len() }>(&[
        &OWN_KEYWORDS,
        &daemon::KEYWORDS,
    ]);

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "alerts from {}", self.socket.display())?;
        match &self.way {
            Way::Print => write!(f, ", printed, for no recipient (-r) is named"),
            Way::Exec { program, .. } => write!(f, ", to program {}", program.display()),
            Way::Mail(mail) => {
                let to: Vec<String> = mail.recipients.iter().map(ToString::to_string).collect();
                write!(f, ", by {}:{} to {}", mail.server, mail.port, to.join(", "))
            }
        }
    }
}

/// What the program works with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which of the two it is.
    pub kind: Kind,
    /// The socket to make.
    pub socket: PathBuf,
    /// Between looks.
    pub delay: Duration,
    /// Waiting alerts that are told at once; 0 is off.
    pub level: u64,
    /// Failed tries before it gives up.
    pub tries: u64,
    /// From a failed try to the next.
    pub retry: Duration,
    /// Resolve sensor names.
    pub full_names: bool,
    /// Alerts shown one by one.
    pub listed: usize,
    /// Alerts kept one by one.
    pub waiting: usize,
    /// How long to go on after a signal.
    pub drain: Duration,
    /// How alerts are told.
    pub way: Way,
    /// The host that tells them.
    pub host: String,
    /// Background, syslog and the like.
    pub daemon: DaemonConfig,
}

/// How alerts are told.
#[derive(Clone, Debug)]
pub enum Way {
    /// Each at once, on standard output.
    Print,
    /// By mail.
    Mail(MailConfig),
    /// To a program.
    Exec {
        /// Its path.
        program: PathBuf,
        /// Then it is killed.
        timeout: Duration,
    },
}

/// The mail server, and what is said to it.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Name or address.
    pub server: String,
    /// TCP port.
    pub port: u16,
    /// At least one.
    pub recipients: Vec<Address>,
    /// Envelope and header.
    pub sender: Address,
    /// For the greeting and the Message-ID.
    pub domain: String,
    /// Encryption.
    pub tls: Tls,
    /// Certificates to trust instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Login.
    pub login: Option<Login>,
    /// For each answer.
    pub timeout: Duration,
}

/// A user and the file of the password.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name.
    pub user: String,
    /// The password is in its first line.
    pub file: PathBuf,
}

/// The command line of one of the two programs.
pub fn command(kind: Kind) -> clap::Command {
    let (about, socket) = match kind {
        Kind::Drop => (
            "Takes the alerts that sockserv dropped, and mails them",
            "/tmp/drop",
        ),
        Kind::Alert => (
            "Takes the important alerts that servsock stored, and mails them",
            "/tmp/alert",
        ),
    };
    Options::command()
        .name(kind.name())
        .about(about)
        .mut_arg("socket", |arg| arg.required(false).default_value(socket))
}

/// Checks all values.
///
/// # Errors
///
/// A sentence about the first that is refused.
pub fn validate(kind: Kind, in_force: &InForce<Options>) -> Result<Config, Error> {
    let options = &in_force.options;
    let at = |option: &str, reason: String| {
        Err(Error::Usage(format!("{}{reason}", in_force.place(option))))
    };
    if let Err(error) = check_socket_path(&options.socket) {
        return at("socket", error.to_string());
    }
    let daemon = options.daemon.clone().validate()?;
    let domain = domain(options, &at)?;
    let way = match (&options.exec.exec, options.mail.recipients.as_slice(), kind) {
        (Some(_), [_, ..], _) => {
            return at(
                "exec",
                "--exec takes the place of mail; leave it or the recipients (-r) out".into(),
            );
        }
        (Some(program), [], _) => Way::Exec {
            program: program.clone(),
            timeout: Duration::from_secs(options.exec.exec_timeout),
        },
        (None, [], Kind::Drop) => Way::Print,
        (None, [], Kind::Alert) => {
            return Err(Error::Usage(
                "nobody is to be told: name a recipient (-r, MailRecipient) or a program (--exec)"
                    .into(),
            ));
        }
        (None, _, _) => Way::Mail(mail(kind, &options.mail, &domain, &at)?),
    };
    let secs = Duration::from_secs;
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Config {
        kind,
        socket: options.socket.clone(),
        delay: secs(options.alarm_delay),
        level: options.alarm_level,
        tries: options.max_count,
        retry: secs(options.retry.unwrap_or(options.alarm_delay)),
        full_names: options.fqn_names,
        listed: size(options.listed),
        waiting: size(options.max_waiting),
        drain: secs(options.drain),
        way,
        host: domain,
        daemon,
    })
}

/// For the dump: what is worked out where it is not given.
pub fn computed(config: &Config) -> Vec<(&'static str, String)> {
    let mut values = vec![
        ("retry", config.retry.as_secs().to_string()),
        ("domain", config.host.clone()),
    ];
    if let Way::Mail(mail) = &config.way {
        values.push(("from", mail.sender.to_string()));
        values.push(("port", mail.port.to_string()));
    }
    values
}

type At<'a> = &'a dyn Fn(&str, String) -> Result<Config, Error>;

fn domain(options: &Options, at: At<'_>) -> Result<String, Error> {
    let is_domain = |text: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !text.is_empty() && text.len() <= DOMAIN_BYTES_MAX && text.bytes().all(letter)
    };
    match &options.mail.domain {
        Some(domain) if is_domain(domain) => Ok(domain.clone()),
        Some(domain) => Err(refusal(
            at,
            "domain",
            format!("MailDomain (-d) {domain} is no domain"),
        )),
        None => Ok(host_name()
            .ok()
            .filter(|name| is_domain(name))
            .unwrap_or_else(|| "localhost".into())),
    }
}

fn refusal(at: At<'_>, option: &str, reason: String) -> Error {
    match at(option, reason) {
        Err(error) => error,
        Ok(_) => unreachable!("it makes errors only"),
    }
}

fn mail(kind: Kind, options: &MailOptions, domain: &str, at: At<'_>) -> Result<MailConfig, Error> {
    let address = |option: &str, what: &str, text: &str| {
        let whole = match text.contains('@') {
            true => text.to_owned(),
            false => format!("{text}@{domain}"),
        };
        let parsed = whole.parse::<Address>();
        parsed.map_err(|error| {
            refusal(
                at,
                option,
                format!("{what} {text} is no mail address: {error}"),
            )
        })
    };
    let recipients = options.recipients.iter();
    let recipients = recipients.map(|text| address("recipients", "MailRecipient (-r)", text));
    let sender = options.from.as_deref().unwrap_or(kind.name());
    if options.server.is_empty() {
        return Err(refusal(at, "server", "MailServer (-S) is empty".into()));
    }
    if options.ca_file.is_some() && options.tls == Tls::Off {
        let reason = "MailCAFile (--ca-file) is of use with MailTLS (--tls) only";
        return Err(refusal(at, "ca_file", reason.into()));
    }
    Ok(MailConfig {
        server: options.server.clone(),
        port: options.port.unwrap_or(match options.tls {
            Tls::Tls => PORT_TLS,
            Tls::Off | Tls::Starttls => PORT,
        }),
        recipients: recipients.collect::<Result<_, _>>()?,
        sender: address("from", "MailSender (-f)", sender)?,
        domain: domain.to_owned(),
        tls: options.tls,
        ca_file: options.ca_file.clone(),
        login: login(options, at)?,
        timeout: Duration::from_secs(options.mail_timeout),
    })
}

fn login(options: &MailOptions, at: At<'_>) -> Result<Option<Login>, Error> {
    let (user, file) = match (&options.user, &options.password_file) {
        (None, None) => return Ok(None),
        (Some(user), Some(file)) => (user.clone(), file.clone()),
        _ => {
            let reason =
                "a login wants both MailUser (--user) and MailPasswordFile (--password-file)";
            return Err(refusal(at, "user", reason.into()));
        }
    };
    let here = options.server == "localhost"
        || options
            .server
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if options.tls == Tls::Off && !here {
        let reason = format!(
            "a login at {} would send the password for everybody to read; add MailTLS (--tls)",
            options.server
        );
        return Err(refusal(at, "user", reason));
    }
    Ok(Some(Login { user, file }))
}

fn seconds(value: &str) -> Result<u64, String> {
    number(value, "seconds", 1, SECS_MAX)
}

fn timeout(value: &str) -> Result<u64, String> {
    number(value, "seconds", 1, 3600)
}

fn drain(value: &str) -> Result<u64, String> {
    number(value, "seconds", 0, 3600)
}

fn tries(value: &str) -> Result<u64, String> {
    number(value, "tries", 1, u64::from(u32::MAX))
}

fn records(value: &str) -> Result<u64, String> {
    number(value, "alerts", 0, RECORDS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CommandLine;

    fn config(kind: Kind, args: &[&str]) -> Result<Config, String> {
        let args = [kind.name()].into_iter().chain(args.iter().copied());
        let line = CommandLine::parse(command(kind), args.map(Into::into).collect());
        let in_force = line.map_err(|error| error.to_string())?.with_file(KEYWORDS);
        validate(kind, &in_force.unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_options_and_their_keywords_are_sound() {
        command(Kind::Drop).debug_assert();
        let command = command(Kind::Alert);
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let without = ["config", "dump", "test", "version", "help"];
            let known = KEYWORDS
                .iter()
                .filter(|keyword| keyword.option == id)
                .count();
            assert_eq!(known, usize::from(!without.contains(&id)), "{id}");
            assert!(arg.get_long().is_some(), "{id}");
        }
    }

    #[test]
    fn defaults_are_flops() {
        let config = config(Kind::Alert, &["-r", "root", "-d", "example.org"]).unwrap();
        assert_eq!(
            (config.delay.as_secs(), config.level, config.tries),
            (300, 0, 5)
        );
        assert_eq!((config.retry.as_secs(), config.full_names), (300, false));
        assert_eq!(config.socket, PathBuf::from("/tmp/alert"));
        let Way::Mail(mail) = config.way else {
            panic!("no mail")
        };
        assert_eq!((mail.server.as_str(), mail.port), ("localhost", 25));
        assert_eq!(mail.recipients[0].to_string(), "root@example.org");
        assert_eq!(mail.sender.to_string(), "alert@example.org");
        assert!(matches!(
            super::tests::config(Kind::Drop, &[]).unwrap().way,
            Way::Print
        ));
    }

    #[test]
    fn all_short_options_of_flop_are_taken() {
        let args =
            "-b -F -l -A 1 -d d -f f -L 1 -m 027 -M 1 -p 1 -P p -r a -r b -s s -S h -V mail,1 -w /";
        let args: Vec<&str> = args.split(' ').collect();
        let config = config(Kind::Drop, &args).unwrap();
        assert!(config.daemon.background && config.full_names);
    }

    #[test]
    fn wrong_values_are_refused_with_a_sentence() {
        for (args, sentence) in [
            (vec!["-A", "0"], "0 is not a number of seconds (1 to 86400)"),
            (vec!["-A", "86401"], "86401 is not a number of seconds"),
            (vec!["-p", "0"], "0 is not a port (1 to 65535)"),
            (vec!["-M", "0"], "0 is not a number of tries"),
            (
                vec!["-r", "a b"],
                "MailRecipient (-r) a b is no mail address",
            ),
            (vec!["-r", "a@b\nRCPT TO:<c@d>"], "is no mail address"),
            (
                vec!["-r", "a", "-f", "@"],
                "MailSender (-f) @ is no mail address",
            ),
            (vec!["-r", "a", "-d", "a\r\nb"], "is no domain"),
            (
                vec!["-r", "a", "--exec", "/bin/true"],
                "takes the place of mail",
            ),
            (vec!["-r", "a", "--user", "u"], "a login wants both"),
            (
                vec![
                    "-r",
                    "a",
                    "-S",
                    "mail.example.org",
                    "--user",
                    "u",
                    "--password-file",
                    "f",
                ],
                "for everybody to read",
            ),
            (vec!["-r", "a", "--ca-file", "f"], "is of use with MailTLS"),
            (vec![], "nobody is to be told"),
        ] {
            let error = config(Kind::Alert, &args).unwrap_err();
            assert!(error.contains(sentence), "{args:?}: {error}");
        }
        assert!(config(Kind::Alert, &["-r", "a", "-A", "86400", "-p", "65535"]).is_ok());
        let tls = config(Kind::Alert, &["-r", "a", "--tls", "tls"]).unwrap();
        assert!(matches!(tls.way, Way::Mail(mail) if mail.port == 465));
    }
}
