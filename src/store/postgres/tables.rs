//! The tables of a batch: its rows go into each of them by COPY, or by INSERT where they are few.

#![forbid(unsafe_code)]

use super::super::Settings;
use super::super::rows::{Rows, Table, Value};
use super::Failure;
use super::binary::{self, Field};
use super::catalogue::{Catalogue, Kind, Unfit};
use super::client::{CopyIn, Transaction};
use crate::wire::Item;
use ::postgres::Statement;

/// Batches of so many items at most are INSERTed: COPY takes two round trips for each table, INSERTs into all of them
/// take one together. Each more row is dearer that way.
const INSERTED_ITEMS_MAX: usize = 8;
/// What is sent at once: the server has something to do while the next rows are made.
const PART_BYTES: usize = 64 << 10;

/// How rows get into the tables of one database.
pub(super) struct Tables {
    /// By `Table as usize`.
    tables: Vec<Way>,
    /// A lone alert must not become other rows than a flood.
    only_copies: bool,
}

/// How rows get into a table.
struct Way {
    table: Table,
    columns: Vec<&'static str>,
    kinds: Vec<Kind>,
    /// Made when they are first needed.
    copy: Option<Statement>,
    insert: Option<Statement>,
}

impl Tables {
    pub(super) fn new(catalogue: &Catalogue<'_>, settings: &Settings) -> Result<Tables, Unfit> {
        let way = |table: Table| {
            Ok::<_, Unfit>(Way {
                table,
                columns: table.columns(settings),
                kinds: catalogue.kinds(table)?,
                copy: None,
                insert: None,
            })
        };
        Ok(Tables {
            tables: Table::ALL.into_iter().map(way).collect::<Result<_, _>>()?,
            only_copies: catalogue.has_rules(),
        })
    }

    /// Writes all rows of a batch.
    pub(super) fn write(
        &mut self,
        transaction: &Transaction<'_>,
        rows: &Rows<'_>,
    ) -> Result<(), Failure> {
        if !self.only_copies && are_few(rows.batch.items) {
            return self.insert(transaction, rows);
        }
        let mut ways = self.tables.iter_mut();
        ways.try_for_each(|way| way.copy(transaction, rows))
    }

    fn insert(&mut self, transaction: &Transaction<'_>, rows: &Rows<'_>) -> Result<(), Failure> {
        let mut inserts = Vec::new();
        for way in &mut self.tables {
            rows.each(way.table, |row| {
                inserts.push((way.insert(transaction)?, way.fields(row)?));
                Ok::<_, Failure>(())
            })?;
        }
        Ok(transaction.execute_all(&inserts)?)
    }
}

/// Whether the rows of these items are INSERTed, which takes all of them into memory.
fn are_few(items: &[Item<'_>]) -> bool {
    let bytes = |item: &Item<'_>| match item {
        Item::Alert(alert) => alert.record.len() + alert.payload().map_or(0, <[u8]>::len),
        Item::Loss(_) | Item::Gap(_) => 0,
    };
    items.len() <= INSERTED_ITEMS_MAX && items.iter().map(bytes).sum::<usize>() <= PART_BYTES
}

impl Way {
    fn copy(&mut self, transaction: &Transaction<'_>, rows: &Rows<'_>) -> Result<(), Failure> {
        let mut copying = Copying {
            transaction,
            sink: None,
            part: Vec::new(),
        };
        rows.each(self.table, |row| copying.put(self, row))?;
        copying.finish(self)
    }

    /// The statement for the bytes of `binary`.
    fn copy_statement(&mut self, transaction: &Transaction<'_>) -> Result<&Statement, Failure> {
        let statement = match self.copy.take() {
            Some(statement) => statement,
            None => {
                let (table, columns) = (self.table.name(), self.columns.join(", "));
                let sql = format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)");
                transaction.prepare(&sql)?
            }
        };
        Ok(self.copy.insert(statement))
    }

    fn insert(&mut self, transaction: &Transaction<'_>) -> Result<Statement, Failure> {
        if let Some(statement) = &self.insert {
            return Ok(statement.clone());
        }
        let (table, columns) = (self.table.name(), self.columns.join(", "));
        let values: Vec<String> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "INSERT INTO {table} ({columns}) VALUES ({})",
            values.join(", ")
        );
        let statement = transaction.prepare(&sql)?;
        Ok(self.insert.insert(statement).clone())
    }

    fn fields(&self, row: &[Value<'_>]) -> Result<Vec<Field>, Failure> {
        binary::fields(row, &self.kinds).map_err(|column| self.unfit(row, column))
    }

    fn unfit(&self, row: &[Value<'_>], column: usize) -> Failure {
        Failure::Value(format!(
            "{:?} does not fit into {}.{} ({:?})",
            row[column],
            self.table.name(),
            self.columns[column],
            self.kinds[column]
        ))
    }
}

/// The COPY of a batch into one table; there is none for no row.
struct Copying<'c> {
    transaction: &'c Transaction<'c>,
    sink: Option<CopyIn<'c>>,
    part: Vec<u8>,
}

impl Copying<'_> {
    fn put(&mut self, way: &mut Way, row: &[Value<'_>]) -> Result<(), Failure> {
        if self.part.len() >= PART_BYTES {
            self.send(way)?;
        }
        if self.part.is_empty() {
            self.part.reserve(2 * PART_BYTES);
            if self.sink.is_none() {
                binary::begin(&mut self.part);
            }
        }
        let put = binary::put_row(row, &way.kinds, &mut self.part);
        put.map_err(|column| way.unfit(row, column))
    }

    fn send(&mut self, way: &mut Way) -> Result<(), Failure> {
        let sink = match &mut self.sink {
            Some(sink) => sink,
            none => none.insert(
                self.transaction
                    .copy_in(way.copy_statement(self.transaction)?)?,
            ),
        };
        Ok(sink.send(std::mem::take(&mut self.part).into())?)
    }

    fn finish(mut self, way: &mut Way) -> Result<(), Failure> {
        if self.part.is_empty() {
            return Ok(());
        }
        binary::end(&mut self.part);
        self.send(way)?;
        match self.sink {
            Some(sink) => Ok(sink.finish()?),
            None => Ok(()),
        }
    }
}
