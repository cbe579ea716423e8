//! FLoP's columns in the Snort schema, which settings add: to a database of ours, and to one of BASE or barnyard2.
//!
//! They can be NULL and need no default, so that other programs go on with their own `INSERT`s. BASE finds them by
//! their names: it offers an alert as a pcap file where `data` has FLoP's, and names the alert that began a tag where
//! `event` has one.

#![forbid(unsafe_code)]

use super::Settings;

/// A column that a setting adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    sql_type: &'static str,
}

/// In `schema`, a mark that the columns are there is 1.
const MARKS: &str = "schema";

const FULL_PAYLOAD: [Column; 4] = [
    Column::new("data", "data_header", "TEXT"),
    Column::new("data", "pcap_header", "TEXT"),
    Column::new("flop_event", "packet_link", "INTEGER"),
    Column::new(MARKS, "full_payload", "SMALLINT"),
];

const REFERENCE: [Column; 2] = [
    Column::new("event", "reference", "INTEGER"),
    Column::new(MARKS, "reference", "SMALLINT"),
];

/// The columns that these settings need.
pub(super) fn columns(settings: &Settings) -> impl Iterator<Item = Column> {
    let full_payload = FULL_PAYLOAD.iter().filter(|_| settings.full_payload);
    let reference = REFERENCE.iter().filter(|_| settings.reference);
    full_payload.chain(reference).copied()
}

/// The names of the columns that rows of a table have beside the classic ones.
pub(super) fn names(settings: &Settings, table: &str) -> Vec<&'static str> {
    columns(settings)
        .filter(|column| column.table == table)
        .map(|column| column.name)
        .collect()
}

/// The marks that these settings need.
pub(super) fn marks(settings: &Settings) -> Vec<&'static str> {
    names(settings, MARKS)
}

/// A query for the number of rows in `schema` without this mark.
pub(super) fn count_unmarked(mark: &str) -> String {
    format!("SELECT count(*) FROM schema WHERE coalesce({mark}, 0) <> 1")
}

/// Sets a mark.
pub(super) fn set_mark(mark: &str) -> String {
    format!("UPDATE schema SET {mark} = 1 WHERE coalesce({mark}, 0) <> 1")
}

impl Column {
    const fn new(table: &'static str, name: &'static str, sql_type: &'static str) -> Self {
        Column {
            table,
            name,
            sql_type,
        }
    }

    /// The statement that adds it.
    pub(super) fn add(self) -> String {
        format!(
            "ALTER TABLE {} ADD COLUMN {} {}",
            self.table, self.name, self.sql_type
        )
    }
}
