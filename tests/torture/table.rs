//! What all rounds came to, as a table for the README.

use crate::faults::Fault;
use crate::plan::Plan;
use crate::round::Outcome;
use std::fmt;
use std::time::Duration;

/// Sums, for each fault and for all rounds.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<(Fault, Sum)>,
    all: Sum,
    oldest: (Duration, Duration),
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    rounds: u64,
    alerts: u64,
    dropped: u64,
    with_process: u64,
    lost: u64,
    doubled: u64,
}

impl Table {
    /// A round counts for each of its faults.
    pub(crate) fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.all.add(outcome);
        self.oldest = self.oldest.max(outcome.oldest);
        for occurrence in &plan.faults {
            let fault = occurrence.fault;
            let row = match self.rows.iter().position(|(other, _)| *other == fault) {
                Some(row) => row,
                None => {
                    self.rows.push((fault, Sum::default()));
                    self.rows.len() - 1
                }
            };
            self.rows[row].1.add(outcome);
        }
    }
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.rounds += 1;
        self.alerts += outcome.alerts;
        self.dropped += outcome.dropped;
        self.with_process += outcome.with_process;
        self.lost += outcome.lost;
        self.doubled += outcome.doubled;
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | rounds | alerts | dropped at HighWater | gone with a killed sockserv | lost | doubled |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for fault in Fault::ALL {
            if let Some((_, sum)) = self.rows.iter().find(|(other, _)| *other == fault) {
                row(f, fault.name(), sum)?;
            }
        }
        row(f, "**all rounds**", &self.all)?;
        let (oldest, stall) = (self.oldest.0.as_millis(), self.oldest.1.as_millis());
        writeln!(
            f,
            "\nWith a spool, what a kill took had been sent {oldest} ms before at most (a write to that disk took up to \
             {stall} ms then), or was in the socket."
        )
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, sum: &Sum) -> fmt::Result {
    let Sum {
        rounds,
        alerts,
        dropped,
        with_process,
        lost,
        doubled,
    } = sum;
    writeln!(
        f,
        "| {name} | {rounds} | {alerts} | {dropped} | {with_process} | {lost} | {doubled} |"
    )
}
