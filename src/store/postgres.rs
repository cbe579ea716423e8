//! PostgreSQL: each batch is COPYed into all of its tables, in one transaction.
//!
//! Locks, in the order in which a session takes them, so that no two wait for each other: the row in `flop_stream`,
//! then the row in `sensor`, both held until the batch is committed. New signatures are made before, in a transaction
//! of their own that holds one advisory lock and nothing else; so an id in the cache is always committed.

#![forbid(unsafe_code)]

mod catalogue;
mod connect;
mod copy;
pub(super) mod probe;

use super::rows::{Rows, Table, clamp};
use super::signatures::{Cache, Limits, Signature};
use super::url::Server;
use super::{
    Batch, CheckError, OpenStream, Opening, Store, StoreError, Stored, gap_reason, rows_of,
};
use crate::alert::SensorName;
use ::postgres::{Client, Error, GenericClient, Statement, Transaction};
use catalogue::{Catalogue, Kind, Unfit};
use connect::{Connector, NoConnection};
use std::collections::HashMap;
use std::io::Write;

/// Held while a row in `signature` or `sig_class` is made ("flop", "sign").
const SIGNATURE_LOCK: i64 = 0x666c_6f70_7369_676e;
/// Held while a row in `sensor` is made ("flop", "sens").
const SENSOR_LOCK: i64 = 0x666c_6f70_7365_6e73;

const ADVANCE_STREAM: &str = "UPDATE flop_stream SET last_seq = $5, changed = clock_timestamp()
    WHERE sid = $1::int8 AND stream = $2 AND epoch = $3 AND last_seq = $4";

const TAKE_CIDS: &str = "UPDATE sensor SET last_cid = coalesce(last_cid, 0) + $2::int8
    WHERE sid = $1::int8 RETURNING last_cid::int8";

const FIND_SIGNATURE: &str = "SELECT sig_id::int8 FROM signature
    WHERE sig_name = $1::text AND sig_sid = $2::int8 AND coalesce(sig_gid, 1) = $3::int8
      AND coalesce(sig_rev, 0) = $4::int8 AND coalesce(sig_priority, 0) = $5::int8
      AND ($6::text = ''
           OR sig_class_id IN (SELECT sig_class_id FROM sig_class WHERE sig_class_name = $6::text))
    ORDER BY sig_id LIMIT 1";

const MAKE_SIGNATURE: &str = "INSERT INTO signature
    (sig_name, sig_sid, sig_gid, sig_rev, sig_priority, sig_class_id)
    VALUES ($1::text, $2::int8, $3::int8, $4::int8, $5::int8, $6::int8) RETURNING sig_id::int8";

/// A PostgreSQL database.
pub(super) struct Postgres {
    server: Server,
    connector: Connector,
    session: Option<Session>,
    signatures: Cache,
}

/// A connection and what was prepared on it.
struct Session {
    client: Client,
    /// By `Table as usize`.
    kinds: Vec<Vec<Kind>>,
    copies: Vec<Option<Statement>>,
    message_limits: Limits,
    advance_stream: Statement,
    take_cids: Statement,
    find_signature: Statement,
    /// The bytes of a COPY; kept for its memory.
    buffer: Vec<u8>,
}

/// Why something failed, before it is known what that means for the caller.
enum Failure {
    Server(Error),
    /// A value that its column cannot hold.
    Value(String),
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Server(error)
    }
}

impl Postgres {
    pub(super) fn new(server: Server) -> Self {
        Postgres {
            connector: Connector::new(&server),
            server,
            session: None,
            signatures: Cache::default(),
        }
    }

    fn connected(&mut self) -> Result<(), CheckError> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| !session.client.is_closed())
        {
            return Ok(());
        }
        self.session = None;
        let client = self.connector.connect().map_err(|error| match error {
            NoConnection::Refused(error) => self.check_error("connect to", &error),
            NoConnection::Silence => CheckError::Away(format!(
                "cannot connect to {}: no answer within 10 s; is it a PostgreSQL server, and is it well?",
                self.server
            )),
            NoConnection::Thread(error) => {
                CheckError::Away(format!("cannot start a thread to connect to {}: {error}", self.server))
            }
        })?;
        self.session = Some(Session::new(client).map_err(|unfit| match unfit {
            Unfit::Server(error) => self.check_error("prepare the tables in", &error),
            Unfit::Tables(text) => CheckError::Final(format!("cannot use {}: {text}", self.server)),
        })?);
        Ok(())
    }

    fn check_error(&self, what: &str, error: &Error) -> CheckError {
        let text = self.text(what, error);
        let code = error.code().map_or("", |code| code.code());
        // No such user, database or permission; tables that are not what their names say; an incomplete address.
        let is_final = ["28", "3D", "42"].contains(&code.get(..2).unwrap_or_default())
            || (code.is_empty() && error.to_string().starts_with("invalid configuration"));
        if is_final {
            CheckError::Final(text)
        } else {
            CheckError::Away(text)
        }
    }

    /// What went wrong, for the one on call.
    fn text(&self, what: &str, error: &Error) -> String {
        format!("cannot {what} {}: {}", self.server, answer(error))
    }

    /// Sorts an error, and gives the connection up where that is due.
    fn sorted<T>(&mut self, what: &str, result: Result<T, Failure>) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(Failure::Store(error)) => error,
            Err(Failure::Value(text)) => {
                StoreError::Content(format!("cannot {what} {}: {text}", self.server))
            }
            Err(Failure::Server(error)) => {
                let text = self.text(what, &error);
                let lost = self
                    .session
                    .as_ref()
                    .is_none_or(|session| session.client.is_closed());
                if is_content(&error) && !lost {
                    StoreError::Content(text)
                } else {
                    StoreError::Away(text)
                }
            }
        };
        if matches!(error, StoreError::Away(_)) {
            self.session = None;
        }
        Err(error)
    }
}

impl Store for Postgres {
    fn check(&mut self) -> Result<(), CheckError> {
        self.connected()
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<OpenStream, StoreError> {
        self.connected()?;
        self.signatures.clear();
        let session = self.session.as_mut().expect("connected() made it");
        let opened = open_stream(&mut session.client, opening);
        // No alert is involved yet: whatever it is, it is the database's matter.
        match self.sorted("open a stream in", opened) {
            Err(StoreError::Content(text)) => Err(StoreError::Away(text)),
            other => other,
        }
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let Some(session) = &mut self.session else {
            return Err(StoreError::Away(format!(
                "{} is not connected",
                self.server
            )));
        };
        let written = session.write(&mut self.signatures, stream, batch);
        self.sorted(
            &format!("store a batch of {} in", batch.items.len()),
            written,
        )
    }
}

/// A data exception, a broken constraint, or more than a program limit allows. A key that is there already is not the
/// alert's fault: somebody else gives cids to this sensor, and the stream, opened again, goes on behind them.
fn is_content(error: &Error) -> bool {
    error.code().is_some_and(|state| {
        let class = state.code().get(..2).unwrap_or_default();
        matches!(class, "22" | "23" | "54") && state.code() != "23505"
    })
}

/// Longer answers are cut: a detail may repeat a whole row.
const ANSWER_CHARS_MAX: usize = 400;

/// The server's words, and what to do about them. What came from outside is escaped.
fn answer(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        return format!("{error}{}", cause.unwrap_or_default());
    };
    let said = match db.detail() {
        Some(detail) => format!("{} ({detail})", db.message()),
        None => db.message().to_owned(),
    };
    let mut text = String::new();
    for char in said.chars().take(ANSWER_CHARS_MAX) {
        if char.is_control() {
            text.extend(char.escape_default())
        } else {
            text.push(char)
        }
    }
    let code = db.code().code();
    let hint = match code.get(..2).unwrap_or_default() {
        "28" => "; check user and password, and pg_hba.conf on the server",
        "3D" => "; create the database with createdb",
        "53" => "; see to memory, disk and max_connections of the server",
        _ => match code {
            "42501" => "; grant this user what it needs, or let the owner make the tables once",
            "25006" => "; is this a standby server?",
            "55P03" => "; another session has kept a lock for more than 5 s",
            "23505" => "; another program writes for this sensor",
            _ => "",
        },
    };
    format!("{text} [{code}]{hint}")
}

impl Session {
    fn new(mut client: Client) -> Result<Self, Unfit> {
        let catalogue = Catalogue::complete(&mut client)?;
        let kinds = Table::ALL
            .iter()
            .map(|table| catalogue.kinds(*table))
            .collect::<Result<_, _>>()?;
        Ok(Session {
            kinds,
            copies: vec![None; Table::ALL.len()],
            message_limits: catalogue.message_limits(),
            advance_stream: client.prepare(ADVANCE_STREAM)?,
            take_cids: client.prepare(TAKE_CIDS)?,
            find_signature: client.prepare(FIND_SIGNATURE)?,
            buffer: Vec::new(),
            client,
        })
    }

    fn write(
        &mut self,
        cache: &mut Cache,
        stream: &OpenStream,
        batch: &Batch<'_>,
    ) -> Result<Stored, Failure> {
        let signatures = self.signature_ids(cache, batch)?;
        let alerts = clamp(signatures.len() as u64);
        let mut transaction = self.client.transaction()?;
        let moved = transaction.execute(
            &self.advance_stream,
            &[
                &stream.sid,
                &stream.id.to_string(),
                &stream.epoch,
                &clamp(batch.after_seq),
                &clamp(batch.last_seq()),
            ],
        )?;
        if moved != 1 {
            return Err(Failure::Store(super::fenced(stream, batch)));
        }
        let last_cid = transaction
            .query_one(&self.take_cids, &[&stream.sid, &alerts])?
            .get(0);
        let stored = Stored::up_to(last_cid, alerts);
        let rows = rows_of(stream, batch, stored.first_cid, &signatures);
        for table in Table::ALL {
            let kinds = &self.kinds[table as usize];
            let copy = &mut self.copies[table as usize];
            copy_rows(
                &mut transaction,
                table,
                kinds,
                copy,
                &rows,
                &mut self.buffer,
            )?;
        }
        transaction.commit()?;
        Ok(stored)
    }

    fn signature_ids(&mut self, cache: &mut Cache, batch: &Batch<'_>) -> Result<Vec<i64>, Failure> {
        let signatures: Vec<Signature<'_>> = batch
            .alerts()
            .map(|alert| Signature::of(alert, self.message_limits))
            .collect();
        let mut ids: Vec<Option<i64>> = signatures
            .iter()
            .map(|signature| cache.get(signature))
            .collect();
        if ids.contains(&None) {
            let missing = signatures.iter().zip(&ids).filter(|(_, id)| id.is_none());
            let found = self.find_or_make(missing.map(|(signature, _)| signature))?;
            for (id, signature) in ids.iter_mut().zip(&signatures) {
                *id = id.or_else(|| found.get(signature).copied());
            }
            for (signature, id) in found {
                cache.put(signature.into_owned(), id);
            }
        }
        Ok(ids
            .into_iter()
            .map(|id| id.expect("each missing one was found or made"))
            .collect())
    }

    /// The ids of signatures which the cache does not know. What this makes is committed when it returns.
    fn find_or_make<'s, 'a: 's>(
        &mut self,
        signatures: impl Iterator<Item = &'s Signature<'a>>,
    ) -> Result<HashMap<Signature<'a>, i64>, Failure> {
        let mut found = HashMap::new();
        let mut unknown = Vec::new();
        for signature in signatures {
            if found.contains_key(signature) {
                continue;
            }
            match find_signature(&mut self.client, &self.find_signature, signature)? {
                Some(id) => {
                    found.insert(signature.clone(), id);
                }
                None => unknown.push(signature),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let mut transaction = self.client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SIGNATURE_LOCK])?;
        for signature in unknown {
            let known = find_signature(&mut transaction, &self.find_signature, signature)?;
            let id = match known {
                Some(id) => id,
                None => make_signature(&mut transaction, signature)?,
            };
            found.insert(signature.clone(), id);
        }
        transaction.commit()?;
        Ok(found)
    }
}

fn copy_rows(
    transaction: &mut Transaction<'_>,
    table: Table,
    kinds: &[Kind],
    copy: &mut Option<Statement>,
    rows: &Rows<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    let rows = rows.of(table);
    if rows.len() == 0 {
        return Ok(());
    }
    copy::render(table, kinds, rows, buffer).map_err(Failure::Value)?;
    let statement = match copy {
        Some(statement) => statement,
        None => copy.insert(transaction.prepare(&copy::statement(table))?),
    };
    let mut writer = transaction.copy_in(statement)?;
    // The connection's own errors come out of `finish`, with the server's reason.
    let sent = writer.write_all(buffer);
    writer.finish()?;
    sent.map_err(|error| {
        Failure::Store(StoreError::Away(format!(
            "the connection broke in COPY: {error}"
        )))
    })
}

fn find_signature(
    client: &mut impl GenericClient,
    statement: &Statement,
    wanted: &Signature<'_>,
) -> Result<Option<i64>, Error> {
    let row = client.query_opt(
        statement,
        &[
            &wanted.message,
            &i64::from(wanted.sid),
            &i64::from(wanted.gid),
            &i64::from(wanted.rev),
            &i64::from(wanted.priority),
            &wanted.class,
        ],
    )?;
    Ok(row.map(|row| row.get(0)))
}

fn make_signature(transaction: &mut Transaction<'_>, wanted: &Signature<'_>) -> Result<i64, Error> {
    let class = if wanted.class.is_empty() {
        0
    } else {
        class_row(transaction, &wanted.class)?
    };
    let row = transaction.query_one(
        MAKE_SIGNATURE,
        &[
            &wanted.message,
            &i64::from(wanted.sid),
            &i64::from(wanted.gid),
            &i64::from(wanted.rev),
            &i64::from(wanted.priority),
            &class,
        ],
    )?;
    Ok(row.get(0))
}

fn class_row(transaction: &mut Transaction<'_>, name: &str) -> Result<i64, Error> {
    let found: Option<i64> = transaction
        .query_one(
            "SELECT min(sig_class_id)::int8 FROM sig_class WHERE sig_class_name = $1::text",
            &[&name],
        )?
        .get(0);
    match found {
        Some(id) => Ok(id),
        None => transaction
            .query_one(
                "INSERT INTO sig_class (sig_class_name) VALUES ($1::text) RETURNING sig_class_id::int8",
                &[&name],
            )
            .map(|row| row.get(0)),
    }
}

fn open_stream(client: &mut Client, opening: &Opening<'_>) -> Result<OpenStream, Failure> {
    let program = format!("servsock: {}", opening.sensor.name);
    client.execute(
        "SELECT set_config('application_name', $1, false)",
        &[&program],
    )?;
    let mut transaction = client.transaction()?;
    let sid = sensor_row(&mut transaction, opening.sensor)?;
    let (name, forgotten) = (opening.stream.to_string(), clamp(opening.forgotten));
    let known = transaction.query_opt(
        "SELECT last_seq, epoch FROM flop_stream WHERE sid = $1::int8 AND stream = $2 FOR UPDATE",
        &[&sid, &name],
    )?;
    let known: Option<(i64, i64)> = known.map(|row| (row.get(0), row.get(1)));
    if let Some((_, epoch)) = known {
        opening.check(epoch).map_err(Failure::Store)?;
    }
    if let Some((before, _)) = known.filter(|(before, _)| *before < forgotten) {
        let count = forgotten - before;
        transaction.execute(
            "INSERT INTO flop_loss (sid, stream, seq, from_time, to_time, reason, count)
             SELECT sid, stream, $3, changed, clock_timestamp(), $4, $5
             FROM flop_stream WHERE sid = $1::int8 AND stream = $2
             ON CONFLICT DO NOTHING",
            &[&sid, &name, &forgotten, &gap_reason(count), &count],
        )?;
    }
    let row = transaction.query_one(
        "INSERT INTO flop_stream AS old (sid, stream, last_seq, epoch, changed)
         VALUES ($1::int8, $2, $3, 1, clock_timestamp())
         ON CONFLICT (sid, stream)
         DO UPDATE SET epoch = old.epoch + 1, last_seq = greatest(old.last_seq, excluded.last_seq)
         RETURNING epoch, last_seq",
        &[&sid, &name, &forgotten],
    )?;
    move_last_cid(&mut transaction, sid)?;
    transaction.commit()?;
    let last_seq = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
    Ok(OpenStream {
        sid,
        id: opening.stream,
        epoch: row.get(0),
        last_seq,
    })
}

/// Finds or makes the sensor's row.
fn sensor_row(transaction: &mut Transaction<'_>, sensor: &SensorName) -> Result<i64, Error> {
    if let Some(sid) = find_sensor(transaction, sensor)? {
        return Ok(sid);
    }
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SENSOR_LOCK])?;
    match find_sensor(transaction, sensor)? {
        Some(sid) => Ok(sid),
        None => make_sensor(transaction, sensor),
    }
}

/// Locks the sensor's row, and moves its `last_cid` behind all cids that are in use.
fn move_last_cid(transaction: &mut Transaction<'_>, sid: i64) -> Result<(), Error> {
    // First the lock, then the look: what another worker has stored until then is seen.
    transaction.execute(
        "SELECT FROM sensor WHERE sid = $1::int8 FOR UPDATE",
        &[&sid],
    )?;
    let used: Vec<String> = Table::with_cid()
        .map(|table| {
            format!(
                "(SELECT max(cid) FROM {} WHERE sid = $1::int8)",
                table.name()
            )
        })
        .collect();
    let used = used.join(", ");
    transaction.execute(
        &format!(
            "UPDATE sensor SET last_cid = used.last FROM (SELECT greatest({used}) AS last) AS used
             WHERE sid = $1::int8 AND coalesce(last_cid, 0) < used.last"
        ),
        &[&sid],
    )?;
    Ok(())
}

fn find_sensor(
    transaction: &mut Transaction<'_>,
    sensor: &SensorName,
) -> Result<Option<i64>, Error> {
    let row = transaction.query_opt(
        "SELECT sid::int8 FROM sensor
         WHERE hostname = $1::text AND coalesce(interface, '') = $2::text AND coalesce(encoding, 0) = 0
         ORDER BY coalesce(filter, '') <> '', detail IS DISTINCT FROM 1, sid LIMIT 1",
        &[&sensor.name, &sensor.interface],
    )?;
    Ok(row.map(|row| row.get(0)))
}

fn make_sensor(transaction: &mut Transaction<'_>, sensor: &SensorName) -> Result<i64, Error> {
    let row = transaction.query_one(
        "INSERT INTO sensor (hostname, interface, filter, detail, encoding, last_cid)
         VALUES ($1::text, nullif($2::text, ''), NULL, 1, 0, 0) RETURNING sid::int8",
        &[&sensor.name, &sensor.interface],
    )?;
    Ok(row.get(0))
}
