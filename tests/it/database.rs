//! The databases, asked as an operator asks them: with SQL.

use crate::postgres_server;
use crate::program::eventually;
use rusqlite::OpenFlags;
use rusqlite::types::ValueRef;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Both; most tests run on each.
pub(crate) const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A database of one test's own.
#[derive(Clone, Debug)]
pub(crate) enum Database {
    Sqlite(PathBuf),
    /// Its URL.
    Postgres(String),
}

/// A row of a result; every value as text.
pub(crate) type Row = Vec<Option<String>>;

impl Database {
    /// A new one: in `folder`, or in the server that all tests share.
    pub(crate) fn new(kind: Kind, folder: &Path) -> Database {
        match kind {
            Kind::Sqlite => Database::Sqlite(folder.join("alerts.db")),
            Kind::Postgres => Database::Postgres(postgres_server::shared().create_database()),
        }
    }

    /// The value of `--db`.
    pub(crate) fn url(&self) -> String {
        match self {
            Database::Sqlite(path) => format!("sqlite:{}", path.display()),
            Database::Postgres(url) => url.clone(),
        }
    }

    /// A column of the view `alerts` with an instant: ISO 8601 with microseconds, in UTC.
    pub(crate) fn instant(&self, column: &str) -> String {
        match self {
            Database::Sqlite(_) => column.to_owned(),
            Database::Postgres(_) => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
        }
    }

    /// Runs SQL that changes something.
    pub(crate) fn execute(&self, sql: &str) {
        match self {
            Database::Sqlite(path) => rusqlite::Connection::open(path)
                .and_then(|connection| connection.execute_batch(sql))
                .expect(sql),
            Database::Postgres(url) => postgres::Client::connect(url, postgres::NoTls)
                .and_then(|mut client| client.batch_execute(sql))
                .expect(sql),
        }
    }

    /// The columns of each row with `|` between them; NULL is `-`.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        let line = |row: &Row| {
            let cells: Vec<&str> = row
                .iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect();
            cells.join("|")
        };
        self.query(sql).iter().map(line).collect()
    }

    /// Nobody else can write to this SQLite database until the lock is dropped.
    pub(crate) fn locked(&self) -> rusqlite::Connection {
        let Database::Sqlite(path) = self else {
            panic!("asked for SQLite")
        };
        let lock = rusqlite::Connection::open(path).expect("the file is there");
        lock.busy_timeout(Duration::from_secs(30))
            .and_then(|()| lock.execute_batch("BEGIN IMMEDIATE"))
            .expect("the lock");
        lock
    }

    /// The rows of a query.
    pub(crate) fn try_query(&self, sql: &str) -> Result<Vec<Row>, String> {
        match self {
            Database::Sqlite(path) => query_sqlite(path, sql).map_err(|error| error.to_string()),
            Database::Postgres(url) => query_postgres(url, sql).map_err(postgres_error),
        }
    }

    /// The rows of a query that must succeed.
    pub(crate) fn query(&self, sql: &str) -> Vec<Row> {
        self.try_query(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one number that a query gives.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.try_number(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_number(&self, sql: &str) -> Result<i64, String> {
        let rows = self.try_query(sql)?;
        let cell = rows.first().and_then(|row| row.first()?.clone());
        let cell = cell.ok_or_else(|| String::from("no value"))?;
        cell.parse().map_err(|_| format!("{cell:?} is no number"))
    }

    /// Waits until a query gives `number`, or more: too many is for the test to see.
    pub(crate) fn reaches(&self, sql: &str, number: i64) {
        eventually(&format!("{sql} gives {number}"), || {
            match self.try_number(sql)? {
                seen if seen >= number => Ok(()),
                seen => Err(format!("it gives {seen}")),
            }
        });
    }

    /// Waits until so many alerts are stored.
    pub(crate) fn has_alerts(&self, count: usize) {
        let count = i64::try_from(count).expect("a small number");
        self.reaches("SELECT count(*) FROM event", count);
    }
}

fn query_sqlite(path: &Path, sql: &str) -> rusqlite::Result<Vec<Row>> {
    // Read-only: whoever asks too early must not make the file.
    let connection = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns)
            .map(|column| row.get_ref(column).map(text))
            .collect()
    })?;
    rows.collect()
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8(bytes.to_vec()).expect("UTF-8")),
        ValueRef::Blob(_) => panic!("the schema has no blobs"),
    }
}

/// The driver's own text says "db error" and no more.
fn postgres_error(error: postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

fn query_postgres(url: &str, sql: &str) -> Result<Vec<Row>, postgres::Error> {
    let mut client = postgres::Client::connect(url, postgres::NoTls)?;
    let messages = client.simple_query(sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows
        .map(|row| {
            (0..row.len())
                .map(|column| row.get(column).map(str::to_owned))
                .collect()
        })
        .collect())
}
