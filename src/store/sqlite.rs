//! SQLite: one file, one transaction at a time, no server.
//!
//! Several workers write to the same file. Each transaction begins as `IMMEDIATE`, so it waits for its turn before it
//! has read anything, and never fails half-way for another writer.

#![forbid(unsafe_code)]

mod layout;

use super::references::{Event, LOOK_BACK_ALERTS, Resolved};
use super::rows::{Rows, Table, Value, clamp};
use super::signatures::{Cache, Limits, Signature, distinct};
use super::{
    Batch, CheckError, EncodingNotice, End, Given, Memory, OpenStream, Opened, Opening, Settings,
    Store, StoreError, Stored, encoding_of, gap_reason,
};
use crate::calendar::{iso8601, iso8601_at};
use crate::clock::now_us;
use crate::wire::Item;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
    params_from_iter,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a writer asks whether it is its turn. SQLite's own handler sleeps up to 100 ms at a time, so that of
/// eight busy writers some starve.
const TURN_POLL: Duration = Duration::from_millis(2);
/// A transaction of 1,000 alerts takes some 15 ms; who waits longer than this waits for something that hangs.
const TURN_POLLS_MAX: i32 = 5_000;

/// An SQLite database in a file.
pub(super) struct Sqlite {
    path: PathBuf,
    settings: Settings,
    open: Option<Open>,
    memory: Memory,
    notice: EncodingNotice,
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
    pub(super) fn new(path: PathBuf, settings: Settings) -> Self {
        Sqlite {
            path,
            open: None,
            memory: Memory::default(),
            notice: EncodingNotice::default(),
            inserts: Table::ALL.map(|table| insert(table, &settings)).to_vec(),
            settings,
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
            Some(ErrorCode::NotADatabase) => "; it is damaged, or something else",
            Some(ErrorCode::DatabaseCorrupt) => {
                "; the file is damaged: stop servsock, copy it, then put a backup in its place or what `sqlite3 FILE .dump` \
                 can read of it (README.debug has the commands)"
            }
            Some(ErrorCode::DiskFull) => "; is its file system full?",
            Some(ErrorCode::SystemIoFailure) => {
                "; is its file system full, or its disk failing? the kernel's log may tell"
            }
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
        let connection = connect(&self.path, &self.settings).map_err(|error| {
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

    fn try_write(
        &mut self,
        stream: &OpenStream,
        batch: &Batch<'_>,
        end: End,
    ) -> Result<Stored, Failure> {
        let connection = live(&mut self.open, &self.path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let writing = Writing {
            transaction,
            settings: &self.settings,
            inserts: &self.inserts,
            stream,
            batch,
        };
        writing.store(&mut self.memory, end)
    }
}

impl Store for Sqlite {
    fn check(&mut self) -> Result<(), CheckError> {
        self.connected()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        self.connected()?;
        let opened = live(&mut self.open, &self.path)
            .and_then(|connection| open_stream(connection, opening, &self.settings));
        let opened = self.sorted("open a stream in", opened)?;
        self.memory.stream_opened(&opened, &self.settings);
        self.notice
            .tell(opening.sensor, &opened, self.settings.encoding);
        Ok(opened.stream)
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let written = self.try_write(stream, batch, End::Commit);
        self.sorted(
            &format!("store a batch of {} in", batch.items.len()),
            written,
        )
    }

    fn try_out(&mut self, stream: &OpenStream, item: &Item<'_>) -> Result<(), StoreError> {
        let tried = self.try_write(stream, &Batch::next(stream, item), End::RollBack);
        self.sorted("try an alert out in", tried).map(|_| ())
    }
}

/// The connection, if it still leads to the file with this name: what goes into a deleted one is lost.
fn live<'o>(open: &'o mut Option<Open>, path: &Path) -> Result<&'o mut Connection, Failure> {
    let away = match open {
        Some(open) if file_id(path) == Some(open.file) => return Ok(&mut open.connection),
        Some(_) => "was moved or removed",
        None => "is not open",
    };
    Err(Failure::Store(StoreError::Away(format!(
        "sqlite:{} {away}",
        path.display()
    ))))
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

fn connect(path: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_turn))?;
    set_up(&connection)?;
    layout::complete(&mut connection, settings)?;
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

fn open_stream(
    connection: &mut Connection,
    opening: &Opening<'_>,
    settings: &Settings,
) -> Result<Opened, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sid = sensor_row(&transaction, opening, settings)?;
    let encoding = settle_encoding(&transaction, sid, settings)?;
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
    let is_as_left = opening.has_all(known.as_ref().map(|(last_seq, ..)| *last_seq));
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
    Ok(Opened {
        stream: OpenStream {
            sid,
            id: opening.stream,
            epoch,
            last_seq,
        },
        is_as_left,
        encoding,
    })
}

/// Finds or makes the sensor's row, and moves its `last_cid` behind all cids that are in use. The row that has the
/// stream already is the first choice, whatever the settings say by now: in another one the stream would be unknown, and
/// an alert could be stored twice.
fn sensor_row(
    transaction: &Transaction<'_>,
    opening: &Opening<'_>,
    settings: &Settings,
) -> rusqlite::Result<i64> {
    let (sensor, encoding) = (opening.sensor, settings.encoding.number());
    let found = transaction
        .query_row(
            "SELECT sid FROM sensor
             WHERE hostname = ?1 AND coalesce(interface, '') = ?2 AND coalesce(encoding, 0) BETWEEN 0 AND 2
             ORDER BY NOT EXISTS (SELECT 1 FROM flop_stream WHERE flop_stream.sid = sensor.sid AND stream = ?3),
                 coalesce(encoding, 0) <> ?4, coalesce(filter, '') <> '', detail IS NOT 1, sid LIMIT 1",
            params![sensor.name, sensor.interface, opening.stream.to_string(), encoding],
            |row| row.get(0),
        )
        .optional()?;
    let sid: i64 = match found {
        Some(sid) => sid,
        None => transaction.query_row(
            "INSERT INTO sensor (hostname, interface, filter, detail, encoding, last_cid)
             VALUES (?1, nullif(?2, ''), NULL, 1, ?3, 0) RETURNING sid",
            params![sensor.name, sensor.interface, encoding],
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

/// A batch on its way.
struct Writing<'w> {
    transaction: Transaction<'w>,
    settings: &'w Settings,
    inserts: &'w [String],
    stream: &'w OpenStream,
    batch: &'w Batch<'w>,
}

impl Writing<'_> {
    fn store(self, memory: &mut Memory, end: End) -> Result<Stored, Failure> {
        if !self.settings.trust {
            // The answers are microseconds away.
            memory.signatures.clear();
        }
        advance_stream(&self.transaction, self.stream, self.batch)?;
        let alerts = self.batch.alerts().count() as i64;
        let (last_cid, encoding) = self.take_cids(alerts)?;
        let stored = Stored::up_to(last_cid, alerts);
        let mut added = Vec::new();
        let signatures = signature_ids(
            &self.transaction,
            &mut memory.signatures,
            self.batch,
            &mut added,
        )?;
        let given = Given {
            first_cid: stored.first_cid,
            encoding: encoding_of(self.stream.sid, encoding).map_err(Failure::Store)?,
            signatures,
            references: match self.settings.reference {
                true => self.resolve(memory, stored.first_cid)?,
                false => Resolved::default(),
            },
        };
        self.insert_rows(&given)?;
        self.mark_begun(&given.references)?;
        if end == End::RollBack {
            self.transaction.rollback()?;
            return Ok(stored);
        }
        self.transaction.commit()?;
        for (signature, id) in added {
            memory.signatures.put(signature, id);
        }
        memory.references.remember(given.references);
        Ok(stored)
    }

    /// The last of the cids for so many alerts, and the sensor's encoding.
    fn take_cids(&self, alerts: i64) -> rusqlite::Result<(i64, i64)> {
        self.transaction
            .prepare_cached(
                "UPDATE sensor SET last_cid = coalesce(last_cid, 0) + ?2 WHERE sid = ?1
                 RETURNING last_cid, coalesce(encoding, 0)",
            )?
            .query_row([self.stream.sid, alerts], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
    }

    fn insert_rows(&self, given: &Given) -> rusqlite::Result<()> {
        let rows = Rows {
            settings: self.settings,
            stream: self.stream,
            batch: self.batch,
            given,
        };
        for table in Table::ALL {
            let insert = &self.inserts[table as usize];
            let mut statement = self.transaction.prepare_cached(insert)?;
            rows.each(table, |row| {
                statement.execute(params_from_iter(row)).map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Finds out which alerts those of the batch refer to.
    fn resolve(&self, memory: &Memory, first_cid: i64) -> rusqlite::Result<Resolved> {
        let asked = memory.references.unknown(self.batch);
        let mut found: Vec<(Event, i64)> = Vec::new();
        if !asked.is_empty() {
            let ids: Vec<i64> = asked.iter().map(|(_, id)| *id).collect();
            // Of several IDSs the numbers are the same.
            let mut statement = self.transaction.prepare_cached(
                "SELECT ids, event_id, max(cid) FROM flop_event
                 WHERE sid = ?1 AND cid > ?2 AND cid < ?3 AND event_id IN (SELECT value FROM json_each(?4))
                 GROUP BY ids, event_id",
            )?;
            let before = first_cid - 1 - LOOK_BACK_ALERTS;
            let rows = statement.query_map(
                params![self.stream.sid, before, first_cid, json_list(&ids)],
                |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)),
            )?;
            found = rows.collect::<Result<_, _>>()?;
        }
        Ok(memory
            .references
            .resolve(self.batch, first_cid, asked, found))
    }

    /// BASE finds the alert that began a tag by its having the same reference as those which it tagged.
    fn mark_begun(&self, resolved: &Resolved) -> rusqlite::Result<()> {
        let begun = resolved.begun();
        if begun.is_empty() {
            return Ok(());
        }
        let mut statement = self.transaction.prepare_cached(
            "UPDATE event SET reference = cid
             WHERE sid = ?1 AND cid IN (SELECT value FROM json_each(?2)) AND reference IS NULL",
        )?;
        statement.execute(params![self.stream.sid, json_list(&begun)])?;
        Ok(())
    }
}

fn json_list(numbers: &[i64]) -> String {
    serde_json::json!(numbers).to_string()
}

/// A sensor without alerts takes the encoding of the settings; with alerts it keeps its own.
fn settle_encoding(
    transaction: &Transaction<'_>,
    sid: i64,
    settings: &Settings,
) -> rusqlite::Result<i64> {
    transaction.query_row(
        "UPDATE sensor SET encoding = CASE WHEN last_cid > 0 THEN encoding ELSE ?2 END WHERE sid = ?1
         RETURNING coalesce(encoding, 0)",
        params![sid, settings.encoding.number()],
        |row| row.get(0),
    )
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
    let (signatures, numbers) = distinct(batch, Limits::default());
    let mut fresh = std::collections::HashMap::new();
    let mut ids = Vec::with_capacity(signatures.len());
    for signature in signatures {
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
    Ok(numbers.into_iter().map(|number| ids[number]).collect())
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

fn insert(table: Table, settings: &Settings) -> String {
    let columns = table.columns(settings);
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
            Value::Bytes(encoding, bytes) => {
                let mut text = Vec::new();
                encoding.push(&mut text, bytes);
                let text = String::from_utf8(text).expect("each encoding is ASCII");
                ToSqlOutput::Owned(text.into())
            }
            Value::Time(us) => ToSqlOutput::Owned(iso8601(*us).into()),
            Value::Local(us, seconds_east) => {
                ToSqlOutput::Owned(iso8601_at(*us, *seconds_east).into())
            }
        })
    }
}
