//! A session with the server in which each answer has a deadline.
//!
//! A server that is stopped, or waits for a disk that hangs, keeps its connections and says nothing: keepalives are
//! answered by its kernel, and its own timeouts do not run. So who waits for an answer waits for `ANSWER_DEADLINE`; then
//! the session is given up, whatever has become of its transaction. The client of the `postgres` crate waits for ever;
//! this is what we need of it, with its types, on `tokio_postgres`, on which it is built too.

#![forbid(unsafe_code)]

use ::postgres::error::DbError;
use ::postgres::types::ToSql;
use ::postgres::{Row, Statement, ToStatement};
use bytes::Bytes;
use futures_util::SinkExt;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::CopyInSink;

/// For one answer, or for the next part of a COPY to be taken. A batch takes some 30 ms; the server's own limit for
/// locks is told first.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// For the server to see that we leave.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug)]
pub(in super::super) enum Error {
    /// The server's, or the connection's.
    Told(tokio_postgres::Error),
    /// Nothing came within the deadline. The session is lost.
    Silence,
}

impl Error {
    /// What the server said, if it did.
    pub(super) fn as_db_error(&self) -> Option<&DbError> {
        match self {
            Error::Told(error) => error.as_db_error(),
            Error::Silence => None,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        Error::Told(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Told(error) => {
                error.fmt(f)?;
                // Of the network's errors, the crate's own words are the lesser part.
                match std::error::Error::source(error).filter(|_| error.as_db_error().is_none()) {
                    Some(cause) => write!(f, ": {cause}"),
                    None => Ok(()),
                }
            }
            Error::Silence => write!(
                f,
                "it has not answered for {} s; is it stopped, or does its disk hang?",
                ANSWER_DEADLINE.as_secs()
            ),
        }
    }
}

/// A session.
pub(super) struct Client {
    runtime: Runtime,
    /// `None` while it is closed.
    session: Option<tokio_postgres::Client>,
    /// Carries what the session says, whenever somebody waits for an answer.
    carrier: Option<JoinHandle<()>>,
    /// An answer did not come: the next one would be to the wrong question.
    is_lost: Cell<bool>,
}

impl Client {
    /// `carrier` was spawned on `runtime`.
    pub(super) fn new(
        runtime: Runtime,
        session: tokio_postgres::Client,
        carrier: JoinHandle<()>,
    ) -> Client {
        Client {
            runtime,
            session: Some(session),
            carrier: Some(carrier),
            is_lost: Cell::new(false),
        }
    }

    /// Whether nothing can come of it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_lost.get() || self.session().is_closed()
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        self.wait(self.session().prepare(sql))
    }

    pub(super) fn execute<T>(
        &self,
        statement: &T,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.wait(self.session().execute(statement, values))
    }

    pub(super) fn query<T>(
        &self,
        statement: &T,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.wait(self.session().query(statement, values))
    }

    pub(super) fn query_one<T>(
        &self,
        statement: &T,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.wait(self.session().query_one(statement, values))
    }

    pub(super) fn query_opt<T>(
        &self,
        statement: &T,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error>
    where
        T: ?Sized + ToStatement,
    {
        self.wait(self.session().query_opt(statement, values))
    }

    pub(super) fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.wait(self.session().batch_execute(sql))
    }

    /// The same for what may take hours, and says nothing meanwhile.
    pub(super) fn batch_execute_slowly(&self, sql: &str) -> Result<(), Error> {
        let done = self.runtime.block_on(self.session().batch_execute(sql));
        done.map_err(Error::Told)
    }

    /// Executes all of them in one round trip, in this order. Only in a transaction, whose COMMIT waits for this: of
    /// those behind one that fails, what fails on our side already does not keep the others from being done.
    ///
    /// # Errors
    ///
    /// The first one's that failed.
    pub(super) fn execute_all<V: ToSql + Sync>(
        &self,
        all: &[(Statement, Vec<V>)],
    ) -> Result<(), Error> {
        let session = self.session();
        let mut questions = Vec::with_capacity(all.len());
        for (statement, values) in all {
            questions.push(Box::pin(session.execute_raw(statement, values)));
        }
        let answers = self.runtime.block_on(async { asked(&mut questions).await });
        // Each answer has its deadline, as that of a COPY has: a trigger may take a second for a row.
        for (question, answer) in questions.into_iter().zip(answers) {
            match answer {
                Some(answer) => answer.map_err(Error::Told)?,
                None => self.wait(question)?,
            };
        }
        Ok(())
    }

    /// COPY ... FROM STDIN.
    pub(super) fn copy_in(&self, statement: &Statement) -> Result<CopyIn<'_>, Error> {
        let sink = self.wait(self.session().copy_in(statement))?;
        Ok(CopyIn {
            client: self,
            sink: Box::pin(sink),
        })
    }

    /// Begins a transaction, which is rolled back unless it is committed.
    pub(super) fn transaction(&self) -> Result<Transaction<'_>, Error> {
        self.batch_execute("BEGIN")?;
        Ok(Transaction {
            client: self,
            is_open: true,
        })
    }

    /// Asks several questions in one round trip.
    pub(super) fn ask<T>(
        &self,
        questions: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Error> {
        self.wait(questions(self.session()))
    }

    fn session(&self) -> &tokio_postgres::Client {
        self.session.as_ref().expect("only `drop` takes it")
    }

    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        if self.is_lost.get() {
            return Err(Error::Silence);
        }
        // The deadline's timer belongs to the runtime.
        let answered = self
            .runtime
            .block_on(async { timeout(ANSWER_DEADLINE, answer).await });
        match answered {
            Ok(answer) => answer.map_err(Error::Told),
            Err(_) => {
                self.is_lost.set(true);
                Err(Error::Silence)
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.session.take()); // The carrier says goodbye and ends.
        if let Some(carrier) = self.carrier.take().filter(|_| !self.is_lost.get()) {
            let _ = self
                .runtime
                .block_on(async { timeout(CLOSE_DEADLINE, carrier).await });
        }
    }
}

/// Asks these questions in this order, none waiting for another's answer; returns what is answered already.
async fn asked<F: Future + Unpin>(questions: &mut [F]) -> Vec<Option<F::Output>> {
    poll_fn(|context| {
        // A question is asked when it is polled first.
        let ask = |question: &mut F| match Pin::new(question).poll(context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        };
        Poll::Ready(questions.iter_mut().map(ask).collect())
    })
    .await
}

/// A COPY that takes bytes. Dropped before its end, it is an error for the server.
pub(super) struct CopyIn<'c> {
    client: &'c Client,
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

impl CopyIn<'_> {
    /// The server has them to do while the next are made.
    pub(super) fn send(&mut self, bytes: Bytes) -> Result<(), Error> {
        match self.client.wait(self.sink.send(bytes)) {
            // Only the end has the reason.
            Err(Error::Told(error)) => match self.client.wait(self.sink.as_mut().finish()) {
                Err(reason) => Err(reason),
                Ok(_) => Err(Error::Told(error)),
            },
            sent => sent,
        }
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.client.wait(self.sink.as_mut().finish()).map(|_| ())
    }
}

/// A transaction; what is asked of the client in it is in it.
pub(super) struct Transaction<'c> {
    client: &'c Client,
    is_open: bool,
}

impl Transaction<'_> {
    pub(super) fn commit(mut self) -> Result<(), Error> {
        self.is_open = false;
        self.client.batch_execute("COMMIT")
    }

    pub(super) fn rollback(mut self) -> Result<(), Error> {
        self.is_open = false;
        self.client.batch_execute("ROLLBACK")
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open && !self.client.is_closed() {
            // An error: the connection is gone, and the transaction with it.
            let _ = self.client.batch_execute("ROLLBACK");
        }
    }
}
