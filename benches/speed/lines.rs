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
use crate::plan::Plan;
use crate::server::Server;
use crate::table::Line;

/// What all groups are given.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) server: &'a Server,
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
