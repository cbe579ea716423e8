//! The tables in the file: making what is missing.

#![forbid(unsafe_code)]

use super::super::{Settings, extensions, parts};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

const SCHEMA: &str = include_str!("../schema/sqlite.sql");
const VIEW: &str = include_str!("../schema/alerts_sqlite.sql");

/// The instant of an event in UTC. Texts of ours with an offset (`2026-11-21T04:22:52.123456+01:00`) are converted, all
/// others are shown as they are.
const INSTANT: &str = "CASE WHEN substr({timestamp}, 27, 1) IN ('+', '-')
        THEN coalesce(strftime('%Y-%m-%dT%H:%M:%S', substr({timestamp}, 1, 19) || substr({timestamp}, 27))
            || substr({timestamp}, 20, 7) || 'Z', {timestamp})
        ELSE {timestamp} END";

/// The index by which the newest alerts are found where times may have an offset. Where it is, some may: then the view
/// converts them, also for a servsock that writes UTC.
const INSTANT_INDEX: &str = "flop_instant_idx";

/// Makes tables, columns, index and view that are missing.
pub(super) fn complete(connection: &mut Connection, settings: &Settings) -> rusqlite::Result<()> {
    if is_complete(connection, settings)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (table, sql) in parts(SCHEMA) {
        if !has(&transaction, "table", table)? {
            transaction.execute_batch(sql)?;
        }
    }
    for column in extensions::columns(settings) {
        if !has_column(&transaction, column)? {
            transaction.execute_batch(&column.add())?;
        }
    }
    for mark in extensions::marks(settings) {
        transaction.execute(&extensions::set_mark(mark), [])?;
    }
    if !settings.time_zone.is_utc() {
        transaction.execute_batch(&format!(
            "CREATE INDEX IF NOT EXISTS {INSTANT_INDEX} ON event ({})",
            INSTANT.replace("{timestamp}", "timestamp")
        ))?;
    }
    create_view(&transaction)?;
    transaction.commit()
}

fn is_complete(connection: &Connection, settings: &Settings) -> rusqlite::Result<bool> {
    for (table, _) in parts(SCHEMA) {
        if !has(connection, "table", table)? {
            return Ok(false);
        }
    }
    for column in extensions::columns(settings) {
        if !has_column(connection, column)? {
            return Ok(false);
        }
    }
    for mark in extensions::marks(settings) {
        let unmarked = extensions::count_unmarked(mark);
        if connection.query_row(&unmarked, [], |row| row.get::<_, i64>(0))? > 0 {
            return Ok(false);
        }
    }
    let has_index = settings.time_zone.is_utc() || has(connection, "index", INSTANT_INDEX)?;
    Ok(has_index && view(connection)? == Some(wanted_view(connection)?))
}

fn has(connection: &Connection, kind: &str, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_master WHERE type = ?1 AND name = ?2 COLLATE NOCASE")?
        .exists([kind, name])
}

fn has_column(connection: &Connection, column: extensions::Column) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE")?
        .exists([column.table, column.name])
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

fn wanted_view(connection: &Connection) -> rusqlite::Result<String> {
    let timestamp = match has(connection, "index", INSTANT_INDEX)? {
        true => INSTANT.replace("{timestamp}", "e.timestamp"),
        false => String::from("e.timestamp"),
    };
    Ok(VIEW.trim_end().replace("{timestamp}", &timestamp))
}

fn create_view(connection: &Connection) -> rusqlite::Result<()> {
    let wanted = wanted_view(connection)?;
    match view(connection)? {
        Some(sql) if sql == wanted => return Ok(()),
        Some(sql) if !sql.contains("-- by flop") => {
            let text = "it has a table or view `alerts` which is not ours; rename it".into();
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(text),
            ));
        }
        Some(_) => connection.execute_batch("DROP VIEW alerts")?,
        None => {}
    }
    connection.execute_batch(&wanted)
}
