//! The reference for SQLite: a plain loop of prepared INSERTs over rows that lie ready in memory, with the settings of
//! servsock, batches of 1,000 alerts, the classic tables.
//!
//! The rows are those which servsock stored of the same alerts, read back.

use crate::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::Path;
use std::time::Instant;

const BATCH: usize = 1_000;
const TABLES: [&str; 6] = ["event", "iphdr", "tcphdr", "udphdr", "icmphdr", "data"];
/// Those of `src/store/sqlite.rs`.
const SETTINGS: &str = "PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 16000;
    PRAGMA journal_size_limit = 134217728;
    PRAGMA cache_size = -65536;";

/// Rows, and the tables that they go into.
pub(crate) struct Rows {
    /// The statements that make tables and indexes.
    schema: Vec<String>,
    /// Of each batch the rows of each table.
    batches: Vec<[Vec<Vec<Value>>; TABLES.len()]>,
    alerts: usize,
}

impl Rows {
    /// Reads all alerts of the first sensor.
    pub(crate) fn read(file: &Path, alerts: usize) -> Result<Rows> {
        let connection = Connection::open(file)?;
        let schema = schema(&connection)?;
        let batches = (0..alerts)
            .step_by(BATCH)
            .map(|from| read_batch(&connection, from, from + BATCH))
            .collect::<Result<_>>()?;
        Ok(Rows {
            schema,
            batches,
            alerts,
        })
    }

    /// Inserts all of them into a new file; returns alerts per second.
    pub(crate) fn insert_into(&self, file: &Path) -> Result<f64> {
        let mut connection = Connection::open(file)?;
        connection.execute_batch(SETTINGS)?;
        for sql in &self.schema {
            connection.execute_batch(sql)?;
        }
        let inserts = TABLES.map(|table| insert(&connection, table));
        let start = Instant::now();
        for batch in &self.batches {
            let transaction = connection.transaction()?;
            for (rows, sql) in batch.iter().zip(&inserts) {
                let mut statement =
                    transaction.prepare_cached(sql.as_ref().map_err(|error| error.to_string())?)?;
                for row in rows {
                    statement.execute(params_from_iter(row))?;
                }
            }
            transaction.commit()?;
        }
        Ok(self.alerts as f64 / start.elapsed().as_secs_f64())
    }
}

/// The statements of the classic tables and their indexes.
fn schema(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')
         AND tbl_name IN (SELECT value FROM json_each(?1)) ORDER BY type DESC",
    )?;
    let schema = statement.query_map([serde_json::to_string(&TABLES)?], |row| row.get(0))?;
    Ok(schema.collect::<std::result::Result<_, _>>()?)
}

fn read_batch(
    connection: &Connection,
    from: usize,
    to: usize,
) -> Result<[Vec<Vec<Value>>; TABLES.len()]> {
    let mut batch: [Vec<Vec<Value>>; TABLES.len()] = Default::default();
    for (table, rows) in TABLES.iter().zip(&mut batch) {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT * FROM {table} WHERE sid = 1 AND cid > {from} AND cid <= {to} ORDER BY cid"
        ))?;
        let columns = statement.column_count();
        let values = statement.query_map([], |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })?;
        *rows = values.collect::<std::result::Result<_, _>>()?;
    }
    Ok(batch)
}

fn insert(connection: &Connection, table: &str) -> Result<String> {
    let columns = connection
        .prepare(&format!("SELECT * FROM {table}"))?
        .column_count();
    let marks = vec!["?"; columns].join(", ");
    Ok(format!("INSERT INTO {table} VALUES ({marks})"))
}
