//! Starts with much that is there already.

use super::Bench;
use crate::Result;
use crate::load::{self, Mix};
use crate::paired::Pairs;
use crate::sender;
use crate::sensor::Sensor;
use crate::server::Database;
use crate::site::{Nobody, Site};
use crate::table::{Line, Target};
use std::time::Instant;

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    Ok(vec![signatures(bench)?, spool(bench)?])
}

/// servsock, from its start to the first alert's COMMIT, with many signatures in the database.
fn signatures(bench: &Bench<'_>) -> Result<Line> {
    let (plan, server) = (bench.plan, bench.server);
    let full = server.stock()?;
    full.client()?.batch_execute(&format!(
        "INSERT INTO signature (sig_name, sig_priority, sig_rev, sig_sid, sig_gid)
         SELECT 'signature number ' || n, 2, 1, n, 1 FROM generate_series(1, {}) n",
        plan.signatures
    ))?;
    full.settle()?;
    let empty = server.stock()?;
    let pairs = Pairs::measure(plan.pairs, || first_alert(&full), || first_alert(&empty))?;
    let what = format!(
        "servsock starts with {} signatures in the database, until the first alert is committed",
        plan.signatures
    );
    Ok(Line::paired(what, "s", pairs)
        .against("the same with an empty database")
        .must_reach(Target::value_at_most(2.0, 0.5)))
}

/// sockserv, from its start until it takes alerts, with many alerts in its spool.
fn spool(bench: &Bench<'_>) -> Result<Line> {
    let plan = bench.plan;
    let (site, nobody) = (Site::new()?, Nobody::new()?);
    let options = ["--spool", "spool", "--spool-max", "16G", "--drain", "1"];
    let sockserv = site.sockserv("sensor", nobody.address, &options)?;
    sender::send(&sockserv.socket, Mix::Usual, 0, plan.spooled)?;
    sockserv.has_received(plan.spooled)?;
    sockserv.program.stop()?;
    let mut times = Vec::new();
    for _ in 0..plan.pairs {
        let start = Instant::now();
        let sockserv = site.sockserv("sensor", nobody.address, &options)?;
        times.push(start.elapsed().as_secs_f64());
        sockserv.has_spooled(plan.spooled)?;
        sockserv.program.stop()?;
    }
    let what = format!(
        "sockserv starts with {} alerts in its spool, until it takes alerts",
        plan.spooled
    );
    Ok(Line::of(what, "s", times)
        .against("no reference; from the start of the process to its line `ready`")
        .must_reach(Target::value_at_most(1.0, 0.2)))
}

/// Seconds from the start of servsock until it has stored one alert.
fn first_alert(database: &Database<'_>) -> Result<f64> {
    let site = Site::new()?;
    let alert = load::encoded(Mix::Usual, 0, 1)?;
    let start = Instant::now();
    let servsock = site.servsock(&database.url, &[])?;
    let mut sensor = Sensor::connect(servsock.address, std::process::id())?;
    sensor.is_welcome()?;
    sensor.stores(&alert)?;
    Ok(start.elapsed().as_secs_f64())
}
