//! The spool of this sockserv: opened while standard error is still the terminal, given what a restart carried, closed
//! at the end.

#![forbid(unsafe_code)]

use super::carried::{Carried, CarriedChunk};
use super::held::Held;
use super::sender::random_stream;
use crate::buffer::Intake;
use crate::error::Error;
use crate::options::SpoolConfig;
use crate::spool::{self, Appender, Reader, Recovered};
use std::path::{Path, PathBuf};

/// An open spool. While it lives, no other process can open it.
pub(super) struct Spooling {
    pub(super) appender: Appender,
    pub(super) reader: Reader,
    /// The last number that a process before this one may have sent.
    pub(super) inherited: u64,
    pub(super) dir: PathBuf,
}

impl Spooling {
    /// Opens the spool. `carried` is what a restart left: where it had no spool yet, its stream goes on in a new one.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, or another process uses it.
    pub(super) fn open(config: &SpoolConfig, carried: Option<&Carried>) -> Result<Spooling, Error> {
        let unspooled = carried.filter(|carried| !carried.is_spooled);
        let fresh = match unspooled {
            Some(carried) => carried.stream,
            None => random_stream()?,
        };
        let (appender, reader, recovered) = spool::open(&config.dir, &config.options, fresh)?;
        tell(config, &recovered);
        Ok(Spooling {
            inherited: recovered.inherited,
            dir: config.dir.clone(),
            appender,
            reader,
        })
    }

    /// One that was in use, and whose threads have ended.
    pub(super) fn again(appender: Appender, reader: Reader, dir: &Path) -> Spooling {
        Spooling {
            inherited: appender.next() - 1,
            appender,
            reader,
            dir: dir.to_owned(),
        }
    }

    /// Takes what a restart carried: sent items keep their numbers, if the stream is still theirs.
    pub(super) fn hold(&mut self, carried: Option<Carried>, intake: &mut Intake) -> Held {
        let stream = self.reader.stream();
        let is_same = carried
            .as_ref()
            .is_none_or(|carried| carried.stream == stream.id);
        if let Some(carried) = carried.as_ref().filter(|_| is_same) {
            // An error: a file stays for a while.
            let _ = self.reader.acknowledge(stream.number(carried.acknowledged));
            self.inherited = stream.number(carried.sent);
        }
        let counts = self.reader.counts();
        self.inherited = self.inherited.max(counts.acknowledged);
        let next = self.appender.next().max(counts.acknowledged + 1);
        let held = Held::new(next, counts.waiting() > 0);
        let mut moved = 0;
        for chunk in carried.map_or_else(Vec::new, |mut carried| carried.take_chunks()) {
            match chunk {
                CarriedChunk::Unsent(chunk) => intake.push_all(chunk.items()),
                CarriedChunk::Sent {
                    first,
                    chunk,
                    alerts,
                } if is_same => held.push_at(stream.number(first), chunk, alerts),
                CarriedChunk::Sent { chunk, alerts, .. } => {
                    moved += u64::from(chunk.len());
                    held.push(chunk, alerts);
                }
            }
        }
        if moved > 0 {
            crate::warning!(
                "{moved} alerts that were sent and not confirmed go into the stream of spool {}: some may be stored twice",
                self.dir.display()
            );
        }
        held
    }

    /// Closes it for the process that follows, and tells what waits there.
    pub(super) fn close(&mut self) {
        if let Err(trouble) = self.appender.close() {
            crate::warning!("{trouble}; nothing is lost by that");
        }
        let waiting = self.reader.counts().waiting();
        if waiting > 0 {
            crate::notice!(
                "{waiting} alerts wait in spool {} for the next start",
                self.dir.display()
            );
        }
    }
}

/// What `open` found, for the operator.
fn tell(config: &SpoolConfig, recovered: &Recovered) {
    let dir = config.dir.display();
    match recovered.waiting() {
        0 => {}
        waiting => crate::notice!("{waiting} alerts wait in spool {dir} from before"),
    }
    if let Some(torn) = &recovered.torn {
        crate::notice!(
            "the last {} bytes of {} were being written when sockserv ended, and are left out",
            torn.bytes,
            torn.file.display()
        );
    }
    for file in &recovered.headless {
        crate::warning!("the header of spool file {} cannot be read", file.display());
    }
    if let Some(answer) = &recovered.unsure {
        crate::warning!(
            "what waits in spool {dir} could not be brought to the disk: {answer}; it would not survive a power loss"
        );
    }
}
