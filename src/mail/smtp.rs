//! One mail to one mail server, by SMTP: plain, STARTTLS or TLS, with a login where one is configured.
//!
//! The conversation is ours, its parts are lettre's: lettre's own `send` gives up on all recipients when the server
//! refuses one of them.

#![forbid(unsafe_code)]

use super::digest::{Digest, clean};
use super::options::{Login, MailConfig, Tls};
use crate::error::Error;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, SmtpConnection, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Letters of a server's answer that are shown.
const ANSWER_CHARS_MAX: usize = 300;
/// Ways to log in that each server knows.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// What delivers mail.
#[derive(Clone)]
pub(super) struct Smtp {
    config: MailConfig,
    tls: Option<TlsParameters>,
    login: Option<Credentials>,
}

/// What came of a mail that the server took.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Recipients whom the server refused, with its answer.
    pub refused: Vec<String>,
}

/// RFC 3834: no vacation program shall answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn StdError + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Smtp {
    /// Reads the files that it needs; connects nowhere.
    ///
    /// # Errors
    ///
    /// A file of certificates or the password's cannot be taken.
    pub(super) fn new(config: &MailConfig) -> Result<Smtp, Error> {
        let tls = match config.tls {
            Tls::Off => None,
            Tls::Starttls | Tls::Tls => {
                Some(tls_parameters(&config.server, config.ca_file.as_deref())?)
            }
        };
        let login = match &config.login {
            None => None,
            Some(Login { user, file }) => {
                let password = crate::config::read_secret("mail password", file)?;
                Some(Credentials::new(user.clone(), password))
            }
        };
        Ok(Smtp {
            config: config.clone(),
            tls,
            login,
        })
    }

    /// The server, as messages name it.
    pub(super) fn server(&self) -> String {
        format!("mail server {}:{}", self.config.server, self.config.port)
    }

    /// Connects, logs in, and leaves again.
    ///
    /// # Errors
    ///
    /// What the server or the system answered.
    pub(super) fn test(&self) -> Result<(), String> {
        let mut connection = self.connect()?;
        let _ = connection.quit(); // All that was to be tested is done.
        Ok(())
    }

    /// Delivers a mail to as many of the recipients as the server takes.
    ///
    /// # Errors
    ///
    /// What the server or the system answered; nobody got the mail, unless the connection broke after its end.
    pub(super) fn deliver(&self, digest: &Digest) -> Result<Taken, String> {
        let mail = self.message(digest)?;
        let mut connection = self.connect()?;
        let result = self.converse(&mut connection, &mail);
        match result {
            Ok(_) => drop(connection.quit()), // The mail is taken; a broken farewell changes nothing.
            Err(_) => connection.abort(),
        }
        result
    }

    fn connect(&self) -> Result<SmtpConnection, String> {
        let config = &self.config;
        let failed = |error: lettre::transport::smtp::Error| self.answer(&error);
        let hello = ClientId::Domain(config.domain.clone());
        let from_start = self.tls.as_ref().filter(|_| config.tls == Tls::Tls);
        let address = (config.server.as_str(), config.port);
        let timeout = Some(config.timeout);
        let mut connection =
            SmtpConnection::connect(address, timeout, &hello, from_start, None).map_err(failed)?;
        if let (Tls::Starttls, Some(tls)) = (config.tls, &self.tls) {
            connection.starttls(tls, &hello).map_err(failed)?;
        }
        if let Some(login) = &self.login {
            connection.auth(&MECHANISMS, login).map_err(failed)?;
        }
        Ok(connection)
    }

    fn converse(&self, connection: &mut SmtpConnection, mail: &[u8]) -> Result<Taken, String> {
        let failed = |error: lettre::transport::smtp::Error| self.answer(&error);
        let sender = Mail::new(Some(self.config.sender.clone()), Vec::new());
        connection.command(sender).map_err(failed)?;
        let mut refused = Vec::new();
        for recipient in &self.config.recipients {
            let command = Rcpt::new(recipient.clone(), Vec::new());
            match connection.command(command) {
                Ok(_) => {}
                Err(error) if error.status().is_some() => {
                    refused.push(format!("{recipient}: {}", self.answer(&error)));
                }
                Err(error) => return Err(self.answer(&error)),
            }
        }
        if refused.len() == self.config.recipients.len() {
            return Err(format!(
                "all recipients are refused: {}",
                refused.join("; ")
            ));
        }
        connection.command(Data).map_err(failed)?;
        connection.message(mail).map_err(failed)?;
        Ok(Taken { refused })
    }

    fn message(&self, digest: &Digest) -> Result<Vec<u8>, String> {
        let config = &self.config;
        let mut mail = Message::builder()
            .from(Mailbox::new(None, config.sender.clone()))
            .subject(digest.subject.as_str())
            .message_id(Some(message_id(&config.domain)))
            .date_now()
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for recipient in &config.recipients {
            mail = mail.to(Mailbox::new(None, recipient.clone()));
        }
        let mail = mail.body(digest.body.clone());
        Ok(mail
            .map_err(|error| format!("cannot write the mail: {error}"))?
            .formatted())
    }

    fn answer(&self, error: &lettre::transport::smtp::Error) -> String {
        let text = match (error.status(), error.source()) {
            (Some(code), Some(source)) => format!("answered {code} {source}"),
            (Some(code), None) => format!("answered {code}"),
            (None, Some(source)) if timed_out(source) => {
                format!("no answer within {} s", self.config.timeout.as_secs())
            }
            (None, Some(source)) => source.to_string(),
            (None, None) => error.to_string(),
        };
        format!("{}: {}", self.server(), clean(&text, ANSWER_CHARS_MAX))
    }
}

/// With a file of certificates these are trusted, and the public ones are not.
fn tls_parameters(server: &str, ca_file: Option<&Path>) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(server.to_owned());
    if let Some(path) = ca_file {
        let tried = format!("cannot take certificates from {}", path.display());
        let pem = std::fs::read(path).map_err(|error| Error::start(&tried, error, ""))?;
        let begin = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(begin.len()).any(|window| window == begin) {
            return Err(Error::start(
                &tried,
                "no certificate in PEM form is in it",
                "",
            ));
        }
        let certificates =
            Certificate::from_pem(&pem).map_err(|error| Error::start(&tried, error, ""))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificates);
    }
    builder
        .build_rustls()
        .map_err(|error| Error::start("cannot prepare TLS", error, ""))
}

/// A read that ran into its timeout is `WouldBlock` to the system.
fn timed_out(error: &(dyn StdError + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let here = matches!(
        kind,
        Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    );
    here || error.source().is_some_and(timed_out)
}

/// Unlike any other mail's: time, process, number.
fn message_id(domain: &str) -> String {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    format!(
        "<{}.{}.{number}@{domain}>",
        now.as_micros(),
        std::process::id()
    )
}
