//! Memory: of a buffered alert, of an idle worker.

use super::Bench;
use crate::Result;
use crate::load::{self, Mix};
use crate::process;
use crate::sender;
use crate::sensor::Sensor;
use crate::site::{Nobody, Site};
use crate::table::{Line, Target};
use std::time::Instant;

const MIB: f64 = (1 << 20) as f64;
/// So many say how long the alerts of a mix are.
const SAMPLE: usize = 100_000;

/// What a buffered alert costs beyond its encoded bytes.
pub(super) fn buffered(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.buffered;
    let sample = count.min(SAMPLE);
    let encoded = load::encoded(Mix::Encoded800, 0, sample)?.bytes.len() as f64 / sample as f64;
    let (site, nobody) = (Site::new()?, Nobody::new()?);
    let high = (count + 2).to_string();
    let sockserv = site.sockserv("sensor", nobody.address, &["-H", &high])?;
    let before = process::rss(sockserv.program.pid())?;
    sender::send(&sockserv.socket, Mix::Encoded800, 0, count)?;
    sockserv.has_received(count)?;
    let more = process::rss(sockserv.program.pid())?.saturating_sub(before);
    let beyond = more as f64 / count as f64 - encoded;
    Ok(vec![
        Line::of(
            format!("memory of a buffered alert beyond its {encoded:.0} encoded bytes"),
            "bytes",
            vec![beyond],
        )
        .against(format!(
            "no reference; growth of VmRSS of sockserv by {count} alerts"
        ))
        .with_target(Target::value_at_most(100.0, 32.0)),
    ])
}

/// Many sensors that have nothing to say.
pub(super) fn idle(bench: &Bench<'_>) -> Result<Vec<Line>> {
    let count = bench.plan.idle_sensors;
    let (site, database) = (Site::new()?, bench.server.stock()?);
    let servsock = site.servsock(&database.url, &[])?;
    let start = Instant::now();
    let mut sensors = (0..count)
        .map(|number| Sensor::connect(servsock.address, number))
        .collect::<Result<Vec<_>>>()?;
    for sensor in &mut sensors {
        sensor.is_welcome()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let master = servsock.program.pid();
    let mut sizes = Vec::new();
    for worker in process::family(master)?
        .into_iter()
        .filter(|pid| *pid != master)
    {
        sizes.push(process::pss(worker)? as f64 / MIB);
    }
    if sizes.len() != count as usize {
        return Err(format!(
            "{count} sensors are connected, but there are {} workers",
            sizes.len()
        )
        .into());
    }
    Ok(vec![
        Line::of(
            format!("memory of an idle worker (PSS) with {count} sensors, median"),
            "MiB",
            sizes,
        )
        .against("no reference; PostgreSQL behind it")
        .with_target(Target::value_at_most(4.0, 2.0)),
        Line::of(
            format!("{count} sensors connect, until all are welcome"),
            "s",
            vec![seconds],
        )
        .against("no reference; PostgreSQL behind it, which starts a process for each as well")
        .with_target(Target::value_at_most(5.0, 2.0)),
    ])
}
