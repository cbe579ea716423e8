//! Which database: `sqlite:PATH` or `postgresql://user:password@host:port/dbname`.
//!
//! Nothing here repeats a part of an address that was not understood, for it may be a part of a password.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// The address of a database, checked. Its `Display` (and `Debug`) shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(pub(super) Kind);

/// Whom PostgreSQL's file of passwords is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// Name, address or folder; "localhost" for the usual folder of the socket.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Database.
    pub dbname: &'a str,
    /// Its user; the operating system's where none is given.
    pub user: String,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite(PathBuf),
    Postgres(Server),
    /// See `null`.
    #[cfg(feature = "null-store")]
    Null,
}

/// Where a PostgreSQL database is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Name or address, or the folder of its socket when it begins with `/`.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) dbname: String,
}

const POSTGRES_PORT: u16 = 5432;
/// Where the packages of most distributions put the server's socket.
const POSTGRES_SOCKET_DIR: &str = "/var/run/postgresql";

impl Url {
    /// Checks a database's address without connecting to it.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Url, String> {
        #[cfg(feature = "null-store")]
        if text == super::null::URL {
            return Ok(Url(Kind::Null));
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            return sqlite(path).map(|path| Url(Kind::Sqlite(path)));
        }
        let rest = ["postgresql://", "postgres://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        match rest {
            Some(rest) => Server::parse(rest).map(|server| Url(Kind::Postgres(server))),
            None => Err(String::from(
                "a database's address begins with sqlite: or postgresql://, as in sqlite:/var/lib/flop/alerts.db or \
                 postgresql://snort:password@db.example.org:5432/snort",
            )),
        }
    }

    /// A PostgreSQL database from its parts. `host` is a name, an address, or the folder of the server's socket; empty
    /// for the usual folder.
    pub fn postgres(user: String, host: &str, port: Option<u16>, dbname: String) -> Url {
        let host = match host {
            "" => POSTGRES_SOCKET_DIR,
            host => host,
        };
        Url(Kind::Postgres(Server {
            user: Some(user),
            password: None,
            host: host.to_owned(),
            port: port.unwrap_or(POSTGRES_PORT),
            dbname,
        }))
    }

    /// Sets the password, where the database has one.
    pub fn set_password(&mut self, password: String) {
        if let Kind::Postgres(server) = &mut self.0 {
            server.password = Some(password);
        }
    }

    /// Whom a password is looked up for; `None` where the database knows no passwords.
    pub fn login(&self) -> Option<Login<'_>> {
        match &self.0 {
            Kind::Postgres(server) => Some(Login {
                host: match server.host.as_str() {
                    POSTGRES_SOCKET_DIR => "localhost",
                    host => host,
                },
                port: server.port,
                dbname: &server.dbname,
                user: server
                    .user
                    .clone()
                    .unwrap_or_else(crate::process::user_name),
            }),
            _ => None,
        }
    }

    /// Whether the address holds a password.
    pub fn has_password(&self) -> bool {
        match &self.0 {
            Kind::Postgres(server) => server.password.is_some(),
            _ => false,
        }
    }

    /// The whole address, password and all, as `parse` takes it: for a worker, over its control connection.
    pub fn with_password(&self) -> String {
        match &self.0 {
            Kind::Sqlite(path) => format!("sqlite:{}", path.display()),
            Kind::Postgres(server) => server.with_password(),
            #[cfg(feature = "null-store")]
            Kind::Null => String::from(super::null::URL),
        }
    }

    /// The file of an SQLite database.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Sqlite(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Kind::Postgres(server) => server.fmt(f),
            #[cfg(feature = "null-store")]
            Kind::Null => f.write_str(super::null::URL),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = &self.user {
            let password = if self.password.is_some() { ":***" } else { "" };
            write!(f, "{user}{password}@")?;
        }
        if self.host.starts_with('/') {
            write!(f, "/{}?host={}", self.dbname, self.host)?;
            return match self.port {
                POSTGRES_PORT => Ok(()),
                port => write!(f, "&port={port}"),
            };
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}/{}", self.host, self.port, self.dbname),
            false => write!(f, "{}:{}/{}", self.host, self.port, self.dbname),
        }
    }
}

fn sqlite(path: &str) -> Result<PathBuf, String> {
    match path {
        "" => Err(String::from("sqlite: wants the path of a file behind it")),
        ":memory:" => Err(String::from(
            "sqlite: wants the path of a file; a database in memory would be gone with its worker",
        )),
        path if path.contains('\0') => Err(String::from("the path behind sqlite: has a NUL in it")),
        path => Ok(PathBuf::from(path)),
    }
}

/// Everything but letters and digits becomes `%XX`.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

impl Server {
    fn with_password(&self) -> String {
        let user = match (&self.user, &self.password) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", percent_encoded(user.as_deref().unwrap_or_default())),
            (user, Some(password)) => format!(
                "{}:{}@",
                percent_encoded(user.as_deref().unwrap_or_default()),
                percent_encoded(password)
            ),
        };
        let (dbname, port) = (percent_encoded(&self.dbname), self.port);
        match self.host.as_str() {
            host if host.starts_with('/') => {
                format!(
                    "postgresql://{user}/{dbname}?host={}&port={port}",
                    percent_encoded(host)
                )
            }
            host if host.contains(':') => format!("postgresql://{user}[{host}]:{port}/{dbname}"),
            host => format!("postgresql://{user}{host}:{port}/{dbname}"),
        }
    }

    fn parse(rest: &str) -> Result<Server, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
        if dbname.contains(['@', '/']) || query.contains('@') {
            return Err(String::from(
                "the address of the PostgreSQL database has an @ or a / where none can be; in a password write / as \
                 %2F, ? as %3F, @ as %40, # as %23 and % as %25",
            ));
        }
        let (login, place) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(l, p)| (Some(l), p));
        let mut server = Server {
            dbname: decoded(dbname)?,
            port: POSTGRES_PORT,
            ..Server::default()
        };
        if let Some(login) = login {
            let (user, password) = login
                .split_once(':')
                .map_or((login, None), |(u, p)| (u, Some(p)));
            server.user = Some(decoded(user)?).filter(|user| !user.is_empty());
            server.password = password.map(decoded).transpose()?;
        }
        server.set_place(place)?;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            server.set_parameter(parameter)?;
        }
        if server.host.is_empty() {
            server.host = String::from(POSTGRES_SOCKET_DIR);
        }
        match server.dbname.is_empty() {
            true => Err(String::from(
                "the address of the PostgreSQL database names no database, as in postgresql://db.example.org/snort",
            )),
            false => Ok(server),
        }
    }

    /// `host`, `host:port`, `[address]:port`, or nothing.
    fn set_place(&mut self, place: &str) -> Result<(), String> {
        let (host, port) = match place.strip_prefix('[') {
            Some(place) => match place.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("wrong"))),
                None => return Err(String::from("the database's host has a [ without ]")),
            },
            None => place
                .split_once(':')
                .map_or((place, None), |(host, port)| (host, Some(port))),
        };
        self.host = decoded(host)?;
        match port {
            None | Some("") => Ok(()),
            Some(port) => self.set_port(port),
        }
    }

    fn set_port(&mut self, port: &str) -> Result<(), String> {
        self.port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
            String::from(
                "what follows the database's host and a : is no port (1 to 65535); if it belongs to the password, \
                 the @ behind the password is missing",
            )
        })?;
        Ok(())
    }

    fn set_parameter(&mut self, parameter: &str) -> Result<(), String> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = decoded(value)?;
        match name {
            "host" => self.host = value,
            "port" => self.set_port(&value)?,
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" => self.dbname = value,
            _ => {
                return Err(String::from(
                    "the address of the PostgreSQL database has a parameter other than host, port, user, password \
                     and dbname",
                ));
            }
        }
        Ok(())
    }
}

/// Undoes `%2F` and the like.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => return Err(percent()),
            },
            (b'%', _) => return Err(percent()),
            _ => (first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| {
            String::from("the database's address is not UTF-8 text once its %xx are decoded")
        })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

fn percent() -> String {
    String::from(
        "a % in the database's address is not followed by two hexadecimal digits; a plain % is written %25",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Url::parse(text).map_or_else(|error| format!("error: {error}"), |url| url.to_string())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let cases = [
            ("sqlite:alerts.db", "sqlite:alerts.db"),
            ("sqlite:///a b.db", "sqlite:///a b.db"),
            ("postgres://u:secret@h/d", "postgresql://u:***@h:5432/d"),
            ("postgresql://u@h:99/d", "postgresql://u@h:99/d"),
            ("postgresql://[::1]:99/d", "postgresql://[::1]:99/d"),
            (
                "postgresql:///d?host=/tmp/x&user=u&password=secret",
                "postgresql://u:***@/d?host=/tmp/x",
            ),
            (
                "postgresql:///d",
                "postgresql:///d?host=/var/run/postgresql",
            ),
            ("postgresql://u:s%40%2F@h/d", "postgresql://u:***@h:5432/d"),
        ];
        for (text, display) in cases {
            assert_eq!(shown(text), display);
        }
        let Ok(Url(Kind::Postgres(server))) = Url::parse("postgresql://u:s%40%2F@h/d") else {
            panic!("no server");
        };
        assert_eq!(server.password.as_deref(), Some("s@/"));
    }

    #[test]
    fn an_error_never_repeats_what_may_be_a_password() {
        for text in [
            "",
            "mysql://u:secret@h/d",
            "sqlite:",
            "sqlite::memory:",
            "postgresql://u:sec/ret@h/d",
            "postgresql://u:?secret@h/d",
            "postgresql://u:secret",
            "postgresql://u:secret/d",
            "postgresql://u:%secret@h/d",
            "postgresql://u:secret@h:0/d",
            "postgresql://u:secret@h:65536/d",
            "postgresql://u:secret@h/",
            "postgresql://u:secret@[::1/d",
            "postgresql://h/d?secret",
            "postgresql://u:secret@h/d?sslmode=verify-full",
        ] {
            let error = Url::parse(text).expect_err(text);
            assert!(
                !error.contains("sec") && error.len() > 20,
                "{text}: {error}"
            );
        }
    }
}
