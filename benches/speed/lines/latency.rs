//! A single alert at rest: from its datagram to its COMMIT.

use super::Bench;
use crate::Result;
use crate::copy_1000::{self, Rows};
use crate::load::{Load, Mix};
use crate::paired::{Pairs, median};
use crate::site::{DEADLINE, Site};
use crate::table::{Line, Target};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// Between two alerts, so that each finds all threads asleep.
const REST: Duration = Duration::from_millis(10);
const JSON_BYTES_MAX: usize = 64 << 10;

/// Ours and the reference by turns, alert for alert; a pair of the table is the medians of a part of them.
pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let (plan, server, count) = (bench.plan, bench.server, bench.plan.single_alerts);
    let (ours, theirs) = (server.stock()?, server.stock()?);
    let site = Site::new()?;
    // servsock tells this socket once an alert is committed.
    let committed = UnixDatagram::bind(site.path("committed"))?;
    committed.set_read_timeout(Some(DEADLINE))?;
    let servsock = site.servsock(&ours.url, &["-U", "committed", "-M", "255"])?;
    let mut sockserv = site.sockserv("sensor", servsock.address, &[])?;
    sockserv.is_connected()?;
    let ids = UnixDatagram::unbound()?;
    ids.connect(&sockserv.socket)?;
    let (mut load, mut datagram, mut told) = (
        Load::new(Mix::Usual, 0),
        Vec::new(),
        vec![0; JSON_BYTES_MAX],
    );
    let mut single = || -> Result<Duration> {
        load.next(&mut datagram);
        std::thread::sleep(REST);
        let start = Instant::now();
        ids.send(&datagram)?;
        committed.recv(&mut told)?;
        Ok(start.elapsed())
    };
    // The reference needs rows to store; signatures are new only here.
    for _ in 0..count {
        single()?;
    }
    let rows = Rows::read(&ours, copy_1000::CLASSIC, count, 1)?;
    let mut copy = rows.one_by_one(&theirs)?;
    let part = count / plan.pairs;
    let mut pairs = Pairs::default();
    for _ in 0..plan.pairs {
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for _ in 0..part {
            our_times.push(single()?.as_secs_f64() * 1e6);
            std::thread::sleep(REST);
            their_times.push(copy()?.as_secs_f64() * 1e6);
        }
        pairs.ours.extend(median(&our_times));
        pairs.reference.extend(median(&their_times));
    }
    Ok(vec![
        Line::paired(
            "latency of a single alert at rest, datagram to COMMIT, median",
            "us",
            pairs,
        )
        .against("COPY of one alert's rows into the classic tables and COMMIT, by a plain client")
        .must_reach(Target::ratio_at_most(3.0, 1.5)),
    ])
}
