//! One mail to one mail server, by SMTP: plain, STARTTLS or TLS, with a login where one is configured.
//!
//! ```text
//! digest -> message: lettre writes it -> session: commands -> connection: deadlines, limits, tls -> mail server
//! ```
//!
//! The conversation is ours down to the socket. A library's waits per read, reads a line before it looks at its length,
//! and gives up on all recipients when the server refuses one of them; here a server can be an enemy, and what it must
//! not do is keep the alerts to itself.

#![forbid(unsafe_code)]

pub(crate) mod answer;
mod connection;
mod message;
mod session;
mod tls;

use super::digest::{Digest, clean};
use super::options::{self, Login, MailConfig};
use crate::error::Error;
use connection::{Connection, Failure};
use lettre::Address;
use session::{Credentials, Session};
use tls::Tls;

/// Letters of a server's answer that are shown.
const ANSWER_CHARS_MAX: usize = 300;

/// What delivers mail.
#[derive(Clone)]
pub(super) struct Smtp {
    config: MailConfig,
    tls: Option<Tls>,
    login: Option<Credentials>,
}

/// What came of a mail that the server took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Recipients whom the server refused, with its answer.
    pub refused: Vec<String>,
}

impl Smtp {
    /// Reads the files that it needs; connects nowhere.
    ///
    /// # Errors
    ///
    /// A file of certificates or the password's cannot be taken.
    pub(super) fn new(config: &MailConfig) -> Result<Smtp, Error> {
        let tls = match config.tls {
            options::Tls::Off => None,
            options::Tls::Starttls | options::Tls::Tls => {
                Some(Tls::new(&config.server, config.ca_file.as_deref())?)
            }
        };
        let login = match &config.login {
            None => None,
            Some(Login { user, file }) => Some(Credentials {
                user: user.clone(),
                password: crate::config::read_secret("mail password", file)?,
            }),
        };
        Ok(Smtp {
            config: config.clone(),
            tls,
            login,
        })
    }

    /// Connects, logs in, and leaves again.
    ///
    /// # Errors
    ///
    /// What the server or the system answered.
    pub(super) fn test(&self) -> Result<(), String> {
        self.begin()
            .map(Session::quit)
            .map_err(|failure| self.told(&failure))
    }

    /// Delivers a mail to as many of the recipients as the server takes.
    ///
    /// # Errors
    ///
    /// What the server or the system answered; nobody got the mail, unless the connection broke after its end.
    pub(super) fn deliver(&self, digest: &Digest) -> Result<Taken, String> {
        let mut session = self.begin().map_err(|failure| self.told(&failure))?;
        let result = self.converse(&mut session, digest);
        if !matches!(result, Err(Failure::Broken(_))) {
            session.quit(); // Taken or refused; a broken farewell changes nothing.
        }
        let taken = result.map_err(|failure| self.told(&failure))?;
        if taken.refused.len() == self.config.recipients.len() {
            let refused = taken.refused.join("; ");
            return Err(format!("all recipients are refused: {refused}"));
        }
        Ok(taken)
    }

    /// A server that is ready for a mail.
    fn begin(&self) -> Result<Session, Failure> {
        let config = &self.config;
        let mut connection = Connection::open(&config.server, config.port, config.timeout)?;
        let mut session = match (config.tls, &self.tls) {
            (options::Tls::Tls, Some(tls)) => {
                connection = connection.encrypt(tls)?;
                Session::begin(connection, &config.domain)?
            }
            (options::Tls::Starttls, Some(tls)) => {
                Session::begin(connection, &config.domain)?.starttls(tls, &config.domain)?
            }
            _ => Session::begin(connection, &config.domain)?,
        };
        if let Some(login) = &self.login {
            session.log_in(login)?;
        }
        Ok(session)
    }

    /// Offers the mail. Where all recipients are refused it is not sent.
    fn converse(&self, session: &mut Session, digest: &Digest) -> Result<Taken, Failure> {
        let takes_utf8 = session.offers("SMTPUTF8");
        let fits = |address: &&Address| takes_utf8 || is_ascii(address);
        let sender = &self.config.sender;
        if !fits(&sender) {
            return Err(Failure::Refused(no_utf8(sender)));
        }
        let (recipients, others): (Vec<_>, Vec<_>) = self.config.recipients.iter().partition(fits);
        let mut refused: Vec<String> = others.into_iter().map(no_utf8).collect();
        let utf8 = !is_ascii(sender) || !recipients.iter().all(|address| is_ascii(address));
        session.mail_from(sender.as_ref(), utf8)?;
        for recipient in &recipients {
            match session.recipient((*recipient).as_ref()) {
                Ok(()) => {}
                Err(failure @ Failure::Refused(_)) => {
                    refused.push(format!("{recipient}: {}", self.told(&failure)));
                }
                Err(failure) => return Err(failure),
            }
        }
        if refused.len() < self.config.recipients.len() {
            let mail = message::write(&self.config, &recipients, digest);
            session.data(&mail.map_err(Failure::Refused)?)?;
        }
        Ok(Taken { refused })
    }

    fn told(&self, failure: &Failure) -> String {
        let (Failure::Refused(text) | Failure::Broken(text)) = failure;
        let (server, port) = (&self.config.server, self.config.port);
        format!(
            "mail server {server}:{port}: {}",
            clean(text, ANSWER_CHARS_MAX)
        )
    }
}

fn is_ascii(address: &Address) -> bool {
    AsRef::<str>::as_ref(address).is_ascii()
}

fn no_utf8(address: &Address) -> String {
    format!("{address}: the server does not offer SMTPUTF8, which this address needs")
}
