//! From the IDS to COMMIT: a blocking sender, sockserv, servsock, PostgreSQL, all on this machine.

use super::{ALERTS_S, Bench};
use crate::Result;
use crate::copy_1000;
use crate::load::Mix;
use crate::paired::Pairs;
use crate::sender;
use crate::server::Server;
use crate::site::Site;
use crate::table::{Line, Target};
use std::time::Instant;

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server, count) = (bench.plan, bench.server, bench.plan.end_to_end);
    let rows = bench.usual_rows(copy_1000::CLASSIC, count, copy_1000::BATCH)?;
    let plain = Pairs::measure(
        plan.pairs,
        || flood(server, count, &[]),
        || rows.copy_to(&server.stock()?),
    )?;
    let spooled = Pairs::measure(
        plan.pairs,
        || flood(server, count, &["--spool", "spool"]),
        || flood(server, count, &[]),
    )?;
    Ok(vec![
        Line::paired(
            "end to end: sender, sockserv, servsock, PostgreSQL; nothing lost",
            ALERTS_S,
            plain,
        )
        .against("COPY-1000, which has the machine for itself")
        .must_reach(Target::ratio_at_least(0.55, 0.75)),
        Line::paired(
            "the same with a spool on disk, group sync",
            ALERTS_S,
            spooled,
        )
        .against("end to end without a spool")
        .must_reach(Target::ratio_at_least(0.85, 0.95)),
    ])
}

/// Sends `count` alerts as fast as sockserv takes them; returns alerts per second, until the last one is committed.
fn flood(server: &Server, count: usize, more: &[&str]) -> Result<f64> {
    let (site, database) = (Site::new()?, server.stock()?);
    let servsock = site.servsock(&database.url, &[])?;
    let high = (count + 2).to_string();
    let mut options = vec!["-H", high.as_str()];
    options.extend(more);
    let mut sockserv = site.sockserv("sensor", servsock.address, &options)?;
    sockserv.is_connected()?;
    let start = Instant::now();
    sender::send(&sockserv.socket, Mix::Usual, 0, count)?;
    database.has(count)?;
    let seconds = start.elapsed().as_secs_f64();
    database.is_whole(count)?;
    Ok(count as f64 / seconds)
}
