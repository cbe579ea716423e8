//! The built programs, run as an operator runs them: sockets, processes and databases in folders of each test's own.

#[path = "../fixtures/expect.rs"]
mod expect;
#[path = "../fixtures/mod.rs"]
mod fixtures;
#[allow(unreachable_pub, reason = "unit tests use the same file")]
#[path = "../support/postgres.rs"]
mod postgres_server;

mod alarm;
mod bad_input;
mod captures;
mod central_commands;
mod central_drops;
mod client;
mod commands;
mod compress;
mod control;
mod daemon;
mod database;
mod database_faults;
mod drops;
mod ledger;
mod listener;
mod losses;
mod manual;
mod options;
mod outage;
mod pipeline;
mod preflight;
mod pressure;
mod program;
mod readme_ctrl;
mod reload;
mod report;
mod restart;
mod serial;
mod site;
mod spool;
mod swap;
mod syslog;
mod tables;
mod takeover;
