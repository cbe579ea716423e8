//! PostgreSQL: each batch is COPYed into all of its tables, in one transaction.
//!
//! Locks, in the order in which a session takes them, so that no two wait for each other: the row in `flop_stream`,
//! then the row in `sensor`, both held until the batch is committed. New signatures are made before, in a transaction
//! of their own that holds one advisory lock and nothing else; so an id in the cache is always committed.

#![forbid(unsafe_code)]

mod catalogue;
mod client;
mod connect;
mod copy;
pub(super) mod probe;
#[cfg(feature = "null-store")]
pub(super) mod rendered;
mod sqlstate;

use super::references::{LOOK_BACK_ALERTS, Resolved};
use super::rows::{Rows, Table, clamp};
use super::signatures::{Cache, Limits, Signature};
use super::url::Server;
use super::{
    Batch, CheckError, EncodingNotice, End, Given, Memory, OpenStream, Opened, Opening, Settings,
    Store, StoreError, Stored, encoding_of, gap_reason, rows_of,
};
use crate::alert::SensorName;
use crate::wire::Item;
use ::postgres::Statement;
use catalogue::{Catalogue, Kind, Unfit};
use client::{Client, Error, Transaction};
use connect::{Connector, NoConnection};
use std::collections::{HashMap, HashSet};

/// Held while a row in `signature` or `sig_class` is made ("flop", "sign").
const SIGNATURE_LOCK: i64 = 0x666c_6f70_7369_676e;
/// Held while a row in `sensor` is made ("flop", "sens").
const SENSOR_LOCK: i64 = 0x666c_6f70_7365_6e73;

const ADVANCE_STREAM: &str = "UPDATE flop_stream SET last_seq = $5, changed = clock_timestamp()
    WHERE sid = $1::int8 AND stream = $2 AND epoch = $3 AND last_seq = $4";

const TAKE_CIDS: &str = "UPDATE sensor SET last_cid = coalesce(last_cid, 0) + $2::int8
    WHERE sid = $1::int8 RETURNING last_cid::int8, coalesce(encoding, 0)::int8";

const FIND_SIGNATURE: &str = "SELECT sig_id::int8 FROM signature
    WHERE sig_name = $1::text AND sig_sid = $2::int8 AND coalesce(sig_gid, 1) = $3::int8
      AND coalesce(sig_rev, 0) = $4::int8 AND coalesce(sig_priority, 0) = $5::int8
      AND ($6::text = ''
           OR sig_class_id IN (SELECT sig_class_id FROM sig_class WHERE sig_class_name = $6::text))
    ORDER BY sig_id LIMIT 1";

const KEPT_SIGNATURES: &str = "SELECT sig_id::int8 FROM signature WHERE sig_id = ANY($1::int8[])";

/// The last alert of each event; of several IDSs the numbers are the same.
const FIND_EVENTS: &str = "SELECT ids::int8, event_id::int8, max(cid)::int8 FROM flop_event
    WHERE sid = $1::int8 AND cid > $2::int8 AND cid <= $3::int8 AND event_id = ANY($4::int8[])
    GROUP BY ids, event_id";

/// BASE finds the alert that began a tag by its having the same reference as those which it tagged.
const MARK_BEGUN: &str = "UPDATE event SET reference = cid
    WHERE sid = $1::int8 AND cid = ANY($2::int8[]) AND reference IS NULL";

const MAKE_SIGNATURE: &str = "INSERT INTO signature
    (sig_name, sig_sid, sig_gid, sig_rev, sig_priority, sig_class_id)
    VALUES ($1::text, $2::int8, $3::int8, $4::int8, $5::int8, $6::int8) RETURNING sig_id::int8";

/// A PostgreSQL database.
pub(super) struct Postgres {
    server: Server,
    settings: Settings,
    connector: Connector,
    session: Option<Session>,
    memory: Memory,
    notice: EncodingNotice,
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
    kept_signatures: Statement,
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
    pub(super) fn new(server: Server, settings: Settings) -> Self {
        Postgres {
            connector: Connector::new(&server),
            server,
            settings,
            session: None,
            memory: Memory::default(),
            notice: EncodingNotice::default(),
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
            NoConnection::Runtime(error) => {
                CheckError::Away(format!("cannot begin to connect to {}: {error}", self.server))
            }
        })?;
        self.session = Some(
            Session::new(client, &self.settings).map_err(|unfit| match unfit {
                Unfit::Server(error) => self.check_error("prepare the tables in", &error),
                Unfit::Tables(text) => {
                    CheckError::Final(format!("cannot use {}: {text}", self.server))
                }
            })?,
        );
        Ok(())
    }

    fn check_error(&self, what: &str, error: &Error) -> CheckError {
        let text = self.text(what, error);
        let is_final = match error.as_db_error() {
            Some(error) => sqlstate::is_final(error.code().code()),
            None => error.to_string().starts_with("invalid configuration"),
        };
        if is_final {
            CheckError::Final(text)
        } else {
            CheckError::Away(text)
        }
    }

    fn is_not_connected(&self) -> StoreError {
        StoreError::Away(format!("{} is not connected", self.server))
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
                if sqlstate::is_content(&error) && !lost {
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
        let session = self.session.as_mut().expect("connected() made it");
        let opened = open_stream(&mut session.client, opening, &self.settings);
        // No alert is involved yet: whatever it is, it is the database's matter.
        let opened = match self.sorted("open a stream in", opened) {
            Err(StoreError::Content(text)) => return Err(StoreError::Away(text)),
            other => other?,
        };
        self.memory.stream_opened(&opened, &self.settings);
        self.notice
            .tell(opening.sensor, &opened, self.settings.encoding);
        Ok(opened.stream)
    }

    fn write(&mut self, stream: &OpenStream, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let Some(session) = &mut self.session else {
            return Err(self.is_not_connected());
        };
        let written = session.write(&self.settings, &mut self.memory, stream, batch, End::Commit);
        self.sorted(
            &format!("store a batch of {} in", batch.items.len()),
            written,
        )
    }

    fn try_out(&mut self, stream: &OpenStream, item: &Item<'_>) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else {
            return Err(self.is_not_connected());
        };
        let batch = Batch::next(stream, item);
        let (settings, memory) = (&self.settings, &mut self.memory);
        let tried = session.write(settings, memory, stream, &batch, End::RollBack);
        self.sorted("try an alert out in", tried).map(|_| ())
    }
}

/// Longer answers are cut: a detail may repeat a whole row.
const ANSWER_CHARS_MAX: usize = 400;

/// The server's words, and what to do about them. What came from outside is escaped.
fn answer(error: &Error) -> String {
    let Some(db) = error.as_db_error() else {
        return error.to_string();
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
    let hint = sqlstate::hint(db);
    format!("{text} [{code}]{hint}")
}

impl Session {
    fn new(mut client: Client, settings: &Settings) -> Result<Self, Unfit> {
        let catalogue = Catalogue::complete(&mut client, settings)?;
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
            kept_signatures: client.prepare(KEPT_SIGNATURES)?,
            buffer: Vec::new(),
            client,
        })
    }

    fn write(
        &mut self,
        settings: &Settings,
        memory: &mut Memory,
        stream: &OpenStream,
        batch: &Batch<'_>,
        end: End,
    ) -> Result<Stored, Failure> {
        let signatures = self.signature_ids(&mut memory.signatures, settings, batch)?;
        let alerts = clamp(signatures.len() as u64);
        let transaction = self.client.transaction()?;
        advance_stream(&transaction, &self.advance_stream, stream, batch)?;
        let sensor = transaction.query_one(&self.take_cids, &[&stream.sid, &alerts])?;
        let stored = Stored::up_to(sensor.get(0), alerts);
        let given = Given {
            first_cid: stored.first_cid,
            encoding: encoding_of(stream.sid, sensor.get(1)).map_err(Failure::Store)?,
            signatures,
            references: match settings.reference {
                true => resolve(&transaction, memory, stream, batch, stored.first_cid)?,
                false => Resolved::default(),
            },
        };
        let rows = rows_of(settings, stream, batch, &given);
        for table in Table::ALL {
            let kinds = &self.kinds[table as usize];
            let copy = &mut self.copies[table as usize];
            copy_rows(&transaction, table, kinds, copy, &rows, &mut self.buffer)?;
        }
        mark_begun(&transaction, stream, &given.references)?;
        if end == End::RollBack {
            // What would be checked at COMMIT.
            transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")?;
            transaction.rollback()?;
            return Ok(stored);
        }
        transaction.commit()?;
        memory.references.remember(given.references);
        Ok(stored)
    }

    fn signature_ids(
        &mut self,
        cache: &mut Cache,
        settings: &Settings,
        batch: &Batch<'_>,
    ) -> Result<Vec<i64>, Failure> {
        let signatures: Vec<Signature<'_>> = batch
            .alerts()
            .map(|alert| Signature::of(alert, self.message_limits))
            .collect();
        let mut ids: Vec<Option<i64>> = signatures
            .iter()
            .map(|signature| cache.get(signature))
            .collect();
        if !settings.trust {
            self.forget_removed(&mut ids)?;
        }
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

    /// Takes out the ids whose rows somebody has removed.
    fn forget_removed(&mut self, ids: &mut [Option<i64>]) -> Result<(), Error> {
        let cached: HashSet<i64> = ids.iter().flatten().copied().collect();
        if cached.is_empty() {
            return Ok(());
        }
        let cached: Vec<i64> = cached.into_iter().collect();
        let rows = self.client.query(&self.kept_signatures, &[&cached])?;
        if rows.len() == cached.len() {
            return Ok(());
        }
        let kept: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        for id in ids {
            *id = id.filter(|id| kept.contains(id));
        }
        Ok(())
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
            match find_signature(&self.client, &self.find_signature, signature)? {
                Some(id) => {
                    found.insert(signature.clone(), id);
                }
                None => unknown.push(signature),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let transaction = self.client.transaction()?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SIGNATURE_LOCK])?;
        for signature in unknown {
            let known = find_signature(&transaction, &self.find_signature, signature)?;
            let id = match known {
                Some(id) => id,
                None => make_signature(&transaction, signature)?,
            };
            found.insert(signature.clone(), id);
        }
        transaction.commit()?;
        Ok(found)
    }
}

/// Moves `last_seq` on, if this worker is still the one which may.
fn advance_stream(
    transaction: &Transaction<'_>,
    statement: &Statement,
    stream: &OpenStream,
    batch: &Batch<'_>,
) -> Result<(), Failure> {
    let moved = transaction.execute(
        statement,
        &[
            &stream.sid,
            &stream.id.to_string(),
            &stream.epoch,
            &clamp(batch.after_seq),
            &clamp(batch.last_seq()),
        ],
    )?;
    match moved {
        1 => Ok(()),
        _ => Err(Failure::Store(super::fenced(stream, batch))),
    }
}

/// Finds out which alerts those of the batch refer to.
fn resolve(
    transaction: &Transaction<'_>,
    memory: &Memory,
    stream: &OpenStream,
    batch: &Batch<'_>,
    first_cid: i64,
) -> Result<Resolved, Error> {
    let asked = memory.references.unknown(batch);
    let mut found = Vec::new();
    if !asked.is_empty() {
        let ids: Vec<i64> = asked.iter().map(|(_, id)| *id).collect();
        let (from, to) = (first_cid - 1 - LOOK_BACK_ALERTS, first_cid - 1);
        found = transaction.query(FIND_EVENTS, &[&stream.sid, &from, &to, &ids])?;
    }
    let found = found
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)));
    Ok(memory.references.resolve(batch, first_cid, asked, found))
}

fn mark_begun(
    transaction: &Transaction<'_>,
    stream: &OpenStream,
    resolved: &Resolved,
) -> Result<(), Error> {
    let begun = resolved.begun();
    if !begun.is_empty() {
        transaction.execute(MARK_BEGUN, &[&stream.sid, &begun])?;
    }
    Ok(())
}

fn copy_rows(
    transaction: &Transaction<'_>,
    table: Table,
    kinds: &[Kind],
    copy: &mut Option<Statement>,
    rows: &Rows<'_>,
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    if rows.of(table).len() == 0 {
        return Ok(());
    }
    copy::render(table, kinds, rows, buffer).map_err(Failure::Value)?;
    let statement = match copy {
        Some(statement) => statement,
        None => copy.insert(transaction.prepare(&copy::statement(table, &rows.columns(table)))?),
    };
    Ok(transaction.copy(statement, buffer)?)
}

fn find_signature(
    client: &Client,
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

fn make_signature(transaction: &Transaction<'_>, wanted: &Signature<'_>) -> Result<i64, Error> {
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

fn class_row(transaction: &Transaction<'_>, name: &str) -> Result<i64, Error> {
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

fn open_stream(
    client: &mut Client,
    opening: &Opening<'_>,
    settings: &Settings,
) -> Result<Opened, Failure> {
    let program = format!("servsock: {}", opening.sensor.name);
    client.execute(
        "SELECT set_config('application_name', $1, false)",
        &[&program],
    )?;
    let transaction = client.transaction()?;
    let sid = sensor_row(&transaction, opening, settings)?;
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
    move_last_cid(&transaction, sid)?;
    let encoding = settle_encoding(&transaction, sid, settings)?;
    transaction.commit()?;
    let last_seq = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
    Ok(Opened {
        stream: OpenStream {
            sid,
            id: opening.stream,
            epoch: row.get(0),
            last_seq,
        },
        is_as_left: opening.has_all(known.map(|(last_seq, _)| last_seq)),
        encoding,
    })
}

/// Finds or makes the sensor's row. The one that has the stream already is the first choice, whatever the settings say
/// by now: in another one the stream would be unknown, and an alert could be stored twice.
fn sensor_row(
    transaction: &Transaction<'_>,
    opening: &Opening<'_>,
    settings: &Settings,
) -> Result<i64, Error> {
    if let Some(sid) = find_sensor(transaction, opening, settings)? {
        return Ok(sid);
    }
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SENSOR_LOCK])?;
    match find_sensor(transaction, opening, settings)? {
        Some(sid) => Ok(sid),
        None => make_sensor(transaction, opening.sensor, settings),
    }
}

/// A sensor without alerts takes the encoding of the settings; with alerts it keeps its own. Called with the row locked
/// and `last_cid` behind all cids.
fn settle_encoding(
    transaction: &Transaction<'_>,
    sid: i64,
    settings: &Settings,
) -> Result<i64, Error> {
    let row = transaction.query_one(
        "UPDATE sensor SET encoding = CASE WHEN last_cid > 0 THEN encoding ELSE $2::int2 END
         WHERE sid = $1::int8 RETURNING coalesce(encoding, 0)::int8",
        &[&sid, &settings.encoding.number()],
    )?;
    Ok(row.get(0))
}

/// Locks the sensor's row, and moves its `last_cid` behind all cids that are in use.
fn move_last_cid(transaction: &Transaction<'_>, sid: i64) -> Result<(), Error> {
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
    transaction: &Transaction<'_>,
    opening: &Opening<'_>,
    settings: &Settings,
) -> Result<Option<i64>, Error> {
    let row = transaction.query_opt(
        "SELECT sid::int8 FROM sensor
         WHERE hostname = $1::text AND coalesce(interface, '') = $2::text AND coalesce(encoding, 0) BETWEEN 0 AND 2
         ORDER BY NOT EXISTS (SELECT FROM flop_stream WHERE flop_stream.sid = sensor.sid AND stream = $3::text),
             coalesce(encoding, 0) <> $4::int2, coalesce(filter, '') <> '', detail IS DISTINCT FROM 1, sid LIMIT 1",
        &[
            &opening.sensor.name,
            &opening.sensor.interface,
            &opening.stream.to_string(),
            &settings.encoding.number(),
        ],
    )?;
    Ok(row.map(|row| row.get(0)))
}

fn make_sensor(
    transaction: &Transaction<'_>,
    sensor: &SensorName,
    settings: &Settings,
) -> Result<i64, Error> {
    let row = transaction.query_one(
        "INSERT INTO sensor (hostname, interface, filter, detail, encoding, last_cid)
         VALUES ($1::text, nullif($2::text, ''), NULL, 1, $3::int2, 0) RETURNING sid::int8",
        &[&sensor.name, &sensor.interface, &settings.encoding.number()],
    )?;
    Ok(row.get(0))
}
