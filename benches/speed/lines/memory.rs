//! Memory: of a buffered alert, of an idle worker.

use super::Bench;
use crate::Result;
use crate::load::{self, Mix};
use crate::process;
use crate::sender;
use crate::sensor::Sensor;
use crate::site::{DEADLINE, Nobody, Site};
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
        .must_reach(Target::value_at_most(100.0, 32.0)),
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
    let mut came_again = 0;
    for (number, sensor) in (0..).zip(&mut sensors) {
        // As a sockserv does that is turned away.
        while let Err(error) = sensor.is_welcome() {
            if start.elapsed() > DEADLINE {
                return Err(error);
            }
            *sensor = Sensor::connect(servsock.address, number)?;
            came_again += 1;
        }
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
    let workers = sizes.len();
    Ok(vec![
        Line::of(
            format!("memory of an idle worker (PSS) with {count} sensors, median"),
            "MiB",
            sizes,
        )
        .against(format!(
            "no reference; {workers} workers, PostgreSQL behind them"
        ))
        .must_reach(Target::value_at_most(4.0, 2.0)),
        Line::of(
            format!("{count} sensors connect at once, until all are welcome"),
            "s",
            vec![seconds],
        )
        .against(format!(
            "no reference; {came_again} times one was turned away and came again"
        ))
        .must_reach(Target::value_at_most(5.0, 2.0)),
    ])
}
