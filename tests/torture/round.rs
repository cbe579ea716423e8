//! One round: everything starts, alerts flow, faults come and go, a last alert arrives, everything stops, and the
//! database is looked at.

use crate::check;
use crate::faults::{Fault, Occurrence, Progress};
use crate::plan::Plan;
use crate::postgres_server::Cluster;
use crate::probe::Probe;
use crate::program::within;
use crate::sender::Ids;
use crate::sensor::Sensor;
use crate::site::Site;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A fault whose end has to wait for something is asked so often.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Nothing takes longer that does not hang, also on a busy machine.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(240);
/// Where alerts are dropped at HighWater, a last one may be, too; then the next one is sent.
const FRESH_EVERY: Duration = Duration::from_millis(300);

/// What came of a round.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) alerts: u64,
    pub(crate) stored: u64,
    /// As `flop_loss` says.
    pub(crate) dropped: u64,
    /// In memory of a sockserv that was killed, or in its socket.
    pub(crate) with_process: u64,
    /// With a spool: how long before the kill the oldest of these was sent, and the longest that the disk let a write wait.
    pub(crate) oldest: (Duration, Duration),
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// Sentences about what should not be.
    pub(crate) broken: Vec<String>,
}

/// Plays a round. Its folder stays when something was broken.
pub(crate) fn play(plan: &Plan, cluster: &mut Cluster) -> Outcome {
    let folder = tempfile::Builder::new()
        .prefix("flop-torture")
        .tempdir()
        .expect("a temporary folder");
    // PostgreSQL's user comes by.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder of ours");
    let played = catch_unwind(AssertUnwindSafe(|| play_in(folder.path(), plan, cluster)));
    let mut outcome = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| String::from(*text)));
        Outcome {
            broken: vec![text.unwrap_or_else(|| "a panic without text".to_owned())],
            ..Outcome::default()
        }
    });
    if !outcome.broken.is_empty() {
        let kept = folder.keep();
        outcome
            .broken
            .push(format!("its logs are in {}", kept.display()));
    }
    outcome
}

fn play_in(folder: &Path, plan: &Plan, cluster: &mut Cluster) -> Outcome {
    let (mut site, all) = Site::new(plan, cluster, folder);
    site.start();
    let probe = plan
        .has(Fault::SpoolingKilled)
        .then(|| Probe::start(folder));
    let sending: Vec<_> = all
        .into_iter()
        .zip(&plan.sensors)
        .map(|(ids, sensor)| ids.start(sensor.bursts.clone()))
        .collect();
    bring_faults(&mut site, &plan.faults);
    let stall = probe.map(Probe::longest).unwrap_or_default();
    let all = sending.into_iter().map(|ids| {
        ids.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let mut all: Vec<Ids> = all.collect();
    for (number, ids) in all.iter_mut().enumerate() {
        let may_drop = plan.may_drop(&plan.sensors[number]);
        a_fresh_alert_arrives(&site, &site.sensors[number], ids, may_drop);
    }
    site.stop();
    check::check(plan, &site, stall)
}

/// A step that is due.
struct Step<'p> {
    at: Instant,
    occurrence: &'p Occurrence,
    is_begin: bool,
}

/// Begins and ends each fault at its time; returns when all are over.
fn bring_faults(site: &mut Site<'_>, faults: &[Occurrence]) {
    let start = Instant::now();
    let step = |occurrence, at, is_begin| Step {
        at: start + at,
        occurrence,
        is_begin,
    };
    let begins = faults.iter().map(|fault| step(fault, fault.at, true));
    let ends = faults
        .iter()
        .map(|fault| step(fault, fault.at + fault.lasts, false));
    let mut steps: Vec<Step<'_>> = begins.chain(ends).collect();
    while let Some(next) = (0..steps.len()).min_by_key(|number| steps[*number].at) {
        let mut step = steps.swap_remove(next);
        thread::sleep(step.at.saturating_duration_since(Instant::now()));
        let progress = match step.is_begin {
            true => {
                step.occurrence.begin(site);
                Progress::Done
            }
            false => step.occurrence.end(site),
        };
        if let Progress::Later = progress {
            let fault = step.occurrence.fault;
            assert!(
                start.elapsed() < HANGS_AFTER,
                "{}: never over",
                fault.name()
            );
            step.at = Instant::now() + ASK_EVERY;
            steps.push(step);
        }
    }
}

/// Nothing hangs: what is sent now is stored soon.
fn a_fresh_alert_arrives(site: &Site<'_>, sensor: &Sensor, ids: &mut Ids, may_drop: bool) {
    ids.send();
    let first = sensor.ids.count();
    let mut sent = Instant::now();
    let what = format!("the last alert of {}, number {first}, arrives", sensor.name);
    within(HANGS_AFTER, &what, || {
        if check::has_stored(&site.database, &sensor.name, first)? {
            return Ok(());
        }
        if may_drop && sent.elapsed() > FRESH_EVERY {
            ids.send();
            sent = Instant::now();
        }
        Err("it does not".to_owned())
    });
}
