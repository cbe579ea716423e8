//! The built programs, run as an operator runs them: sockets, processes and databases in folders of each test's own.

#[path = "../fixtures/expect.rs"]
mod expect;
#[path = "../fixtures/mod.rs"]
mod fixtures;
#[allow(unreachable_pub, reason = "unit tests use the same file")]
#[path = "../support/postgres.rs"]
mod postgres_server;

mod bad_input;
mod captures;
mod client;
mod control;
mod daemon;
mod database;
mod drops;
mod listener;
mod losses;
mod manual;
mod options;
mod outage;
mod pipeline;
mod pressure;
mod program;
mod readme_ctrl;
mod reload;
mod restart;
mod serial;
mod site;
mod syslog;
mod tables;
mod takeover;
