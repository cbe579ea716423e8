//! A batch in one transaction: the stream's number, the cids, the rows of all tables.
//!
//! A round trip to the server takes longer than a row, so as many questions as can be are asked at once.

#![forbid(unsafe_code)]

use super::super::references::{LOOK_BACK_ALERTS, Resolved};
use super::super::rows::{Rows, clamp};
use super::super::{Batch, End, Given, Memory, OpenStream, Settings, Stored, encoding_of, fenced};
use super::client::{Client, Error, Transaction};
use super::signatures::Ids;
use super::{Failure, Session, Statements};
use futures_util::future::join3;

pub(super) const ADVANCE_STREAM: &str =
    "UPDATE flop_stream SET last_seq = $5, changed = clock_timestamp()
    WHERE sid = $1::int8 AND stream = $2 AND epoch = $3 AND last_seq = $4";

pub(super) const TAKE_CIDS: &str = "UPDATE sensor SET last_cid = coalesce(last_cid, 0) + $2::int8
    WHERE sid = $1::int8 RETURNING last_cid::int8, coalesce(encoding, 0)::int8";

/// The last alert of each event; of several IDSs the numbers are the same.
const FIND_EVENTS: &str = "SELECT ids::int8, event_id::int8, max(cid)::int8 FROM flop_event
    WHERE sid = $1::int8 AND cid > $2::int8 AND cid <= $3::int8 AND event_id = ANY($4::int8[])
    GROUP BY ids, event_id";

/// BASE finds the alert that began a tag by its having the same reference as those which it tagged.
const MARK_BEGUN: &str = "UPDATE event SET reference = cid
    WHERE sid = $1::int8 AND cid = ANY($2::int8[]) AND reference IS NULL";

/// What the database had for the sensor, and has given to the batch.
struct Taken {
    last_cid: i64,
    encoding: i64,
}

impl Session {
    pub(super) fn write(
        &mut self,
        settings: &Settings,
        memory: &mut Memory,
        stream: &OpenStream,
        batch: &Batch<'_>,
        end: End,
    ) -> Result<Stored, Failure> {
        let signatures = self.signature_ids(&mut memory.signatures, settings, batch)?;
        let Some((transaction, taken)) =
            begin(&self.client, &self.statements, stream, batch, &signatures)?
        else {
            // Somebody has removed rows of `signature`: all are looked for, and made again.
            memory.signatures.clear();
            return self.write(settings, memory, stream, batch, end);
        };
        let stored = Stored::up_to(taken.last_cid, clamp(signatures.ids.len() as u64));
        let given = Given {
            first_cid: stored.first_cid,
            encoding: encoding_of(stream.sid, taken.encoding).map_err(Failure::Store)?,
            signatures: signatures.ids,
            references: match settings.reference {
                true => resolve(&transaction, memory, stream, batch, stored.first_cid)?,
                false => Resolved::default(),
            },
        };
        let rows = Rows {
            settings,
            stream,
            batch,
            given: &given,
        };
        self.tables.write(&transaction, &rows)?;
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
}

/// Begins the transaction, moves `last_seq` on if this worker is still the one which may, and takes the cids.
/// `None`: a row of a signature that the cache knows is gone, and the transaction rolled back.
fn begin<'c>(
    client: &'c Client,
    statements: &Statements,
    stream: &OpenStream,
    batch: &Batch<'_>,
    signatures: &Ids,
) -> Result<Option<(Transaction<'c>, Taken)>, Failure> {
    let name = stream.id.to_string();
    let (before, last) = (clamp(batch.after_seq), clamp(batch.last_seq()));
    let alerts = clamp(signatures.ids.len() as u64);
    // Nothing is asked along with BEGIN: if that failed, it would be done, and committed at once.
    let transaction = client.transaction()?;
    let (moved, sensor, kept) = transaction.ask(async |session| {
        let (moved, sensor, kept) = join3(
            session.execute(
                &statements.advance_stream,
                &[&stream.sid, &name, &stream.epoch, &before, &last],
            ),
            session.query_one(&statements.take_cids, &[&stream.sid, &alerts]),
            session.query_one(&statements.count_signatures, &[&signatures.cached]),
        )
        .await;
        Ok((moved?, sensor?, kept?))
    })?;
    if moved != 1 {
        return Err(Failure::Store(fenced(stream, batch)));
    }
    if kept.get::<_, i64>(0) != clamp(signatures.cached.len() as u64) {
        transaction.rollback()?;
        return Ok(None);
    }
    let taken = Taken {
        last_cid: sensor.get(0),
        encoding: sensor.get(1),
    };
    Ok(Some((transaction, taken)))
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
