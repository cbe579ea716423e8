//! Cost as it grows: with what is stored, and with the number of sensors.

use super::full_sensors::store;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::copy_1000;
use crate::load::{self, Mix};
use crate::paired::Pairs;
use crate::process;
use crate::sensor::Sensor;
use crate::server::Database;
use crate::site::Site;
use crate::table::{Line, Target};
use std::thread;

/// Enough for one of each table.
const FIRST_ALERTS: usize = 50;

/// A rate with much stored against the one with nothing stored, for servsock and for COPY-1000. The stored alerts are
/// another sensor's.
pub(super) fn stored(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server, count) = (bench.plan, bench.server, bench.plan.of_other_mixes);
    let rows = bench.usual_rows(copy_1000::CLASSIC, count, copy_1000::BATCH)?;
    let big = server.stock()?;
    fill(&big, plan.stored)?;
    let ours = Pairs::measure(
        plan.pairs,
        || store_and_forget(&big, count),
        || store(&server.stock()?, Mix::Usual, 1, count),
    )?;
    let copy = Pairs::measure(
        plan.pairs,
        || {
            let rate = rows.copy_to(&big)?;
            forget(&big)?;
            Ok(rate)
        },
        || rows.copy_to(&server.stock()?),
    )?;
    Ok(vec![
        Line::paired(
            format!(
                "servsock to PostgreSQL, {} alerts stored before",
                plan.stored
            ),
            ALERTS_S,
            ours,
        )
        .against("the same into an empty database")
        .must_reach(Target::ratio_at_least(0.75, 0.85)),
        Line::paired(
            format!("COPY-1000, {} alerts stored before", plan.stored),
            ALERTS_S,
            copy,
        )
        .against("the same into empty tables; no program of ours is in this line"),
    ])
}

/// Processor time of servsock and PostgreSQL for an alert, with ever more sensors.
pub(super) fn sensors(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.of_sensors;
    let mut lines: Vec<Line> = Vec::new();
    let mut first = Vec::new();
    for sensors in bench.plan.sensors {
        let cost = cost(bench, *sensors, count)?;
        let what = format!(
            "processor time for an alert of servsock and PostgreSQL, {sensors} sensors at once"
        );
        if first.is_empty() {
            first.push(cost);
            lines.push(Line::of(what, "us", vec![cost]).against("no reference"));
            continue;
        }
        let pairs = Pairs {
            ours: vec![cost],
            reference: first.clone(),
        };
        lines.push(
            Line::paired(what, "us", pairs)
                .against("the same with one sensor")
                .must_reach(Target::ratio_at_most(1.25, 1.15)),
        );
    }
    Ok(lines)
}

/// Alerts of one sensor that is not among those that are measured. Indexes are made afterwards, which takes a fifth of
/// the time.
fn fill(database: &Database<'_>, count: usize) -> Result<()> {
    let mut client = database.client()?;
    let indexes = client.query(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE 'CREATE INDEX %'
         AND tablename IN ('event', 'iphdr', 'tcphdr', 'udphdr', 'icmphdr', 'data', 'flop_event')",
        &[],
    )?;
    for index in &indexes {
        client.batch_execute(&format!("DROP INDEX {}", index.get::<_, &str>(0)))?;
    }
    client.batch_execute(&FILL.replace("{count}", &count.to_string()))?;
    for index in &indexes {
        client.batch_execute(index.get(1))?;
    }
    database.settle()
}

const FILL: &str = "
    INSERT INTO sensor (sid, hostname, interface, encoding, last_cid) VALUES (1000000, 'former', '', 0, {count});
    INSERT INTO event SELECT 1000000, n, 1 + n % 50, timestamptz '2026-01-01' + n * interval '100 us'
        FROM generate_series(1::int8, {count}) n;
    INSERT INTO iphdr SELECT 1000000, n, 167837696 + (n * 7919) % 65536, 2886729728 + (n * 104729) % 65536,
        4, 5, 0, 800, n % 65536, 2, 0, 64, 6, 0 FROM generate_series(1::int8, {count}) n;
    INSERT INTO tcphdr SELECT 1000000, n, 1024 + (n * 7919) % 60000, (n * 104729) % 1024, n, 1, 5, 0, 24, 65535, 0, 0
        FROM generate_series(1::int8, {count}) n WHERE n % 10 < 7;
    INSERT INTO udphdr SELECT 1000000, n, 1024 + (n * 7919) % 60000, (n * 104729) % 1024, 700, 0
        FROM generate_series(1::int8, {count}) n WHERE n % 10 IN (7, 8);
    INSERT INTO icmphdr SELECT 1000000, n, 8, 0, 0, 1, 1 FROM generate_series(1::int8, {count}) n WHERE n % 10 = 9;
    INSERT INTO data SELECT 1000000, n, 'DEADBEEF' FROM generate_series(1::int8, {count}) n;
    INSERT INTO flop_event (sid, cid, ids, event_id, class_id, payload_len) SELECT 1000000, n, 1, n % 65536, 2, 4
        FROM generate_series(1::int8, {count}) n;";

fn store_and_forget(database: &Database<'_>, count: usize) -> Result<f64> {
    let rate = store(database, Mix::Usual, 1, count)?;
    forget(database)?;
    Ok(rate)
}

/// Takes the alerts of all other sensors away, so that each run finds the same database.
fn forget(database: &Database<'_>) -> Result<()> {
    let mut client = database.client()?;
    for table in copy_1000::ALL.iter().chain(&["flop_stream", "sensor"]) {
        client.batch_execute(&format!("DELETE FROM {table} WHERE sid <> 1000000"))?;
        client.batch_execute(&format!("VACUUM {table}"))?;
    }
    client.batch_execute("ALTER SEQUENCE sensor_sid_seq RESTART")?;
    Ok(client.batch_execute("CHECKPOINT")?)
}

/// Microseconds for each of `count` alerts that so many sensors send at once.
fn cost(bench: &Bench<'_>, sensors: u32, count: usize) -> Result<f64> {
    let (site, database) = (Site::new()?, bench.server.stock()?);
    let servsock = site.servsock(&database.url, &[])?;
    let each = count / sensors as usize;
    let first = load::encoded(Mix::Usual, 0, FIRST_ALERTS)?;
    let mut connected = Vec::new();
    for number in 0..sensors {
        let mut sensor = Sensor::connect(servsock.address, number)?;
        sensor.is_welcome()?;
        // What a worker does once - signatures, statements, the catalogue - is no cost of an alert.
        sensor.stores(&first)?;
        connected.push((sensor, load::encoded(Mix::Usual, number.into(), each)?));
    }
    let mut pids = process::family(servsock.program.pid())?;
    pids.extend(process::family(bench.server.pid()?)?);
    let before = process::cpu(&pids)?;
    let senders: Vec<_> = connected
        .into_iter()
        .map(|(mut sensor, alerts)| {
            thread::spawn(move || match sensor.stores(&alerts) {
                // Kept connected until the processes behind it were looked at.
                Ok(()) => Ok(sensor),
                Err(error) => Err(error.to_string()),
            })
        })
        .collect();
    let connected: Vec<_> = senders.into_iter().map(thread::JoinHandle::join).collect();
    let spent = process::cpu(&pids)?.since(before);
    for sensor in connected {
        sensor.map_err(|_| "a sensor panicked")??;
    }
    Ok(spent.total().as_secs_f64() * 1e6 / (each * sensors as usize) as f64)
}
