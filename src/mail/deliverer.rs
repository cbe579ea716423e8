//! Thread mail-deliver: decides when what waits is told, and what becomes of what cannot be told. The telling itself is
//! thread mail-send's, so that a mail server which hangs cannot hold up the end of the program.

#![forbid(unsafe_code)]

use super::batch::{Batch, Saved};
use super::digest::{self, Digest, plural};
use super::names::{self, Names};
use super::options::{Config, Way};
use super::{Kind, Shared, Teller, level, size};
use crate::crew::Crew;
use crate::error::Error;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What mail-send is to tell.
enum Job {
    Mail(Digest),
    /// Lines of JSON.
    Exec(String),
}

/// What a deliverer leaves to the one after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Left {
    pub(super) waiting: Saved,
    /// Tries that failed for it.
    pub(super) failed: u64,
    /// Until the next look: a restart tells no alert early, and none late.
    pub(super) due: Duration,
}

/// To the other threads.
pub(super) struct Ends {
    /// Enough alerts wait. That its other end is gone tells the end.
    pub(super) woken: Receiver<()>,
    /// The tries are used up.
    pub(super) give_up: Sender<Error>,
    /// A restart takes over what waits.
    pub(super) leave: Sender<Left>,
}

pub(super) struct Deliverer {
    config: Config,
    shared: Arc<Shared>,
    ends: Ends,
    jobs: Sender<Job>,
    results: Receiver<Result<Vec<String>, String>>,
    names: Option<Names>,
    /// What failed tries have left.
    held: Batch,
    failed: u64,
    first_look: Instant,
    /// Enough alerts came while a mail was on its way.
    enough: bool,
    /// The last try had no more time to end.
    hanging: bool,
    ending: bool,
}

impl Deliverer {
    pub(super) fn new(
        config: &Config,
        shared: &Arc<Shared>,
        ends: Ends,
        teller: Teller,
        left: Option<Left>,
        crew: &mut Crew,
    ) -> Result<Deliverer, Error> {
        let (jobs, work) = bounded(1);
        let (done, results) = bounded(1);
        let stop = Arc::clone(shared);
        crew.spawn("mail-send", move || send(&teller, &stop, &work, &done))?;
        let names = match config.full_names {
            true => {
                let (names, resolver) = names::pair();
                crew.spawn("mail-names", move || resolver.run())?;
                Some(names)
            }
            false => None,
        };
        let left = left.unwrap_or_else(|| Left {
            waiting: Saved::default(),
            failed: 0,
            due: config.delay,
        });
        Ok(Deliverer {
            first_look: Instant::now() + first_pause(config, &left),
            config: config.clone(),
            shared: Arc::clone(shared),
            ends,
            jobs,
            results,
            names,
            held: Batch::restore(config.waiting, left.waiting),
            failed: left.failed,
            enough: false,
            hanging: false,
            ending: false,
        })
    }

    pub(super) fn run(mut self) {
        let mut look = self.first_look;
        loop {
            match self.ends.woken.recv_deadline(look) {
                // While a try is due later, alerts only come to what waits.
                Ok(()) if self.failed > 0 => continue,
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ending = true,
            }
            if self.ending && self.shared.keeps() {
                return self.leave(look);
            }
            let last = self.ending; // Not if that comes to be during the telling: then more may wait.
            if !self.tell() || last {
                return;
            }
            let pause = match (self.failed, std::mem::take(&mut self.enough)) {
                (0, true) => Duration::ZERO,
                (0, false) => self.config.delay,
                (_, _) => self.config.retry,
            };
            look = Instant::now() + pause;
        }
    }

    /// Leaves what waits to the deliverer after the restart.
    fn leave(mut self, look: Instant) {
        self.held.absorb(self.shared.take(self.config.waiting));
        let _ = self.ends.leave.send(Left {
            waiting: self.held.save(),
            failed: self.failed,
            due: look.saturating_duration_since(Instant::now()),
        }); // The main thread takes it.
    }

    /// Tells what waits; `false` when that is the end.
    fn tell(&mut self) -> bool {
        self.held.absorb(self.shared.take(self.config.waiting));
        if self.held.is_empty() {
            return true;
        }
        if matches!(self.config.way, Way::Print) {
            self.print();
            return true;
        }
        match self.attempt() {
            Ok(refused) => {
                self.succeeded(&refused);
                true
            }
            // A restart has cut it off: that is no fault of the mail server's, and the next program tries again.
            Err(_) if self.hanging && self.shared.keeps() => true,
            Err(reason) => self.did_not_succeed(&reason),
        }
    }

    fn attempt(&mut self) -> Result<Vec<String>, String> {
        crate::debug!(Mail, 1, "trying to deliver what waits");
        let job = match self.config.way {
            Way::Exec { .. } => Job::Exec(lines(&self.held)),
            Way::Mail(_) | Way::Print => Job::Mail(self.digest()),
        };
        if self.hanging || self.jobs.try_send(job).is_err() {
            return Err("the try before hangs still".to_owned());
        }
        while !self.ending {
            select! {
                recv(self.results) -> result => return result.unwrap_or_else(|_| Err("mail-send is gone".to_owned())),
                // What came meanwhile is for the next mail. An error: the program is to end.
                recv(self.ends.woken) -> woken => match woken {
                    Ok(()) => self.enough = true,
                    Err(_) => self.ending = true,
                },
            }
        }
        let stop_at = self.shared.stop_at().unwrap_or_else(Instant::now);
        let result = self.results.recv_deadline(stop_at);
        let seconds = self.config.drain.as_secs();
        result.unwrap_or_else(|_| {
            self.hanging = true; // What it answers one day is not about what is told from now on.
            Err(format!(
                "no answer within {seconds} s after the signal to stop (--drain)"
            ))
        })
    }

    fn digest(&mut self) -> Digest {
        let config = &self.config;
        let deadline = Names::deadline();
        let deadline = self
            .shared
            .stop_at()
            .map_or(deadline, |at| deadline.min(at));
        let names = &mut self.names;
        let mut name = |sensor: &str| match names {
            Some(names) => names.full(sensor, deadline),
            None => sensor.to_owned(),
        };
        digest::write(
            &self.held,
            config.kind.name(),
            &config.host,
            config.listed,
            &mut name,
        )
    }

    fn succeeded(&mut self, refused: &[String]) {
        let batch = std::mem::replace(&mut self.held, Batch::new(self.config.waiting));
        let alerts = size(&batch);
        self.shared.counts.mailed.fetch_add(alerts, Relaxed);
        self.shared.counts.deliveries.fetch_add(1, Relaxed);
        for recipient in refused {
            crate::warning!(
                "the mail server refused a recipient, the others got the mail: {recipient}"
            );
        }
        let alerts = plural(alerts, "alert");
        match self.failed {
            0 => crate::info!("told {alerts}"),
            failed => crate::notice!("told {alerts}, after {failed} failed tries"),
        }
        self.failed = 0;
    }

    /// `false` when that is the end.
    fn did_not_succeed(&mut self, reason: &str) -> bool {
        self.failed += 1;
        let last = self.ending && !self.shared.keeps();
        if last {
            self.held.absorb(self.shared.take(self.config.waiting)); // All there is, for the last word.
        }
        let (alerts, failed) = (plural(size(&self.held), "alert"), self.failed);
        if !last && failed < self.config.tries {
            crate::warning!(
                "cannot tell {alerts}: {reason}; try {failed} of {}, the next in {} s",
                self.config.tries,
                self.config.retry.as_secs()
            );
            return true;
        }
        let tried = format!("cannot tell {alerts}, tries: {failed}");
        match self.config.kind {
            Kind::Drop => {
                crate::err!("{tried}: {reason}; they are printed instead");
                self.print();
                self.failed = 0;
                true
            }
            Kind::Alert => {
                let advice = "they are in the database; alert ends";
                let _ = self.ends.give_up.send(Error::start(tried, reason, advice)); // The main thread takes it.
                false
            }
        }
    }

    fn print(&mut self) {
        let batch = std::mem::replace(&mut self.held, Batch::new(self.config.waiting));
        for record in batch.records() {
            crate::info!("{}", record.json());
        }
        for summary in batch.summaries() {
            crate::info!("{}", summary.json());
        }
        for line in counted_only(&batch) {
            crate::info!("{line}");
        }
        self.shared.counts.printed.fetch_add(size(&batch), Relaxed);
    }
}

/// The records as lines; for what is not kept singly a line per rule, as a summary says it.
fn lines(batch: &Batch) -> String {
    let records = batch.records().iter().map(|record| record.json());
    let summaries = batch.summaries().iter().map(|summary| summary.json());
    let all = records.chain(summaries).chain(counted_only(batch));
    all.map(|line| line + "\n").collect()
}

fn counted_only(batch: &Batch) -> impl Iterator<Item = String> {
    let rules = batch.rules().into_iter();
    let rules = rules.filter(|(_, tally)| tally.count > tally.single);
    rules.map(|(rule, tally)| {
        serde_json::json!({
            "counted": tally.count - tally.single,
            "gid": rule.gid,
            "sid": rule.sid,
            "rev": rule.rev,
            "priority": tally.priority,
            "message": rule.message,
        })
        .to_string()
    })
}

/// From the start to the first look.
fn first_pause(config: &Config, left: &Left) -> Duration {
    let waiting = size(&Batch::restore(0, left.waiting.clone()));
    let is_enough = level(config) > 0 && waiting >= level(config);
    match left.failed {
        0 if is_enough => Duration::ZERO,
        0 => left.due.min(config.delay),
        _ => left.due.min(config.retry),
    }
}

/// Thread mail-send, until the deliverer is gone.
fn send(
    teller: &Teller,
    shared: &Shared,
    work: &Receiver<Job>,
    done: &Sender<Result<Vec<String>, String>>,
) {
    for job in work {
        let result = match (job, teller) {
            (Job::Mail(digest), Teller::Mail(smtp)) => {
                smtp.deliver(&digest).map(|taken| taken.refused)
            }
            (Job::Exec(lines), Teller::Exec(program)) => {
                program.run(lines, || shared.stop_at()).map(|()| Vec::new())
            }
            _ => unreachable!("the way is chosen once"),
        };
        if done.send(result).is_err() {
            return;
        }
    }
}
