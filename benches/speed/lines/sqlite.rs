//! servsock -> SQLite, against a plain loop.

use super::full_sensors::FullSensors;
use super::{ALERTS_S, Bench};
use crate::Result;
use crate::load::Mix;
use crate::paired::Pairs;
use crate::plain_sqlite::Rows;
use crate::site::text;
use crate::table::{Line, Target};
use rusqlite::Connection;
use std::path::Path;

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.to_sqlite;
    let first = tempfile::tempdir()?;
    let file = first.path().join("first.db");
    store(&file, count)?;
    let rows = Rows::read(&file, count)?;
    let ours = || {
        let folder = tempfile::tempdir()?;
        store(&folder.path().join("alerts.db"), count)
    };
    let reference = || {
        let folder = tempfile::tempdir()?;
        rows.insert_into(&folder.path().join("alerts.db"))
    };
    let pairs = Pairs::measure(bench.plan.pairs, ours, reference)?;
    Ok(vec![
        Line::paired("servsock to SQLite (synchronous=FULL), from a full sensor", ALERTS_S, pairs)
            .against(
                "a plain loop of prepared INSERTs of the same alerts' rows into the classic tables, same settings, 1,000 \
                 alerts a transaction",
            )
            .must_reach(Target::ratio_at_least(0.80, 0.95)),
    ])
}

/// Stores the alerts of a full sensor; returns alerts per second.
fn store(file: &Path, count: usize) -> Result<f64> {
    let full = FullSensors::new(&format!("sqlite:{}", text(file)?), Mix::Usual, 1, count)?;
    let seconds = full.flow(|sockservs| sockservs[0].is_empty())?;
    let sql = "SELECT (SELECT count(*) FROM event) - (SELECT count(*) FROM flop_loss)";
    match Connection::open(file)?.query_row(sql, [], |row| row.get::<_, i64>(0))? {
        stored if stored == i64::try_from(count)? => Ok(count as f64 / seconds),
        stored => Err(format!("{stored} alerts are in the database, {count} were sent").into()),
    }
}
