//! The reference for PostgreSQL: a plain client COPYs rows that lie ready in its memory.
//!
//! The rows are those which servsock stored of the same alerts, read back by COPY as well; so both write the same, and
//! the reference pays for nothing but the transport and the server. It writes the tables of the classic schema, each
//! batch in one transaction; not `flop_event` and `flop_stream`, which are ours.

use crate::Result;
use crate::server::Database;
use postgres::{Client, Statement};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Alerts in a transaction.
pub(crate) const BATCH: usize = 1_000;

/// How servsock has long payloads compressed.
pub(crate) const LZ4: &str = "SET default_toast_compression = 'lz4'";

/// Where an alert has its rows; `flop_ip6hdr` is for IPv6 what `iphdr` cannot be.
pub(crate) const CLASSIC: &[&str] = &[
    "event",
    "iphdr",
    "flop_ip6hdr",
    "tcphdr",
    "udphdr",
    "icmphdr",
    "data",
];
/// The same and ours.
pub(crate) const ALL: &[&str] = &[
    "event",
    "iphdr",
    "flop_ip6hdr",
    "tcphdr",
    "udphdr",
    "icmphdr",
    "data",
    "flop_event",
];

/// Rows in COPY's binary format.
pub(crate) struct Rows {
    tables: &'static [&'static str],
    /// Of each batch what goes into each table; empty where it has no row for it.
    batches: Vec<Vec<Vec<u8>>>,
    alerts: usize,
}

/// Bytes of a COPY that has no row: its header and its end.
const NO_ROW_BYTES: usize = 21;

impl Rows {
    /// Reads the first `alerts` alerts of the first sensor, in batches of `batch`.
    pub(crate) fn read(
        database: &Database<'_>,
        tables: &'static [&'static str],
        alerts: usize,
        batch: usize,
    ) -> Result<Rows> {
        let mut client = database.client()?;
        let batches = (0..alerts)
            .step_by(batch)
            .map(|from| read_batch(&mut client, tables, from, (from + batch).min(alerts)))
            .collect::<Result<_>>()?;
        Ok(Rows {
            tables,
            batches,
            alerts,
        })
    }

    /// The same alerts for so many clients at once, for each the same number of them.
    pub(crate) fn read_for(
        clients: usize,
        database: &Database<'_>,
        alerts: usize,
    ) -> Result<Vec<Rows>> {
        let mut reader = database.client()?;
        let each = alerts / clients;
        let mut of_client = |from: usize| {
            let to = from + each;
            let batch = BATCH.min(each / 2);
            let batches = (from..to)
                .step_by(batch)
                .map(|at| read_batch(&mut reader, CLASSIC, at, (at + batch).min(to)));
            Ok(Rows {
                tables: CLASSIC,
                batches: batches.collect::<Result<_>>()?,
                alerts: each,
            })
        };
        (0..clients)
            .map(|client| of_client(client * each))
            .collect()
    }

    /// COPYs all of them; returns alerts per second.
    pub(crate) fn copy_to(&self, database: &Database<'_>) -> Result<f64> {
        self.copy_with("", database)
    }

    /// The same in a session with these settings.
    pub(crate) fn copy_with(&self, settings: &str, database: &Database<'_>) -> Result<f64> {
        let mut copier = Copier::new(self, database)?;
        copier.client.batch_execute(settings)?;
        let start = Instant::now();
        for batch in &self.batches {
            copier.copy(batch)?;
        }
        Ok(self.alerts as f64 / start.elapsed().as_secs_f64())
    }

    /// The number of its batches.
    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// COPYs batch after batch, one at each call.
    pub(crate) fn one_by_one<'a>(
        &'a self,
        database: &Database<'_>,
    ) -> Result<impl FnMut() -> Result<Duration> + use<'a>> {
        let mut copier = Copier::new(self, database)?;
        let mut batches = self.batches.iter();
        Ok(move || {
            let batch = batches.next().ok_or("no batch is left")?;
            let start = Instant::now();
            copier.copy(batch)?;
            Ok(start.elapsed())
        })
    }
}

struct Copier {
    client: Client,
    statements: Vec<Statement>,
}

impl Copier {
    fn new(rows: &Rows, database: &Database<'_>) -> Result<Copier> {
        let mut client = database.client()?;
        let copy =
            |table: &&str| client.prepare(&format!("COPY {table} FROM STDIN (FORMAT binary)"));
        let statements = rows
            .tables
            .iter()
            .map(copy)
            .collect::<std::result::Result<_, _>>()?;
        Ok(Copier { client, statements })
    }

    fn copy(&mut self, batch: &[Vec<u8>]) -> Result<()> {
        let mut transaction = self.client.transaction()?;
        for (statement, bytes) in self.statements.iter().zip(batch) {
            if !bytes.is_empty() {
                let mut writer = transaction.copy_in(statement)?;
                writer.write_all(bytes)?;
                writer.finish()?;
            }
        }
        Ok(transaction.commit()?)
    }
}

fn read_batch(
    client: &mut Client,
    tables: &[&str],
    from: usize,
    to: usize,
) -> Result<Vec<Vec<u8>>> {
    let mut batch = Vec::new();
    for table in tables {
        let mut bytes = Vec::new();
        client
            .copy_out(&format!(
                "COPY (SELECT * FROM {table} WHERE sid = 1 AND cid > {from} AND cid <= {to} ORDER BY cid) \
                 TO STDOUT (FORMAT binary)"
            ))?
            .read_to_end(&mut bytes)?;
        if bytes.len() <= NO_ROW_BYTES {
            bytes.clear();
        }
        batch.push(bytes);
    }
    Ok(batch)
}
