//! The tables in the server: which there are, how their columns are typed, and making what is missing.
//!
//! A database that another program made may have other types than ours (`int4` for `int8`, `varchar`, `timestamp`
//! without time zone): what is there is read from the server's catalogue, and rows are written accordingly.

#![forbid(unsafe_code)]

use super::super::rows::Table;
use super::super::signatures::Limits;
use super::super::{Settings, extensions, parts};
use super::client::{Client, Error};
use ::postgres::error::SqlState;
use std::collections::HashMap;

const SCHEMA: &str = include_str!("../schema/postgres.sql");
const VIEW: &str = include_str!("../schema/alerts_postgres.sql");

/// Held while tables are made; any number that nobody else uses ("flop", "sche").
const SCHEMA_LOCK: i64 = 0x666c_6f70_7363_6865;

/// How a column's values are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int2,
    Int4,
    Int8,
    Text(Limits),
    /// An instant; without time zone it is in UTC.
    Time,
    /// `event.timestamp` without time zone: what the clocks show in the zone of the settings.
    LocalTime,
}

/// What was found in the server.
pub(super) struct Catalogue<'s> {
    settings: &'s Settings,
    columns: HashMap<(String, String), Column>,
    ascii_only: bool,
    has_rules: bool,
}

struct Column {
    type_name: String,
    /// `n` of `varchar(n)`.
    chars: Option<usize>,
}

/// Why the database cannot be used.
pub(super) enum Unfit {
    Server(Error),
    /// A sentence about its tables.
    Tables(String),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Unfit::Server(error)
    }
}

impl<'s> Catalogue<'s> {
    /// Reads the catalogue; makes what is missing first, under a lock.
    pub(super) fn complete(client: &mut Client, settings: &'s Settings) -> Result<Self, Unfit> {
        let found = Catalogue::read(client, settings)?;
        if found.lacks_nothing() && found.is_marked(client)? && found.view_is_current(client)? {
            return Ok(found);
        }
        let transaction = client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])?;
        let found = Catalogue::read(&transaction, settings)?;
        found.create_tables(&transaction)?;
        let found = Catalogue::read(&transaction, settings)?;
        found.add_columns(&transaction)?;
        let found = Catalogue::read(&transaction, settings)?;
        // The view would fail on a column of a strange type, with a less helpful text.
        Table::ALL
            .iter()
            .try_for_each(|table| found.kinds(*table).map(drop))?;
        found.create_view(&transaction)?;
        transaction.commit()?;
        Ok(found)
    }

    /// How the columns of a table are written.
    pub(super) fn kinds(&self, table: Table) -> Result<Vec<Kind>, Unfit> {
        table
            .columns(self.settings)
            .iter()
            .map(|column| self.kind(table.name(), column))
            .collect()
    }

    /// What the column can hold of a signature's message.
    pub(super) fn message_limits(&self) -> Limits {
        let chars = self
            .column("signature", "sig_name")
            .and_then(|column| column.chars);
        Limits {
            chars,
            ascii_only: self.ascii_only,
        }
    }

    fn read(client: &Client, settings: &'s Settings) -> Result<Self, Error> {
        let names: Vec<&str> = parts(SCHEMA).map(|(table, _)| table).collect();
        let rows = client.query(
            "SELECT wanted, attname::text, atttypid::regtype::text, atttypmod
             FROM unnest($1::text[]) AS wanted
             JOIN pg_attribute ON attrelid = to_regclass(wanted) AND attnum > 0 AND NOT attisdropped",
            &[&names],
        )?;
        let columns = rows.iter().map(|row| {
            let type_name: String = row.get(2);
            let typmod: i32 = row.get(3);
            let has_length = matches!(type_name.as_str(), VARCHAR | CHAR) && typmod >= 4;
            let chars = has_length.then(|| usize::try_from(typmod - 4).unwrap_or(0));
            ((row.get(0), row.get(1)), Column { type_name, chars })
        });
        let columns = columns.collect();
        let row = client.query_one(
            "SELECT current_setting('server_encoding'),
                EXISTS (SELECT FROM unnest($1::text[]) AS wanted
                        JOIN pg_class ON oid = to_regclass(wanted) WHERE relhasrules)",
            &[&names],
        )?;
        let encoding: String = row.get(0);
        let ascii_only = !matches!(encoding.as_str(), "UTF8" | "SQL_ASCII");
        Ok(Catalogue {
            settings,
            columns,
            ascii_only,
            has_rules: row.get(1),
        })
    }

    /// Whether a table has a rule, which INSERT obeys and COPY does not.
    pub(super) fn has_rules(&self) -> bool {
        self.has_rules
    }

    fn column(&self, table: &str, column: &str) -> Option<&Column> {
        self.columns.get(&(table.to_owned(), column.to_owned()))
    }

    fn has(&self, table: &str) -> bool {
        self.columns.keys().any(|(name, _)| name == table)
    }

    fn lacks_nothing(&self) -> bool {
        parts(SCHEMA).all(|(table, _)| self.has(table)) && self.missing_columns().next().is_none()
    }

    fn missing_columns(&self) -> impl Iterator<Item = extensions::Column> {
        extensions::columns(self.settings)
            .filter(|column| self.column(column.table, column.name).is_none())
    }

    fn is_marked(&self, client: &Client) -> Result<bool, Error> {
        for mark in extensions::marks(self.settings) {
            let unmarked: i64 = client
                .query_one(&extensions::count_unmarked(mark), &[])?
                .get(0);
            if unmarked > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn kind(&self, table: &str, name: &str) -> Result<Kind, Unfit> {
        let Some(column) = self.column(table, name) else {
            return Err(Unfit::Tables(format!(
                "its table {table} has no column {name}; is it another program's?"
            )));
        };
        let (kind, fits) = match column.type_name.as_str() {
            "smallint" => (Kind::Int2, is_number(name)),
            "integer" => (Kind::Int4, is_number(name)),
            "bigint" => (Kind::Int8, is_number(name)),
            "text" | VARCHAR | CHAR => {
                let limits = Limits {
                    chars: column.chars,
                    ascii_only: self.ascii_only,
                };
                (Kind::Text(limits), is_text(name))
            }
            TIMESTAMP if name == EVENT_TIME => (Kind::LocalTime, true),
            TIMESTAMP | "timestamp with time zone" => (Kind::Time, is_time(name)),
            _ => (Kind::Time, false),
        };
        match fits {
            true => Ok(kind),
            false => Err(Unfit::Tables(format!(
                "its column {table}.{name} has the type {}, which cannot be written; the Snort schema has {}",
                column.type_name,
                if is_time(name) {
                    "timestamp with time zone"
                } else if is_text(name) {
                    "text"
                } else {
                    "an integer"
                }
            ))),
        }
    }

    fn create_tables(&self, client: &Client) -> Result<(), Error> {
        for (table, sql) in parts(SCHEMA).filter(|(table, _)| !self.has(table)) {
            client.batch_execute(sql)?;
            match table {
                "data" => {
                    pack(client, "data", "data_payload")?;
                    keep_in_rows(client, "data")?;
                }
                "flop_event" => pack(client, "flop_event", "record")?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add_columns(&self, client: &Client) -> Result<(), Error> {
        for column in self.missing_columns() {
            client.batch_execute(&column.add())?;
            if column.name == "data_header" {
                pack(client, column.table, column.name)?;
            }
        }
        for mark in extensions::marks(self.settings) {
            client.execute(&extensions::set_mark(mark), &[])?;
        }
        Ok(())
    }

    fn view_is_current(&self, client: &Client) -> Result<bool, Error> {
        let comment = relation_alerts(client)?.map(|(_, comment)| comment);
        Ok(comment.as_deref() == Some(&self.view_comment()))
    }

    fn create_view(&self, client: &Client) -> Result<(), Unfit> {
        if self.view_is_current(client)? {
            return Ok(());
        }
        if let Some((kind, comment)) = relation_alerts(client)? {
            if kind != "v" || !comment.starts_with(VIEW_COMMENT) {
                return Err(Unfit::Tables(String::from(
                    "it has a table or view `alerts` which is not ours; rename it",
                )));
            }
            client.batch_execute("DROP VIEW alerts")?;
        }
        client.batch_execute(&self.view())?;
        if let Some(instant) = self.instant("") {
            index_instants(client, &instant)?;
        }
        client.batch_execute(&format!(
            "COMMENT ON VIEW alerts IS '{}'",
            self.view_comment()
        ))?;
        Ok(())
    }

    fn view(&self) -> String {
        let timestamp = self.instant("e.");
        let timestamp = timestamp.as_deref().unwrap_or("e.timestamp");
        VIEW.replace("{timestamp} AS", &format!("{timestamp} AS"))
    }

    /// How an instant comes out of `event.timestamp`, if that has no time zone: it is in the one we write it in.
    fn instant(&self, prefix: &str) -> Option<String> {
        let column = self.column("event", EVENT_TIME)?;
        // A name has letters, digits and a few marks only; a quote is none of them.
        let zone = self.settings.time_zone.name();
        (column.type_name == TIMESTAMP)
            .then(|| format!("({prefix}timestamp AT TIME ZONE '{zone}')"))
    }

    /// Tells one state of the view from another.
    fn view_comment(&self) -> String {
        // FNV-1a.
        let hash = self
            .view()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        format!("{VIEW_COMMENT} ({hash:016x})")
    }
}

const VARCHAR: &str = "character varying";
const CHAR: &str = "character";
const TIMESTAMP: &str = "timestamp without time zone";

/// The column of `event` that other programs know as well.
const EVENT_TIME: &str = "timestamp";

const VIEW_COMMENT: &str = "flop: one readable row per alert";

/// Makes the newest alerts be found by an index in a column without time zone, too, as they are in one with. Takes its
/// time in a large table, once for each zone. Who may not make it does without.
fn index_instants(client: &Client, instant: &str) -> Result<(), Error> {
    client.batch_execute("SAVEPOINT instants")?;
    let made = client.batch_execute_slowly(&format!(
        "SET LOCAL statement_timeout = 0;
         DROP INDEX IF EXISTS flop_instant_idx;
         CREATE INDEX flop_instant_idx ON event ({instant})"
    ));
    match made {
        Ok(()) => client.batch_execute("RELEASE SAVEPOINT instants"),
        Err(error) if is_not_allowed(&error) => {
            client.batch_execute("ROLLBACK TO SAVEPOINT instants")
        }
        Err(error) => Err(error),
    }
}

fn is_not_allowed(error: &Error) -> bool {
    let told = error.as_db_error();
    told.is_some_and(|error| *error.code() == SqlState::INSUFFICIENT_PRIVILEGE)
}

/// Kind and comment of what has the view's name.
fn relation_alerts(client: &Client) -> Result<Option<(String, String)>, Error> {
    let row = client.query_opt(
        "SELECT relkind::text, coalesce(obj_description(oid, 'pg_class'), '')
         FROM pg_class WHERE oid = to_regclass('alerts')",
        &[],
    )?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Spares the server its slow attempt to compress long texts with pglz: 7.5 of 21.7 us per alert. lz4 costs a
/// tenth of that; a server built without it (or older than 14) stores them as they are.
fn pack(client: &Client, table: &str, column: &str) -> Result<(), Error> {
    let lz4: bool = client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_settings
                            WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals))",
            &[],
        )?
        .get(0);
    let how = if lz4 {
        "COMPRESSION lz4"
    } else {
        "STORAGE EXTERNAL"
    };
    client.batch_execute(&format!(
        "ALTER TABLE {table} ALTER COLUMN {column} SET {how}"
    ))
}

/// Spares the server a second table and its index for each row of more than 2 kB, which is what half of all payloads
/// make: up to a page they stay where they are, uncompressed. A server before 11 cannot.
fn keep_in_rows(client: &Client, table: &str) -> Result<(), Error> {
    let row = client.query_one(
        "SELECT current_setting('server_version_num')::int4 >= 110000, current_setting('block_size')::int4",
        &[],
    )?;
    if row.get(0) {
        // The most that the server allows.
        let bytes = row.get::<_, i32>(1) - 32;
        client.batch_execute(&format!(
            "ALTER TABLE {table} SET (toast_tuple_target = {bytes})"
        ))?;
    }
    Ok(())
}

fn is_time(column: &str) -> bool {
    matches!(column, EVENT_TIME | "packet_time" | "from_time" | "to_time")
}

fn is_text(column: &str) -> bool {
    matches!(
        column,
        "opt_data"
            | "data_payload"
            | "data_header"
            | "pcap_header"
            | "src"
            | "dst"
            | "action"
            | "interface"
            | "app_proto"
            | "record"
            | "stream"
            | "reason"
    )
}

fn is_number(column: &str) -> bool {
    !is_time(column) && !is_text(column)
}
