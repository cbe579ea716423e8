//! PostgreSQL: each batch is COPYed into all of its tables, or INSERTed if it is small, in one transaction.
//!
//! Locks, in the order in which a session takes them, so that no two wait for each other: the row in `flop_stream`,
//! then the row in `sensor`, both held until the batch is committed. New signatures are made before, in a transaction
//! of their own that holds one advisory lock and nothing else; so an id in the cache is always committed.

#![forbid(unsafe_code)]

mod batch;
mod binary;
mod catalogue;
mod client;
mod connect;
mod opening;
pub(super) mod probe;
#[cfg(feature = "null-store")]
pub(super) mod rendered;
mod signatures;
mod sqlstate;
mod tables;

use super::signatures::Limits;
use super::url::Server;
use super::{
    Batch, CheckError, EncodingNotice, End, Memory, OpenStream, Opening, Settings, Store,
    StoreError, Stored,
};
use crate::wire::Item;
use ::postgres::Statement;
use batch::{ADVANCE_STREAM, TAKE_CIDS};
use catalogue::{Catalogue, Unfit};
use client::{Client, Error};
use connect::{Connector, NoConnection};
use opening::open_stream;
use signatures::{COUNT_SIGNATURES, FIND_SIGNATURE};
use tables::Tables;

/// A PostgreSQL database.
pub(super) struct Postgres {
    server: Server,
    settings: Settings,
    connector: Connector,
    session: Option<Session>,
    memory: Memory,
    notice: EncodingNotice,
}

/// A connection and what was prepared on it.
struct Session {
    client: Client,
    statements: Statements,
    tables: Tables,
    message_limits: Limits,
}

/// Asked for each batch.
struct Statements {
    advance_stream: Statement,
    take_cids: Statement,
    find_signature: Statement,
    count_signatures: Statement,
}

/// Why something failed, before it is known what that means for the caller.
enum Failure {
    Server(Error),
    /// A value that its column cannot hold.
    Value(String),
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Server(error)
    }
}

impl Postgres {
    pub(super) fn new(server: Server, settings: Settings) -> Self {
        Postgres {
            connector: Connector::new(&server),
            server,
            settings,
            session: None,
            memory: Memory::default(),
            notice: EncodingNotice::default(),
        }
    }

    fn connected(&mut self) -> Result<(), CheckError> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| !session.client.is_closed())
        {
            return Ok(());
        }
        self.session = None;
        let client = self.connector.connect().map_err(|error| match error {
            NoConnection::Refused(error) => self.check_error("connect to", &error),
            NoConnection::Silence => CheckError::Away(format!(
                "cannot connect to {}: no answer within 10 s; is it a PostgreSQL server, and is it well?",
                self.server
            )),
            NoConnection::Runtime(error) => {
                CheckError::Away(format!("cannot begin to connect to {}: {error}", self.server))
            }
        })?;
        self.session = Some(
            Session::new(client, &self.settings).map_err(|unfit| match unfit {
                Unfit::Server(error) => self.check_error("prepare the tables in", &error),
                Unfit::Tables(text) => {
                    CheckError::Final(format!("cannot use {}: {text}", self.server))
                }
            })?,
        );
        Ok(())
    }

    fn check_error(&self, what: &str, error: &Error) -> CheckError {
        let text = self.text(what, error);
        let is_final = match error.as_db_error() {
            Some(error) => sqlstate::is_final(error.code().code()),
            None => error.to_string().starts_with("invalid configuration"),
        };
        if is_final {
            CheckError::Final(text)
        } else {
            CheckError::Away(text)
        }
    }

    fn is_not_connected(&self) -> StoreError {
        StoreError::Away(format!("{} is not connected", self.server))
    }

    /// What went wrong, for the one on call.
    fn text(&self, what: &str, error: &Error) -> String {
        format!("cannot {what} {}: {}", self.server, answer(error))
    }

    /// Sorts an error, and gives the connection up where that is due.
    fn sorted<T>(&mut self, what: &str, result: Result<T, Failure>) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(Failure::Store(error)) => error,
            Err(Failure::Value(text)) => {
                StoreError::Content(format!("cannot {what} {}: {text}", self.server))
            }
            Err(Failure::Server(error)) => {
                let text = self.text(what, &error);
                let lost = self
                    .session
                    .as_ref()
                    .is_none_or(|session| session.client.is_closed());
                if sqlstate::is_content(&error) && !lost {
                    StoreError::Content(text)
                } else {
                    StoreError::Away(text)
                }
            }
        };
        if matches!(error, StoreError::Away(_)) {
            self.session = None;
        }
        Err(error)
    }
}

impl Store for Postgres {
    fn check(&mut self) -> Result<(), CheckError> {
        self.connected()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        self.connected()?;
        let session = self.session.as_mut().expect("connected() made it");
        let opened = open_stream(&mut session.client, opening, &self.settings);
        // No alert is involved yet: whatever it is, it is the database's matter.
        let opened = match self.sorted("open a stream in", opened) {
            Err(StoreError::Content(text)) => return Err(StoreError::Away(text)),
            other => other?,
        };
        self.memory.stream_opened(&opened, &self.settings);
        self.notice
            .tell(opening.sensor, &opened, self.settings.encoding);
        Ok(opened.stream)
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let Some(session) = &mut self.session else {
            return Err(self.is_not_connected());
        };
        let written = session.write(&self.settings, &mut self.memory, stream, batch, End::Commit);
        self.sorted(
            &format!("store a batch of {} in", batch.items.len()),
            written,
        )
    }

    fn try_out(&mut self, stream: &OpenStream, item: &Item<'_>) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else {
            return Err(self.is_not_connected());
        };
        let batch = Batch::next(stream, item);
        let (settings, memory) = (&self.settings, &mut self.memory);
        let tried = session.write(settings, memory, stream, &batch, End::RollBack);
        self.sorted("try an alert out in", tried).map(|_| ())
    }
}

/// Longer answers are cut: a detail may repeat a whole row.
const ANSWER_CHARS_MAX: usize = 400;

/// The server's words, and what to do about them. What came from outside is escaped.
fn answer(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return error.to_string();
    };
    let said = match db.detail() {
        Some(detail) => format!("{} ({detail})", db.message()),
        None => db.message().to_owned(),
    };
    let mut text = String::new();
    for char in said.chars().take(ANSWER_CHARS_MAX) {
        if char.is_control() {
            text.extend(char.escape_default())
        } else {
            text.push(char)
        }
    }
    let code = db.code().code();
    let hint = sqlstate::hint(db);
    format!("{text} [{code}]{hint}")
}

impl Session {
    fn new(mut client: Client, settings: &Settings) -> Result<Self, Unfit> {
        let catalogue = Catalogue::complete(&mut client, settings)?;
        Ok(Session {
            tables: Tables::new(&catalogue, settings)?,
            message_limits: catalogue.message_limits(),
            statements: Statements {
                advance_stream: client.prepare(ADVANCE_STREAM)?,
                take_cids: client.prepare(TAKE_CIDS)?,
                find_signature: client.prepare(FIND_SIGNATURE)?,
                count_signatures: client.prepare(COUNT_SIGNATURES)?,
            },
            client,
        })
    }
}
