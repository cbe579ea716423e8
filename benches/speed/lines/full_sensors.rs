//! Sensors whose buffers are full when servsock begins to take from them.

use crate::Result;
use crate::load::Mix;
use crate::sender;
use crate::server::Database;
use crate::site::{Servsock, Site, Sockserv};
use nix::sys::signal::Signal;
use std::time::Instant;

/// Sensors that are connected, full, and held up: servsock is stopped.
pub(super) struct FullSensors {
    // Dropped in this order: programs before their folder.
    sockservs: Vec<Sockserv>,
    servsock: Servsock,
    _site: Site,
}

impl FullSensors {
    /// `count` alerts, spread over `sensors` sensors.
    pub(super) fn new(db: &str, mix: Mix, sensors: usize, count: usize) -> Result<FullSensors> {
        FullSensors::with(&[], db, mix, sensors, count)
    }

    /// The same, with more options for sockserv.
    pub(super) fn with(
        more: &[&str],
        db: &str,
        mix: Mix,
        sensors: usize,
        count: usize,
    ) -> Result<FullSensors> {
        let site = Site::new()?;
        let servsock = site.servsock(db, &[])?;
        let each = count / sensors;
        let (high, low) = ((each + 2).to_string(), (each + 1).to_string());
        let mut sockservs = Vec::new();
        for number in 0..sensors {
            let name = format!("sensor{number}");
            let options = [&["-H", &high, "-L", &low], more].concat();
            let mut sockserv = site.sockserv(&name, servsock.address, &options)?;
            sockserv.is_connected()?;
            sockservs.push(sockserv);
        }
        servsock.program.signal(Signal::SIGSTOP)?;
        for (seed, sockserv) in (0..).zip(&sockservs) {
            sender::send(&sockserv.socket, mix, seed, each)?;
            sockserv.has_received(each)?;
        }
        Ok(FullSensors {
            sockservs,
            servsock,
            _site: site,
        })
    }

    /// Lets servsock take them; returns the seconds until `is_done` returns.
    pub(super) fn flow(&self, is_done: impl FnOnce(&[Sockserv]) -> Result<()>) -> Result<f64> {
        let start = Instant::now();
        self.servsock.program.signal(Signal::SIGCONT)?;
        is_done(&self.sockservs)?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// Stores `count` alerts of full sensors in a database; returns alerts per second.
pub(super) fn store(
    database: &Database<'_>,
    mix: Mix,
    sensors: usize,
    count: usize,
) -> Result<f64> {
    let full = FullSensors::new(&database.url, mix, sensors, count)?;
    let before = database.alerts()?;
    let seconds = full.flow(|_| database.has(count))?;
    database.is_whole(before + count)?;
    Ok(count as f64 / seconds)
}
