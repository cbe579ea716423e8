//! Where a run was made: no figure means anything without it.

use crate::Result;
use serde::Serialize;
use std::fmt;
use std::fs;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    plan: &'static str,
    cpus: usize,
    cpu: String,
    kernel: String,
    postgresql: String,
    sqlite: &'static str,
    /// Before and after, of the last minute. More than 1 before means that others worked on this machine.
    load_before: String,
    pub(crate) load_after: String,
}

impl Machine {
    pub(crate) fn look(plan: &'static str, postgresql: String) -> Result<Machine> {
        let cpus = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Machine {
            plan,
            cpus: std::thread::available_parallelism()?.get(),
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            postgresql,
            sqlite: rusqlite::version(),
            load_before: load_average()?,
            load_after: String::new(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} CPUs ({}), Linux {}, PostgreSQL {}, SQLite {}; load average {} before, {} after; plan: {}",
            self.cpus,
            self.cpu,
            self.kernel,
            self.postgresql,
            self.sqlite,
            self.load_before,
            self.load_after,
            self.plan
        )
    }
}

/// Of the last minute.
pub(crate) fn load_average() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}
