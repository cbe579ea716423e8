//! The lines of the table, in groups that are measured together.

mod end_to_end;
mod full_sensors;
mod growth;
mod latency;
mod memory;
mod postgres;
mod receive;
mod relay;
mod sqlite;
mod start;

use crate::Result;
use crate::copy_1000::Rows;
use crate::load::Mix;
use crate::plan::Plan;
use crate::server::{Database, Server};
use crate::table::Line;
use std::cell::OnceCell;

/// What all groups are given.
pub(crate) struct Bench<'a> {
    plan: &'a Plan,
    server: &'a Server,
    /// Alerts of the usual mix, as servsock stored them; made when it is first needed.
    usual: OnceCell<Database<'a>>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(plan: &'a Plan, server: &'a Server) -> Bench<'a> {
        Bench {
            plan,
            server,
            usual: OnceCell::new(),
        }
    }

    /// Rows of the first `count` alerts of the usual mix.
    fn usual_rows(
        &self,
        tables: &'static [&'static str],
        count: usize,
        batch: usize,
    ) -> Result<Rows> {
        if self.usual.get().is_none() {
            let database = self.server.stock()?;
            let count = self.plan.to_postgres.max(2 * self.plan.of_sensors);
            full_sensors::store(&database, Mix::Usual, 1, count)?;
            let _ = self.usual.set(database);
        }
        let database = self.usual.get().ok_or("it was just made")?;
        Rows::read(database, tables, count.min(self.plan.to_postgres), batch)
    }
}

type Group = fn(&Bench<'_>) -> Result<Vec<Line>>;

/// Name and function of each group, in the order of the table.
pub(crate) const ALL: [(&str, Group); 15] = [
    ("postgres", postgres::lines),
    ("mixes", postgres::mixes),
    ("limits", postgres::limits),
    ("sqlite", sqlite::lines),
    ("receive", receive::lines),
    ("relay", relay::lines),
    ("end-to-end", end_to_end::lines),
    ("latency", latency::lines),
    ("buffered", memory::buffered),
    ("idle", memory::idle),
    ("cpu", receive::cpu),
    ("stored", growth::stored),
    ("sensors", growth::sensors),
    ("start", start::lines),
    ("wire", relay::wire),
];

const ALERTS_S: &str = "alerts/s";
