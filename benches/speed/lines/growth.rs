//! Cost as it grows: with what is stored, and with the number of sensors.

use super::full_sensors::store;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::copy_1000::{self, Rows};
use crate::load::{self, Mix};
use crate::paired::Pairs;
use crate::process;
use crate::sensor::Sensor;
use crate::server::Database;
use crate::site::Site;
use crate::table::{Line, Target};
use std::thread;

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

/// Processor time for an alert with ever more sensors, and with ever more plain clients.
pub(super) fn sensors(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.of_sensors;
    bench.usual_rows(copy_1000::CLASSIC, 1, 1)?;
    let mut lines: Vec<Line> = Vec::new();
    let mut first = None;
    for sensors in bench.plan.sensors {
        let pairs = Pairs {
            ours: vec![cost(bench, *sensors, count)?],
            reference: vec![copy_cost(bench, *sensors, count)?],
        };
        let (ours, copy) = *first.get_or_insert((pairs.ours[0], pairs.reference[0]));
        let growth = Pairs {
            ours: vec![pairs.ours[0] / ours],
            reference: vec![pairs.reference[0] / copy],
        };
        lines.push(
            Line::paired(
                format!("processor time for an alert of servsock and PostgreSQL, sensors at once: {sensors}"),
                "us",
                pairs,
            )
            .against("PostgreSQL's alone, with as many plain clients that COPY these alerts as COPY-1000 does; on both sides each has stored as many before"),
        );
        if *sensors > 1 {
            lines.push(
                Line::paired(
                    format!("{sensors} sensors at once, that time over the one with 1"),
                    "times",
                    growth,
                )
                .against("the same of COPY: what so many sessions cost PostgreSQL itself")
                .must_reach(Target::value_at_most(1.25, 1.15)),
            );
        }
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
    let first = load::encoded(Mix::Usual, 0, each)?;
    let mut connected = Vec::new();
    for number in 0..sensors {
        let mut sensor = Sensor::connect(servsock.address, number)?;
        sensor.is_welcome()?;
        // What a worker and its server process do once - signatures, statements, the catalogue, memory - is no cost of an
        // alert: so each stores as many before.
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

/// The same of PostgreSQL alone, when plain clients do the work.
fn copy_cost(bench: &Bench<'_>, clients: u32, count: usize) -> Result<f64> {
    let usual = bench.usual.get().ok_or("it was made before")?;
    let each = count / clients as usize;
    let all = Rows::read_for(clients as usize, usual, 2 * count)?;
    let database = bench.server.stock()?;
    let mut copiers = Vec::new();
    for rows in &all {
        let mut copy = rows.one_by_one(&database)?;
        (0..rows.batches() / 2).try_for_each(|_| copy().map(|_| ()))?;
        copiers.push(copy);
    }
    let pids = process::family(bench.server.pid()?)?;
    let before = process::cpu(&pids)?;
    let done = thread::scope(|scope| {
        let copiers: Vec<_> = copiers
            .iter_mut()
            .zip(&all)
            .map(|(copy, rows)| {
                scope.spawn(|| {
                    (rows.batches() / 2..rows.batches())
                        .try_for_each(|_| copy().map(|_| ()).map_err(|error| error.to_string()))
                })
            })
            .collect();
        copiers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    let spent = process::cpu(&pids)?.since(before);
    for copier in done {
        copier.map_err(|_| "a client panicked")??;
    }
    Ok(spent.total().as_secs_f64() * 1e6 / (each * clients as usize) as f64)
}
