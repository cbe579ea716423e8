//! Plays rounds, a few at a time: a lane has a PostgreSQL server of its own, and plays one round after another.

use crate::disk;
use crate::faults::Fault;
use crate::plan::Plan;
use crate::postgres_server::Cluster;
use crate::round::{self, Outcome};
use crate::table::Table;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where nothing else is asked for: each fault comes once at least.
const ROUNDS: u64 = 31;
const LANES: u64 = 3;
const SEED: u64 = 1;

/// What is to be played.
pub(crate) struct Wish {
    rounds: u64,
    within: Option<Duration>,
    seed: u64,
    lanes: u64,
    faults: Vec<Fault>,
}

impl Wish {
    pub(crate) fn from_environment() -> Wish {
        let rounds = number("ROUNDS");
        let within = number("MINUTES").map(|minutes| Duration::from_secs(60 * minutes));
        Wish {
            rounds: match within {
                Some(_) => rounds.unwrap_or(u64::MAX),
                None => rounds.unwrap_or(ROUNDS),
            },
            within,
            seed: number("SEED").unwrap_or(SEED),
            lanes: number("LANES").unwrap_or(LANES).max(1),
            faults: faults(),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={value} is no number"),
    }
}

/// The faults to choose from.
fn faults() -> Vec<Fault> {
    let may_mount = disk::may_mount();
    if !may_mount {
        println!("torture: no full disks: only root may mount small ones");
    }
    let wanted = std::env::var("FAULTS").unwrap_or_default();
    let is_wanted = |fault: &Fault| wanted.split(',').any(|part| fault.name().contains(part));
    let possible = Fault::ALL
        .into_iter()
        .filter(|fault| may_mount || !fault.needs_root());
    let faults: Vec<Fault> = possible.filter(is_wanted).collect();
    assert!(
        !faults.is_empty(),
        "FAULTS={wanted} names no fault that is possible here"
    );
    faults
}

/// Plays all rounds and prints the table.
///
/// # Panics
///
/// A promise was broken: the seeds are told.
pub(crate) fn torture(wish: &Wish) {
    println!("torture: seed {}", wish.seed);
    let (next, start) = (AtomicU64::new(0), Instant::now());
    let (table, failed) = (Mutex::new(Table::default()), Mutex::new(Vec::new()));
    let lane = || {
        let mut cluster = Cluster::start();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_late = wish.within.is_some_and(|within| start.elapsed() > within);
            if number >= wish.rounds || is_late {
                return;
            }
            let plan = Plan::new(wish.seed + number, &wish.faults);
            let began = Instant::now();
            let outcome = round::play(&plan, &mut cluster);
            tell(&plan, &outcome, began.elapsed());
            if !outcome.broken.is_empty() {
                failed.lock().expect("no lane panics").push(plan.seed);
            }
            table.lock().expect("no lane panics").add(&plan, &outcome);
        }
    };
    thread::scope(|scope| {
        (0..wish.lanes).for_each(|_| drop(scope.spawn(lane)));
    });
    let failed = failed.into_inner().expect("no lane panics");
    let table = table.into_inner().expect("no lane panics");
    println!("\n{table}\n{} s", start.elapsed().as_secs());
    assert!(
        failed.is_empty(),
        "promises were broken in the rounds of these seeds: {failed:?}"
    );
}

fn tell(plan: &Plan, outcome: &Outcome, took: Duration) {
    let faults = plan.faults.iter().map(|occurrence| occurrence.fault.name());
    println!(
        "seed {}: {} ms, {:?}{}, {} sensors, {}: sent {}, stored {}, dropped {}, gone with sockserv {}",
        plan.seed,
        took.as_millis(),
        plan.database,
        if plan.swap { " and swap" } else { "" },
        plan.sensors.len(),
        faults.collect::<Vec<_>>().join("; "),
        outcome.alerts,
        outcome.stored,
        outcome.dropped,
        outcome.with_process,
    );
    for sentence in &outcome.broken {
        println!("  BROKEN: {sentence}");
    }
    if !outcome.broken.is_empty() {
        println!("  {plan:?}");
    }
}
