//! `drop` and `alert`: the records of alerts, as they come out of a datagram socket -> one mail for many of them, or a
//! program's standard input.
//!
//! ```text
//! socket -> thread mail-recv: read, count -> Waiting -> thread mail-deliver -> thread mail-send -> mail server
//! ```
//!
//! - The socket is always read: its writers (sockserv, servsock) never wait for a mail server.
//! - What waits is bounded (`batch`): singly up to a limit, beyond it counted by rule. Nothing is left out of the counts.
//! - A mail that failed is not tried again as it was: the next one tells all that waits by then.

#![forbid(unsafe_code)]

pub mod batch;
mod carried;
mod deliverer;
pub mod digest;
mod exec;
mod names;
pub mod options;
pub mod program;
mod receiver;
pub(crate) mod smtp;

use crate::crew::Crew;
use crate::dgram::Served;
use crate::error::Error;
use crate::log::Limiter;
use crate::process::{Carrier, Cause, Leaving, Pulse, Restart, Signals};
use crate::wake::Waker;
use batch::Batch;
pub use carried::Carried;
use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use deliverer::{Deliverer, Ends, Left};
use options::{Config, Way};
use smtp::Smtp;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// After the last try a thread has nothing to wait for.
const JOIN_GRACE: Duration = Duration::from_secs(1);

/// Which of the two programs this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Prints what it cannot mail: nobody else has it.
    Drop,
    /// Ends with an error when it cannot mail: the alerts are in the database.
    Alert,
}

impl Kind {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Drop => "drop",
            Kind::Alert => "alert",
        }
    }
}

/// What can be refused at the start: socket, certificates, password, program.
pub struct Inputs {
    socket: Served,
    teller: Teller,
    /// What the program before a restart left.
    left: Option<Left>,
}

/// What tells.
enum Teller {
    Mail(Box<Smtp>),
    Exec(exec::Program),
    /// All is printed.
    Nobody,
}

impl Teller {
    fn open(config: &Config) -> Result<Teller, Error> {
        Ok(match &config.way {
            Way::Mail(mail) => Teller::Mail(Box::new(Smtp::new(mail)?)),
            Way::Exec { program, timeout } => Teller::Exec(exec::Program::open(program, *timeout)?),
            Way::Print => Teller::Nobody,
        })
    }
}

/// The running program.
pub struct Mailer {
    crew: Crew,
    shared: Arc<Shared>,
    waker: Waker,
    config: Config,
    gave_up: Receiver<Error>,
    sockets: Receiver<Served>,
    left: Receiver<Left>,
    refusals: Receiver<()>,
    limiter: Limiter,
    told_refused: u64,
}

/// What the threads share.
struct Shared {
    /// Held for an addition or an exchange, never across a read, a write or a line.
    waiting: Mutex<Waiting>,
    /// Set once.
    stop: OnceLock<Stop>,
    counts: Counts,
}

struct Stop {
    /// Until then everything must have been told.
    at: Instant,
    /// For a restart: the socket stays open, and what waits is carried over.
    keeps: bool,
}

struct Waiting {
    batch: Batch,
    last_refusal: String,
}

#[derive(Default)]
struct Counts {
    records: AtomicU64,
    refused: AtomicU64,
    mailed: AtomicU64,
    deliveries: AtomicU64,
    printed: AtomicU64,
}

impl Inputs {
    /// Makes the socket, or takes the one over that a restart left open, and reads the files; connects nowhere.
    ///
    /// # Errors
    ///
    /// As `Served::bind`; a file cannot be taken.
    pub fn open(config: &Config, carried: Option<Carried>) -> Result<Inputs, Error> {
        let teller = Teller::open(config)?;
        let what = format!("{} socket", config.kind.name());
        let (socket, left) = match carried {
            Some(carried) => (
                carried.socket(&what, &config.socket)?,
                Some(carried.into_left()),
            ),
            None => (Served::bind(&what, &config.socket)?, None),
        };
        Ok(Inputs {
            socket,
            teller,
            left,
        })
    }

    /// Asks the mail server whether it would take a mail.
    ///
    /// # Errors
    ///
    /// What it answers.
    pub fn test(&self) -> Result<(), Error> {
        let Teller::Mail(smtp) = &self.teller else {
            return Ok(());
        };
        let failed = |answer| Error::start("cannot use the mail server", answer, "");
        smtp.test().map_err(failed)
    }
}

impl Mailer {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread or a descriptor.
    pub fn start(inputs: Inputs, config: &Config) -> Result<Mailer, Error> {
        let waker =
            Waker::new().map_err(|error| Error::start("cannot make an eventfd", error, ""))?;
        let shared = Arc::new(Shared::new(config.waiting));
        let (wake, woken) = bounded(1);
        let (refused, refusals) = bounded(1);
        let (give_up, gave_up) = bounded(1);
        let (leave, left) = bounded(1);
        let (leave_socket, sockets) = bounded(1);
        let mut crew = Crew::default();
        let ends = Ends {
            woken,
            give_up,
            leave,
        };
        let (teller, before) = (inputs.teller, inputs.left);
        let deliverer = Deliverer::new(config, &shared, ends, teller, before, &mut crew)?;
        crew.spawn("mail-deliver", move || deliverer.run())?;
        let receiver = receiver::Receiver {
            socket: inputs.socket,
            waker: waker.clone(),
            shared: Arc::clone(&shared),
            wake,
            refused,
            leave: leave_socket,
            level: level(config),
        };
        crew.spawn("mail-recv", move || receiver.run())?;
        Ok(Mailer {
            crew,
            shared,
            waker,
            config: config.clone(),
            gave_up,
            sockets,
            left,
            refusals,
            limiter: Limiter::default(),
            told_refused: 0,
        })
    }

    /// The thread that never waits for anybody. (The deliverer waits for mail servers.)
    pub fn pulses(&self) -> Vec<Pulse> {
        vec![Pulse::new("mail-recv", &self.waker)]
    }

    /// Waits for a reason to stop, and names it; tells refused datagrams meanwhile.
    ///
    /// # Errors
    ///
    /// `alert` has used up its tries.
    pub fn wait(&mut self, signals: &Signals) -> Result<Cause, Error> {
        loop {
            let due = self.limiter.next_due().map_or_else(never, at);
            select! {
                recv(signals.caught) -> cause => {
                    return Ok(cause.unwrap_or(Cause::Stop("no signals any more")));
                }
                recv(self.gave_up) -> error => match error {
                    Ok(error) => return Err(error),
                    Err(_) => return Ok(Cause::Stop("nobody delivers any more")),
                },
                recv(self.refusals) -> _ => {}
                recv(due) -> _ => {}
            }
            self.tell_refused();
        }
    }

    /// Ends the threads, after a last try to tell what waits. The final counts.
    ///
    /// # Errors
    ///
    /// `alert` could not tell all.
    pub fn stop(mut self) -> Result<String, Error> {
        let deadline = self.end(false);
        let left = self.crew.join_until(deadline + JOIN_GRACE);
        match self.gave_up.try_recv() {
            Ok(error) => Err(error),
            Err(_) if left.iter().any(|name| name == "mail-deliver") => Err(Error::start(
                "cannot tell what waits",
                "the output takes nothing",
                "look at what reads it",
            )),
            Err(_) => Ok(self.shared.counts.line()),
        }
    }

    /// Ends the threads, and gives all that waits, and the open socket, to the program that `restart` executes. Returns
    /// only when that failed: then with what a new `start` goes on with. A try that is on its way gets the time to end.
    ///
    /// # Errors
    ///
    /// `alert` has just used up its tries. A thread did not end, so that nothing could be carried over.
    pub fn restart(mut self, restart: &Restart, signals: &Signals) -> Result<Inputs, Error> {
        let deadline = self.end(true) + JOIN_GRACE;
        let failed = |answer: String| Error::start("cannot restart", answer, "start it again");
        let busy = |what: &str| failed(format!("thread {what} does not end"));
        let socket = self.sockets.recv_deadline(deadline);
        let socket = socket.map_err(|_| busy("mail-recv"))?;
        let left = match self.left.recv_deadline(deadline) {
            Ok(left) => left,
            Err(_) => return Err(self.gave_up.try_recv().unwrap_or(busy("mail-deliver"))),
        };
        self.crew.join_until(deadline); // Who hangs still is mail-send, or asks for a name.
        crate::notice!("{}", self.shared.counts.line());
        let carried = Carried::new(&socket, left);
        let write = |carrier: &mut Carrier| carried.write(carrier);
        let leaving = Leaving {
            open: vec![socket.as_fd()],
            payload: Some(&write),
            ..Leaving::default()
        };
        let Err(error) = restart.execute(&leaving, signals);
        crate::err!("{error}");
        Ok(Inputs {
            teller: Teller::open(&self.config)?,
            left: Some(carried.into_left()),
            socket,
        })
    }

    /// Asks the threads to end, and says until when they may go on.
    fn end(&mut self, keeps: bool) -> Instant {
        let at = Instant::now() + self.config.drain;
        let _ = self.shared.stop.set(Stop { at, keeps }); // Only here.
        self.waker.wake();
        self.tell_refused();
        at
    }

    fn tell_refused(&mut self) {
        let refused = self.shared.counts.refused.load(Relaxed);
        self.limiter.add(refused - self.told_refused);
        self.told_refused = refused;
        if let Some(count) = self.limiter.due(Instant::now()) {
            let last = self.shared.lock().last_refusal.clone();
            crate::warning!(
                "{count} datagrams on {} were no records and are left out, the last: {last}",
                self.config.socket.display()
            );
        }
    }
}

impl Shared {
    fn new(singles_max: usize) -> Shared {
        Shared {
            waiting: Mutex::new(Waiting {
                batch: Batch::new(singles_max),
                last_refusal: String::new(),
            }),
            stop: OnceLock::new(),
            counts: Counts::default(),
        }
    }

    fn stop_at(&self) -> Option<Instant> {
        self.stop.get().map(|stop| stop.at)
    }

    /// Whether the end that is asked for is a restart.
    fn keeps(&self) -> bool {
        self.stop.get().is_some_and(|stop| stop.keeps)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic in a thread ends the process anyway.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, which from now on is nothing.
    fn take(&self, singles_max: usize) -> Batch {
        std::mem::replace(&mut self.lock().batch, Batch::new(singles_max))
    }
}

impl Counts {
    fn line(&self) -> String {
        format!(
            "{} records came, {} alerts told in {} deliveries, {} alerts printed, {} datagrams refused",
            self.records.load(Relaxed),
            self.mailed.load(Relaxed),
            self.deliveries.load(Relaxed),
            self.printed.load(Relaxed),
            self.refused.load(Relaxed)
        )
    }
}

/// Alerts that are told at once; 0 for never.
fn level(config: &Config) -> u64 {
    match config.way {
        Way::Print => 1, // Each at once.
        Way::Mail(_) | Way::Exec { .. } => config.level,
    }
}

/// Alerts of a batch, singly told or only counted.
fn size(batch: &Batch) -> u64 {
    batch.alerts().saturating_add(batch.summed())
}

/// A wake-up that is on its way already says the same.
fn nudge(to: &Sender<()>) {
    let _ = to.try_send(());
}
