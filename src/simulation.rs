//! Exactly once, by simulation: a sensor, its workers and a database, and all that can go wrong between them, in an order
//! that a seed decides and repeats.
//!
//! The sensor's `Outgoing`, the buffers, the frames, the worker's `conversation` and its `writer` are the real ones. In
//! place of the sockets there are pipes that lose, delay and cut (`line`); in place of the database a model of what
//! `store` promises (`database`). Nothing waits and nobody looks at a clock, so that thousands of runs take seconds.
//!
//! After each step the `books` are checked: what is stored under a number is what was sent under it, once and in order;
//! nothing is acknowledged that is not durable; what is not stored is still with the sensor. Then all faults end, and
//! within a bounded number of rounds each alert is in the database, or in a loss there.
//!
//! `FLOP_SEED=n cargo test simulation` repeats one run and tells what happened in it; `FLOP_RUNS=n` makes so many.

#![forbid(unsafe_code)]

mod books;
mod climate;
pub(crate) mod coroutine;
pub(crate) mod database;
mod line;
mod random;
mod world;

use crate::log;
use crate::wake::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use world::{Trace, World};

/// Runs in each `cargo test`.
const RUNS: u64 = 3_000;
/// Those with a spool touch real files.
const RUNS_WITH_SPOOL: u64 = 500;
/// A run in which a promise is broken on purpose shows it within so many.
const RUNS_TO_FIND: u64 = 300;
/// Each fault shows within so many.
const RUNS_TO_MEET: u64 = 60;
/// Of what happened before a failure, so much is told.
const TRACE_LINES: usize = 120;

/// Where alerts wait at the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Memory,
    Spool,
}

/// A promise that is broken on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The worker acknowledges what came, before it is committed.
    AcknowledgedEarly,
    /// The sensor forgets what it sent, before it is acknowledged.
    ForgottenEarly,
    /// The database does not look at the epoch.
    NoFence,
    /// The stream's number is not in the transaction of its items.
    NumberApart,
    /// The worker's place in the stream is one before what is durable.
    ForgetfulWelcome,
}

/// Nobody is woken: everybody has his turn.
pub(crate) fn waker() -> Waker {
    Waker::new().expect("a descriptor")
}

/// What is wrong in the run of this seed.
fn wrong(seed: u64, way: Way, breach: Option<Breach>, trace: Option<Trace>) -> Option<String> {
    let run = || World::new(seed, way, breach, trace).run();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.err(),
        Err(_) => Some("a panic, see above".to_owned()),
    }
}

/// What happened in it, and what is wrong.
fn story(seed: u64, way: Way) -> String {
    let trace = Trace::default();
    let wrong = wrong(seed, way, None, Some(Rc::clone(&trace)));
    let trace = trace.borrow();
    let wrong = wrong.unwrap_or_else(|| "nothing is wrong".to_owned());
    format!("{}\n{wrong}", trace.join("\n"))
}

/// The last lines of it.
fn end_of(story: &str) -> &str {
    let begin = story.rmatch_indices('\n').nth(TRACE_LINES);
    &story[begin.map_or(0, |(at, _)| at)..]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn is_found(breach: Breach) {
    log::mute_this_thread();
    let found =
        (0..RUNS_TO_FIND).find(|seed| wrong(*seed, Way::Memory, Some(breach), None).is_some());
    assert!(found.is_some(), "{breach:?} is not found");
}

fn nothing_is_wrong(way: Way, runs: u64) {
    log::mute_this_thread();
    let seeds = match (number("FLOP_SEED"), number("FLOP_RUNS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, more) => 0..more.unwrap_or(runs),
    };
    for seed in seeds {
        if wrong(seed, way, None, None).is_some() {
            let story = story(seed, way);
            let end = end_of(&story);
            panic!("{end}\n\nrepeat it with: FLOP_SEED={seed} cargo test simulation");
        }
    }
}

#[test]
fn each_alert_is_stored_once_or_told_as_lost_whatever_goes_wrong() {
    nothing_is_wrong(Way::Memory, RUNS);
}

#[test]
fn each_alert_in_a_spool_is_stored_once_or_told_as_lost_also_when_the_sensor_is_killed() {
    nothing_is_wrong(Way::Spool, RUNS_WITH_SPOOL);
}

#[test]
fn the_runs_meet_each_fault() {
    log::mute_this_thread();
    let stories = |way| (0..RUNS_TO_MEET).map(move |seed| story(seed, way));
    let stories: Vec<String> = stories(Way::Memory).chain(stories(Way::Spool)).collect();
    for event in [
        "Write, AnswerLost",
        "Open, AnswerLost",
        "Write, Away",
        "what: Alert",
        "what: Loss",
        "what: Gap",
        "is fenced",
        "killed, 0 chunks",
        "killed, 1 chunks",
        "the sensor restarts",
        "a new stream begins",
        "a stranger",
        "is dead",
        "cut behind",
        "left by the sensor",
        "database is away: true",
    ] {
        let met = stories.iter().filter(|story| story.contains(event)).count();
        assert!(met > 0, "no run meets {event:?}");
    }
}

#[test]
fn an_acknowledgement_before_the_commit_is_found() {
    is_found(Breach::AcknowledgedEarly);
}

#[test]
fn a_sensor_that_forgets_before_the_acknowledgement_is_found() {
    is_found(Breach::ForgottenEarly);
}

#[test]
fn a_database_that_lets_a_replaced_worker_write_is_found() {
    is_found(Breach::NoFence);
}

#[test]
fn a_number_that_is_not_committed_with_its_items_is_found() {
    is_found(Breach::NumberApart);
}

#[test]
fn a_worker_that_is_wrong_about_its_place_in_the_stream_is_found() {
    is_found(Breach::ForgetfulWelcome);
}
