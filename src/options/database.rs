//! servsock's options of the database: one URL, or FLoP's keywords for its parts.

#![forbid(unsafe_code)]

use super::central::Servsock;
use super::pgpass;
use crate::config::{InForce, Keyword, port, read_secret};
use crate::error::Error;
use crate::store::{Encoding, Settings, TimeZone, Url};
use clap::Args;
use std::path::{Path, PathBuf};

/// As FLoP has them.
const NAME: &str = "snort";
const SQLITE: &str = "sqlite:flop.db";

/// Where alerts are stored, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub(super) struct DatabaseOptions {
    /// sqlite:PATH or postgresql://USER@HOST/NAME
    ///
    /// In full: postgresql://user:password@host:port/name, or postgresql:///name?host=/socket/dir. The default is
    /// sqlite:flop.db. A password does not belong into the command line, where everybody on this machine can read it:
    /// see --db-password-file, the keyword DBpassword, and PGPASSFILE.
    #[arg(long, value_name = "URL")]
    db: Option<String>,
    /// Kind of database: sqlite or postgres [default: postgres, where another of these parts is given]
    #[arg(long, value_name = "KIND", value_parser = kind, hide_short_help = true)]
    db_type: Option<Type>,
    /// PostgreSQL's host
    #[arg(short = 'S', long, value_name = "HOST", hide_short_help = true)]
    db_server: Option<String>,
    /// PostgreSQL's socket, or its directory
    #[arg(short = 's', long, value_name = "PATH", hide_short_help = true)]
    db_socket: Option<PathBuf>,
    /// PostgreSQL's TCP port [default: 5432]
    #[arg(long, value_name = "PORT", value_parser = port, hide_short_help = true)]
    db_port: Option<u16>,
    /// Name of the database [default: snort]; of an SQLite database its file
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    db_name: Option<String>,
    /// User of the database [default: snort]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    db_user: Option<String>,
    /// Password; belongs into a configuration file that nobody else can read
    #[arg(long, value_name = "PASSWORD", hide_short_help = true)]
    db_password: Option<String>,
    /// File with the password in its first line; nobody else may read it
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "db_password",
        hide_short_help = true
    )]
    db_password_file: Option<PathBuf>,
    /// How payloads are stored: hex, base64, ascii
    ///
    /// For sensors that have no alerts yet; one that has some keeps its own.
    #[arg(long, value_name = "HOW", default_value_t = Encoding::default(), value_parser = encoding)]
    #[arg(hide_short_help = true)]
    db_encoding: Encoding,
    /// Nobody else writes to the database
    ///
    /// So that the ids in the cache of signatures stay valid, and are not looked up again.
    #[arg(long, hide_short_help = true)]
    db_trust: bool,
    /// Store whole packets
    ///
    /// In FLoP's columns data.data_header and data.pcap_header, which are made where they are missing.
    #[arg(short = 'f', long)]
    full_payload: bool,
    /// Store which alert began a tagged flow
    ///
    /// In FLoP's column event.reference, which is made where it is missing.
    #[arg(short = 'r', long, hide_short_help = true)]
    reference: bool,
    /// Time zone of event.timestamp, as Europe/Berlin [default: UTC]
    ///
    /// Only where that column is text or has no time zone; instants stay instants.
    #[arg(short = 'Z', long, value_name = "ZONE", value_parser = time_zone, hide_short_help = true)]
    time_zone: Option<TimeZone>,
    /// The same as -Z UTC
    #[arg(short = 'u', long, hide_short_help = true)]
    utc: bool,
}

/// The keywords of these options.
pub(super) const DATABASE_KEYWORDS: [Keyword; 15] = [
    Keyword::secret("DB", "db"),
    Keyword::new("DBtype", "db_type"),
    Keyword::new("DBserver", "db_server"),
    Keyword::new("DBsocket", "db_socket"),
    Keyword::new("DBport", "db_port"),
    Keyword::new("DBname", "db_name"),
    Keyword::new("DBuser", "db_user"),
    Keyword::secret("DBpassword", "db_password"),
    Keyword::new("DBpasswordFile", "db_password_file"),
    Keyword::new("DBencoding", "db_encoding"),
    Keyword::new("DBTrust", "db_trust"),
    Keyword::new("FullPayload", "full_payload"),
    Keyword::new("Reference", "reference"),
    Keyword::new("TimeZone", "time_zone"),
    Keyword::new("UTC", "utc"),
];

/// `DBtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Sqlite,
    Postgres,
}

impl DatabaseOptions {
    /// The database, with its password, wherever that comes from.
    ///
    /// # Errors
    ///
    /// A sentence about the first that is refused.
    pub(super) fn url(&self, in_force: &InForce<Servsock>) -> Result<Url, Error> {
        let parts = self.parts_given();
        let of_file = |option: &str| !in_force.place(option).is_empty();
        let rival = parts
            .iter()
            .find(|part| self.db.is_some() && of_file(part) == of_file("db"));
        if let Some(part) = rival {
            return Err(Error::Usage(format!(
                "{}the database is named as a whole (--db, keyword DB) and by its parts ({part}); leave out one of both",
                in_force.place(part)
            )));
        }
        let mut url = match &self.db {
            Some(text) if parts.is_empty() || !of_file("db") => parse(text, in_force)?,
            // A password alone is one for FLoP's defaults.
            None if parts.is_empty() && !self.has_password() => parse(SQLITE, in_force)?,
            _ => self.of_parts(in_force)?,
        };
        self.find_password(&mut url, in_force)?;
        Ok(url)
    }

    /// What a dump says of the database as a whole, where it was not named by its parts and holds no password.
    pub(super) fn computed(&self, url: &Url) -> Vec<(&'static str, String)> {
        let is_whole = self.parts_given().is_empty() && !self.has_password();
        match is_whole && !url.has_password() {
            true => vec![("db", url.to_string())],
            false => Vec::new(),
        }
    }

    /// How alerts are stored there.
    ///
    /// # Errors
    ///
    /// Two time zones.
    pub(super) fn settings(&self, in_force: &InForce<Servsock>) -> Result<Settings, Error> {
        let time_zone = self.time_zone.clone().unwrap_or_default();
        if self.utc && !time_zone.is_utc() {
            return Err(Error::Usage(format!(
                "{}-u (UTC) and -Z {time_zone} (TimeZone) exclude each other",
                in_force.place("time_zone")
            )));
        }
        Ok(Settings {
            encoding: self.db_encoding,
            trust: self.db_trust,
            full_payload: self.full_payload,
            reference: self.reference,
            time_zone,
        })
    }

    fn has_password(&self) -> bool {
        self.db_password_file.is_some() || self.db_password.is_some()
    }

    /// The options among the parts that are given.
    fn parts_given(&self) -> Vec<&'static str> {
        let parts = [
            ("db_type", self.db_type.is_some()),
            ("db_server", self.db_server.is_some()),
            ("db_socket", self.db_socket.is_some()),
            ("db_port", self.db_port.is_some()),
            ("db_name", self.db_name.is_some()),
            ("db_user", self.db_user.is_some()),
        ];
        let given = parts.into_iter().filter(|(_, given)| *given);
        given.map(|(option, _)| option).collect()
    }

    fn of_parts(&self, in_force: &InForce<Servsock>) -> Result<Url, Error> {
        if self.db_type == Some(Type::Sqlite) {
            let file = self.db_name.as_deref();
            return match file {
                Some(file) => parse(&format!("sqlite:{file}"), in_force),
                None => parse(SQLITE, in_force),
            };
        }
        let (host, port) = match (&self.db_server, &self.db_socket) {
            (Some(_), Some(_)) => {
                return Err(Error::Usage(format!(
                    "{}the database is reached by TCP (-S, DBserver) or by its socket (-s, DBsocket), not by both",
                    in_force.place("db_socket")
                )));
            }
            (Some(host), None) => (host.clone(), None),
            (None, Some(socket)) => socket_folder(socket),
            (None, None) => (String::new(), None),
        };
        let name = |given: &Option<String>| given.clone().unwrap_or_else(|| NAME.to_owned());
        let (user, dbname) = (name(&self.db_user), name(&self.db_name));
        Ok(Url::postgres(user, &host, self.db_port.or(port), dbname))
    }

    /// A password in a file that others can read is refused, and one in the argument list is warned of.
    fn find_password(&self, url: &mut Url, in_force: &InForce<Servsock>) -> Result<(), Error> {
        let given = self
            .db_password
            .as_ref()
            .filter(|password| !password.is_empty());
        let option = match (url.has_password(), given) {
            (true, _) => "db",
            (false, Some(password)) => {
                url.set_password(password.clone());
                "db_password"
            }
            (false, None) => return self.read_password(url),
        };
        if in_force.place(option).is_empty() {
            crate::warning!(
                "the database's password is in the argument list, where everybody on this machine can read it; \
                 a configuration file (-c, keyword DBpassword) or --db-password-file can hide it"
            );
        }
        in_force.check_secret(option)
    }

    fn read_password(&self, url: &mut Url) -> Result<(), Error> {
        let password = match (&self.db_password_file, url.login()) {
            (_, None) => None,
            (Some(file), _) => Some(read_secret("database's password", file)?),
            (None, Some(login)) => pgpass::find(&login)?,
        };
        if let Some(password) = password {
            url.set_password(password);
        }
        Ok(())
    }
}

fn parse(text: &str, in_force: &InForce<Servsock>) -> Result<Url, Error> {
    Url::parse(text).map_err(|error| Error::Usage(format!("{}--db: {error}", in_force.place("db"))))
}

/// The folder of a socket, and its port: PostgreSQL's socket is `.s.PGSQL.5432` in it.
fn socket_folder(socket: &Path) -> (String, Option<u16>) {
    let name = socket.file_name().and_then(|name| name.to_str());
    let port = name
        .and_then(|name| name.strip_prefix(".s.PGSQL."))
        .and_then(|port| port.parse().ok());
    let folder = match port {
        Some(_) => socket.parent().unwrap_or(socket),
        None => socket,
    };
    (folder.display().to_string(), port)
}

fn encoding(value: &str) -> Result<Encoding, String> {
    let found = Encoding::ALL
        .into_iter()
        .find(|encoding| encoding.name().eq_ignore_ascii_case(value));
    found.ok_or_else(|| format!("{value} is no encoding: hex, base64 or ascii"))
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    name.parse()
}

fn kind(value: &str) -> Result<Type, String> {
    match value.to_ascii_lowercase().as_str() {
        "sqlite" | "sqlite3" => Ok(Type::Sqlite),
        "postgres" | "postgresql" => Ok(Type::Postgres),
        "mysql" | "mariadb" => Err(format!(
            "{value} is not supported any more: postgres and sqlite are, in the same schema"
        )),
        _ => Err(format!(
            "{value} is no kind of database: postgres or sqlite"
        )),
    }
}
