//! What the kernel tells of a running process.

use crate::Result;
use std::fs;
use std::time::Duration;

/// Processor time of processes, taken together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Cpu) -> Cpu {
        Cpu {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// Processor time of these processes until now; one that has ended counts nothing.
pub(crate) fn cpu(pids: &[u32]) -> Result<Cpu> {
    let mut sum = Cpu::default();
    for fields in pids.iter().filter_map(|pid| stat(*pid).ok()) {
        sum.user += ticks(&fields, USER)?;
        sum.system += ticks(&fields, SYSTEM)?;
    }
    Ok(sum)
}

/// A process and all that it started, also through others.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    let parents = parents()?;
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).copied() {
        let children = parents.iter().filter(|(_, of)| *of == parent);
        family.extend(children.map(|(child, _)| *child));
        looked_at += 1;
    }
    Ok(family)
}

/// Bytes in memory, those shared with others included.
pub(crate) fn rss(pid: u32) -> Result<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Bytes in memory, those shared with others by its share.
pub(crate) fn pss(pid: u32) -> Result<u64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Indexes in `/proc/PID/stat`, counted from behind the name.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;
/// `USER_HZ`, the same on all machines with Linux that there are.
const TICKS_PER_SECOND: u64 = 100;

fn stat(pid: u32) -> Result<Vec<String>> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process has such a line")?;
    Ok(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], index: usize) -> Result<Duration> {
    let ticks: u64 = fields.get(index).ok_or("a field is missing")?.parse()?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// Each process with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let names = fs::read_dir("/proc")?
        .flatten()
        .map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    // One that has ended meanwhile is nobody's child.
    let parent = |pid| Some((pid, stat(pid).ok()?.get(PARENT)?.parse().ok()?));
    Ok(pids.filter_map(parent).collect())
}

fn kilobytes(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    let number: u64 = number
        .ok_or_else(|| format!("{path} has no {name}"))?
        .parse()?;
    Ok(number * 1024)
}
