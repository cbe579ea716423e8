//! SQLite: one file, one transaction at a time, no server.
//!
//! Several workers write to the same file. Each transaction begins as `IMMEDIATE`, so it waits for its turn before it
//! has read anything, and never fails half-way for another writer.

#![forbid(unsafe_code)]

use super::rows::{Table, Value, clamp, push_hex};
use super::signatures::{Cache, Limits, Signature};
use super::{
    Batch, CheckError, OpenStream, Opening, Store, StoreError, Stored, gap_reason, parts, rows_of,
};
use crate::alert::SensorName;
use crate::calendar::iso8601;
use crate::clock::now_us;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
    params_from_iter,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SCHEMA: &str = include_str!("schema/sqlite.sql");
const VIEW: &str = include_str!("schema/alerts_sqlite.sql");

/// How often a writer asks whether it is its turn. SQLite's own handler sleeps up to 100 ms at a time, so that of
/// eight busy writers some starve.
const TURN_POLL: Duration = Duration::from_millis(2);
/// A transaction of 1,000 alerts takes some 15 ms; who waits longer than this waits for something that hangs.
const TURN_POLLS_MAX: i32 = 5_000;

/// An SQLite database in a file.
pub(super) struct Sqlite {
    path: PathBuf,
    open: Option<Open>,
    signatures: Cache,
    /// `INSERT` by `Table as usize`.
    inserts: Vec<String>,
}

struct Open {
    connection: Connection,
    file: FileId,
}

/// Device and inode.
type FileId = (u64, u64);

impl Sqlite {
    pub(super) fn new(path: PathBuf) -> Self {
        Sqlite {
            path,
            open: None,
            signatures: Cache::default(),
            inserts: Table::ALL.map(insert).to_vec(),
        }
    }

    /// What went wrong, for the one on call.
    fn text(&self, what: &str, error: &rusqlite::Error) -> String {
        let hint = match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) => {
                "; does its folder exist, and may this user write there?"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                "; may this user write the file and its folder?"
            }
            Some(ErrorCode::NotADatabase) => "; the file is something else",
            Some(ErrorCode::DiskFull) => "; is its file system full?",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "; another program has kept it locked for more than 10 s"
            }
            _ => "",
        };
        format!(
            "cannot {what} sqlite:{}: {error}{hint}",
            self.path.display()
        )
    }

    fn connected(&mut self) -> Result<(), CheckError> {
        if let Some(open) = &self.open
            && file_id(&self.path) == Some(open.file)
        {
            return Ok(());
        }
        self.open = None;
        let connection = connect(&self.path).map_err(|error| {
            let text = self.text("open", &error);
            match error.sqlite_error_code() {
                Some(
                    ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::NotADatabase
                    | ErrorCode::Unknown,
                ) => CheckError::Final(text),
                _ => CheckError::Away(text),
            }
        })?;
        let file = file_id(&self.path).ok_or_else(|| {
            CheckError::Away(format!(
                "sqlite:{} vanished while it was opened",
                self.path.display()
            ))
        })?;
        self.open = Some(Open { connection, file });
        Ok(())
    }

    /// The connection, if it still leads to the file with this name: what goes into a deleted one is lost.
    fn live(&mut self) -> Result<&mut Connection, StoreError> {
        match &mut self.open {
            Some(open) if file_id(&self.path) == Some(open.file) => Ok(&mut open.connection),
            Some(_) => Err(StoreError::Away(format!(
                "sqlite:{} was moved or removed",
                self.path.display()
            ))),
            None => Err(StoreError::Away(format!(
                "sqlite:{} is not open",
                self.path.display()
            ))),
        }
    }

    /// Sorts an error, and gives the connection up where that is due.
    fn sorted<T>(&mut self, what: &str, result: Result<T, Failure>) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(Failure::Store(error)) => error,
            Err(Failure::Sqlite(error)) => {
                let text = self.text(what, &error);
                if is_content(&error) {
                    StoreError::Content(text)
                } else {
                    StoreError::Away(text)
                }
            }
        };
        if matches!(error, StoreError::Away(_)) {
            self.open = None;
        }
        Err(error)
    }

    fn try_write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, Failure> {
        let mut cache = std::mem::take(&mut self.signatures);
        let inserts = std::mem::take(&mut self.inserts);
        let result = self
            .live()
            .map_err(Failure::Store)
            .and_then(|connection| write(connection, &mut cache, &inserts, stream, batch));
        (self.signatures, self.inserts) = (cache, inserts);
        result
    }
}

impl Store for Sqlite {
    fn check(&mut self) -> Result<(), CheckError> {
        self.connected()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        self.connected()?;
        self.signatures.clear();
        let opened = self
            .live()
            .map_err(Failure::Store)
            .and_then(|connection| open_stream(connection, opening));
        self.sorted("open a stream in", opened)
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let written = self.try_write(stream, batch);
        self.sorted(
            &format!("store a batch of {} in", batch.items.len()),
            written,
        )
    }
}

enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

fn is_content(error: &rusqlite::Error) -> bool {
    // A key that is there already is not the alert's fault: somebody else gives cids to this sensor, and the stream,
    // opened again, goes on behind them.
    const KEYS: [i32; 2] = [
        rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
        rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE,
    ];
    match error {
        rusqlite::Error::SqliteFailure(code, _) => {
            matches!(
                code.code,
                ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch
            ) && !KEYS.contains(&code.extended_code)
        }
        _ => false,
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path)
        .ok()
        .map(|file| (file.dev(), file.ino()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_turn))?;
    set_up(&connection)?;
    if !is_complete(&connection)? {
        create(&mut connection)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn wait_for_turn(polls: i32) -> bool {
    std::thread::sleep(TURN_POLL);
    polls < TURN_POLLS_MAX
}

/// The figures are measured: with the default of 1,000 pages between checkpoints and 2 MB of cache the rate falls to
/// two thirds once there are some 200,000 alerts. A page is 4 KiB, so the log stays at 64 MB.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    // The change to WAL needs the file alone, and does not ask the busy handler.
    let mut polls = 0;
    let mode: String = loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error) if is_busy(&error) && wait_for_turn(polls) => polls += 1,
            other => break other?,
        }
    };
    if !mode.eq_ignore_ascii_case("wal") {
        let text = format!(
            "its journal mode stays {mode:?} instead of WAL; is it on a network file system?"
        );
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(text),
        ));
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 16000;
         PRAGMA journal_size_limit = 134217728;
         PRAGMA cache_size = -65536;",
    )
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn has(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE",
        )?
        .exists([table])
}

/// The text of the view, as SQLite keeps it.
fn view(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT sql FROM sqlite_master WHERE name = 'alerts'",
            [],
            |row| row.get(0),
        )
        .optional()
}

fn is_complete(connection: &Connection) -> rusqlite::Result<bool> {
    for (table, _) in parts(SCHEMA) {
        if !has(connection, table)? {
            return Ok(false);
        }
    }
    Ok(view(connection)?.as_deref() == Some(VIEW.trim_end()))
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (table, sql) in parts(SCHEMA) {
        if !has(&transaction, table)? {
            transaction.execute_batch(sql)?;
        }
    }
    match view(&transaction)? {
        Some(sql) if sql == VIEW.trim_end() => {}
        Some(sql) if !sql.contains("-- by flop") => {
            let text = "it has a table or view `alerts` which is not ours; rename it".into();
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(text),
            ));
        }
        old => {
            if old.is_some() {
                transaction.execute_batch("DROP VIEW alerts")?;
            }
            transaction.execute_batch(VIEW)?;
        }
    }
    transaction.commit()
}

fn open_stream(connection: &mut Connection, opening: &Opening<'_>) -> Result<OpenStream, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sid = sensor_row(&transaction, opening.sensor)?;
    let now = iso8601(now_us());
    let name = opening.stream.to_string();
    let known: Option<(i64, i64, String)> = transaction
        .query_row(
            "SELECT last_seq, epoch, changed FROM flop_stream WHERE sid = ?1 AND stream = ?2",
            params![sid, name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    if let Some((_, epoch, _)) = known {
        opening.check(epoch).map_err(Failure::Store)?;
    }
    let forgotten = clamp(opening.forgotten);
    let (epoch, last_seq): (i64, i64) = transaction.query_row(
        "INSERT INTO flop_stream (sid, stream, last_seq, epoch, changed) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (sid, stream)
         DO UPDATE SET epoch = epoch + 1, last_seq = max(last_seq, excluded.last_seq)
         RETURNING epoch, last_seq",
        params![sid, name, forgotten, now],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if let Some((before, _, changed)) = known.filter(|(before, ..)| *before < forgotten) {
        let count = forgotten - before;
        transaction.execute(
            "INSERT OR IGNORE INTO flop_loss (sid, stream, seq, from_time, to_time, reason, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![sid, name, forgotten, changed, now, gap_reason(count), count],
        )?;
    }
    transaction.commit()?;
    let last_seq = u64::try_from(last_seq).unwrap_or(0);
    Ok(OpenStream {
        sid,
        id: opening.stream,
        epoch,
        last_seq,
    })
}

/// Finds or makes the sensor's row, and moves its `last_cid` behind all cids that are in use.
fn sensor_row(transaction: &Transaction<'_>, sensor: &SensorName) -> rusqlite::Result<i64> {
    let found = transaction
        .query_row(
            "SELECT sid FROM sensor
             WHERE hostname = ?1 AND coalesce(interface, '') = ?2 AND coalesce(encoding, 0) = 0
             ORDER BY coalesce(filter, '') <> '', detail IS NOT 1, sid LIMIT 1",
            params![sensor.name, sensor.interface],
            |row| row.get(0),
        )
        .optional()?;
    let sid: i64 = match found {
        Some(sid) => sid,
        None => transaction.query_row(
            "INSERT INTO sensor (hostname, interface, filter, detail, encoding, last_cid)
             VALUES (?1, nullif(?2, ''), NULL, 1, 0, 0) RETURNING sid",
            params![sensor.name, sensor.interface],
            |row| row.get(0),
        )?,
    };
    for table in Table::with_cid().map(Table::name) {
        transaction.execute(
            &format!(
                "UPDATE sensor SET last_cid = (SELECT max(cid) FROM {table} WHERE sid = ?1)
                 WHERE sid = ?1 AND coalesce(last_cid, 0) < (SELECT max(cid) FROM {table} WHERE sid = ?1)"
            ),
            [sid],
        )?;
    }
    Ok(sid)
}

fn write(
    connection: &mut Connection,
    cache: &mut Cache,
    inserts: &[String],
    stream: &OpenStream,
    batch: &Batch<'_>,
) -> Result<Stored, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    advance_stream(&transaction, stream, batch)?;
    let alerts = batch.alerts().count() as i64;
    let last_cid: i64 = transaction
        .prepare_cached("UPDATE sensor SET last_cid = coalesce(last_cid, 0) + ?2 WHERE sid = ?1 RETURNING last_cid")?
        .query_row([stream.sid, alerts], |row| row.get(0))?;
    let stored = Stored::up_to(last_cid, alerts);
    let mut added = Vec::new();
    let signatures = signature_ids(&transaction, cache, batch, &mut added)?;
    let rows = rows_of(stream, batch, stored.first_cid, &signatures);
    for table in Table::ALL {
        let rows = rows.of(table);
        if rows.len() > 0 {
            let mut statement = transaction.prepare_cached(&inserts[table as usize])?;
            for row in rows {
                statement.execute(params_from_iter(row))?;
            }
        }
    }
    transaction.commit()?;
    for (signature, id) in added {
        cache.put(signature, id);
    }
    Ok(stored)
}

/// Moves `last_seq` on, if this worker is still the one which may.
fn advance_stream(
    transaction: &Transaction<'_>,
    stream: &OpenStream,
    batch: &Batch<'_>,
) -> Result<(), Failure> {
    let moved = transaction
        .prepare_cached(
            "UPDATE flop_stream SET last_seq = ?5, changed = ?6
             WHERE sid = ?1 AND stream = ?2 AND epoch = ?3 AND last_seq = ?4",
        )?
        .execute(params![
            stream.sid,
            stream.id.to_string(),
            stream.epoch,
            clamp(batch.after_seq),
            clamp(batch.last_seq()),
            iso8601(now_us()),
        ])?;
    match moved {
        1 => Ok(()),
        _ => Err(Failure::Store(super::fenced(stream, batch))),
    }
}

fn signature_ids(
    transaction: &Transaction<'_>,
    cache: &mut Cache,
    batch: &Batch<'_>,
    added: &mut Vec<(Signature<'static>, i64)>,
) -> rusqlite::Result<Vec<i64>> {
    let mut fresh = std::collections::HashMap::new();
    let mut ids = Vec::with_capacity(batch.items.len());
    for alert in batch.alerts() {
        let signature = Signature::of(alert, Limits::default());
        let known = cache
            .get(&signature)
            .or_else(|| fresh.get(&signature).copied());
        let id = match known {
            Some(id) => id,
            None => {
                let id = signature_row(transaction, &signature)?;
                fresh.insert(signature.clone(), id);
                added.push((signature.into_owned(), id));
                id
            }
        };
        ids.push(id);
    }
    Ok(ids)
}

/// Finds or makes the signature's row.
fn signature_row(transaction: &Transaction<'_>, wanted: &Signature<'_>) -> rusqlite::Result<i64> {
    let found = transaction
        .prepare_cached(
            "SELECT sig_id FROM signature
             WHERE sig_name = ?1 AND sig_sid = ?2 AND coalesce(sig_gid, 1) = ?3 AND coalesce(sig_rev, 0) = ?4
               AND coalesce(sig_priority, 0) = ?5
               AND (?6 = '' OR sig_class_id IN (SELECT sig_class_id FROM sig_class WHERE sig_class_name = ?6))
             ORDER BY sig_id LIMIT 1",
        )?
        .query_row(
            params![wanted.message, wanted.sid, wanted.gid, wanted.rev, wanted.priority, wanted.class],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let class = if wanted.class.is_empty() {
        0
    } else {
        class_row(transaction, &wanted.class)?
    };
    transaction
        .prepare_cached(
            "INSERT INTO signature (sig_name, sig_class_id, sig_priority, sig_rev, sig_sid, sig_gid)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING sig_id",
        )?
        .query_row(
            params![wanted.message, class, wanted.priority, wanted.rev, wanted.sid, wanted.gid],
            |row| row.get(0),
        )
}

fn class_row(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<i64> {
    let found: Option<i64> = transaction
        .prepare_cached("SELECT min(sig_class_id) FROM sig_class WHERE sig_class_name = ?1")?
        .query_row([name], |row| row.get(0))?;
    match found {
        Some(id) => Ok(id),
        None => transaction
            .prepare_cached(
                "INSERT INTO sig_class (sig_class_name) VALUES (?1) RETURNING sig_class_id",
            )?
            .query_row([name], |row| row.get(0)),
    }
}

fn insert(table: Table) -> String {
    let columns = table.columns();
    let places = vec!["?"; columns.len()].join(", ");
    format!(
        "INSERT INTO {} ({}) VALUES ({places})",
        table.name(),
        columns.join(", ")
    )
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Hex(bytes) => {
                let mut hex = Vec::new();
                push_hex(&mut hex, bytes);
                let hex = String::from_utf8(hex).expect("hex digits are ASCII");
                ToSqlOutput::Owned(hex.into())
            }
            Value::Time(us) => ToSqlOutput::Owned(iso8601(*us).into()),
        })
    }
}
