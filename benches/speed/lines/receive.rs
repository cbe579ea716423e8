//! sockserv taking datagrams into its buffer, against a null receiver. Its servsock is away, as it is when a buffer fills.

use super::{ALERTS_S, Bench};
use crate::Result;
use crate::load::Mix;
use crate::null_receiver::NullReceiver;
use crate::paired::{Pairs, quantile};
use crate::process;
use crate::sender::{self, Sent};
use crate::site::{Nobody, Site};
use crate::table::{Line, Target};

const NULL_RECEIVER: &str =
    "a null receiver: a process that receives into one buffer and does nothing else";

pub(super) fn lines(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let plan = bench.plan;
    let [snort, waits] = measure(plan.pairs, Mix::Usual, plan.snort_datagrams)?;
    let [eve, _] = measure(plan.pairs, Mix::Eve700, plan.eve_datagrams)?;
    Ok(vec![
        Line::paired(
            "sockserv takes datagrams of Snort, 65,864 bytes",
            ALERTS_S,
            snort,
        )
        .against(NULL_RECEIVER)
        .must_reach(Target::ratio_at_least(0.80, 0.95)),
        Line::paired(
            "the sender's time for a send, 99.9th percentile",
            "us",
            waits,
        )
        .against("the same sender to the null receiver")
        .must_reach(Target::ratio_at_most(3.0, 1.5)),
        Line::paired("sockserv takes EVE datagrams, 700 bytes", ALERTS_S, eve)
            .against(NULL_RECEIVER)
            .must_reach(Target::ratio_at_least(0.4, 0.6)),
    ])
}

/// Processor time of sockserv for each alert of Snort.
pub(super) fn cpu(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.snort_datagrams;
    let (mut user, mut system) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.pairs {
        let spent = taken(Mix::Usual, count)?.1;
        user.push(spent.user.as_secs_f64() * 1e6 / count as f64);
        system.push(spent.system.as_secs_f64() * 1e6 / count as f64);
    }
    Ok(vec![
        Line::of("sockserv's user time for an alert of Snort", "us", user)
            .against("no reference; utime in /proc/PID/stat")
            .must_reach(Target::value_at_most(1.5, 0.6)),
        Line::of("sockserv's system time for it", "us", system)
            .against("no reference; nearly all of it is the copy of 65,864 bytes"),
    ])
}

/// Alerts per second, and the 99.9th percentile of a send in microseconds.
fn measure(pairs: usize, mix: Mix, count: usize) -> Result<[Pairs; 2]> {
    let reference = || {
        let site = Site::new()?;
        let socket = site.path("null");
        let _receiver = NullReceiver::start(&socket)?;
        values(&sender::send(&socket, mix, 1, count)?)
    };
    Pairs::measure_each(pairs, || values(&taken(mix, count)?.0), reference)
}

/// What the sender saw of sockserv, and what sockserv spent.
fn taken(mix: Mix, count: usize) -> Result<(Sent, process::Cpu)> {
    let (site, nobody) = (Site::new()?, Nobody::new()?);
    let (high, low) = ((count + 2).to_string(), (count + 1).to_string());
    let sockserv = site.sockserv("sensor", nobody.address, &["-H", &high, "-L", &low])?;
    let pids = [sockserv.program.pid()];
    let before = process::cpu(&pids)?;
    let sent = sender::send(&sockserv.socket, mix, 1, count)?;
    sockserv.has_received(count)?;
    Ok((sent, process::cpu(&pids)?.since(before)))
}

fn values(sent: &Sent) -> Result<[f64; 2]> {
    let wait = quantile(&sent.each, 0.999).ok_or("nothing was sent")?;
    Ok([sent.each.len() as f64 / sent.took.as_secs_f64(), wait * 1e6])
}
