//! Opening a stream: the sensor's row, the stream's row, and the cids that are free.

#![forbid(unsafe_code)]

use super::super::rows::{Table, clamp};
use super::super::{OpenStream, Opened, Opening, Settings, gap_reason};
use super::Failure;
use super::client::{Client, Error, Transaction};
use crate::alert::SensorName;

/// Held while a row in `sensor` is made ("flop", "sens").
const SENSOR_LOCK: i64 = 0x666c_6f70_7365_6e73;

pub(super) fn open_stream(
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
    // Not max(): to plan that takes twice the time, and a session asks once.
    let used: Vec<String> = Table::with_cid()
        .map(|table| {
            format!(
                "(SELECT cid FROM {} WHERE sid = $1::int8 AND cid IS NOT NULL ORDER BY cid DESC LIMIT 1)",
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
