//! "Nothing lost, nothing twice", put to the proof: rounds of real programs with faults at random.
//!
//! `cargo test` plays a few rounds, `make torture` as many as are wanted. Everything in a round follows from its seed;
//! round n has the seed SEED + n, so `make torture SEED=that ROUNDS=1` plays any of them again. Variables: ROUNDS, MINUTES
//! (whichever is over first), SEED, LANES (rounds at a time), FAULTS (parts of the faults' names, with commas).

#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../it/database.rs"]
mod database;
#[allow(dead_code, unreachable_pub, reason = "unit tests use the same file")]
#[path = "../support/postgres.rs"]
mod postgres_server;
#[allow(dead_code, reason = "another test binary uses the rest")]
#[path = "../it/program.rs"]
mod program;

#[cfg(feature = "broken-promises")]
mod broken;
mod check;
mod clock;
mod dice;
mod disk;
mod faults;
mod fifo;
mod lanes;
mod missing;
mod plan;
mod probe;
mod proxy;
mod round;
mod running;
mod sender;
mod sensor;
mod serial;
mod site;
mod table;

#[test]
fn nothing_is_lost_and_nothing_comes_twice_whatever_is_done_to_it() {
    lanes::torture(&lanes::Wish::from_environment());
}
