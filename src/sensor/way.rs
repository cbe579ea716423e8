//! The alerts' way from the receiver to the sender: in memory, or over a spool on the disk.

#![forbid(unsafe_code)]

use super::disk::{Disk, Syncer};
use super::from_buffer::FromBuffer;
use super::from_spool::FromSpool;
use super::ledger::Ledger;
use super::outgoing::Outgoing;
use super::spooling::Spooling;
use super::status::{Spooled, Status};
use super::{Carried, sender, waker};
use crate::buffer::{self, Intake};
use crate::error::Error;
use crate::options::SensorConfig;
use crate::spool::Appender;
use crate::wake::Waker;
use crossbeam_channel::Receiver;
use std::path::PathBuf;
use std::sync::Arc;

/// Both ends of the way, and what is between them.
pub(super) struct Way {
    pub(super) intake: Intake,
    pub(super) outgoing: Box<dyn Outgoing>,
    pub(super) status: Status,
    pub(super) over_disk: Option<OverDisk>,
}

/// The threads' parts of a way over the disk.
pub(super) struct OverDisk {
    pub(super) disk: Disk,
    pub(super) syncer: Syncer,
    pub(super) dir: PathBuf,
}

/// What is left of such a way when its threads have ended.
pub(super) struct DiskEnd {
    pub(super) appender: Receiver<Appender>,
    pub(super) dir: PathBuf,
}

impl Way {
    /// Builds it. What a restart carried is on it already.
    ///
    /// # Errors
    ///
    /// The system has no room for a descriptor, or no random numbers.
    pub(super) fn build(
        config: &SensorConfig,
        sockets: Vec<String>,
        (spooling, carried): (Option<Spooling>, Option<Carried>),
        control: &Waker,
        send: &Waker,
    ) -> Result<Way, Error> {
        let taker = match spooling {
            Some(_) => waker()?,
            None => send.clone(),
        };
        let (mut intake, outlet, gauge) = buffer::new(config.water, taker.clone());
        let ledger = Ledger::new(control.clone(), taker.clone());
        let status = |spooled| Status::new(gauge, spooled, ledger, sockets, &config.server);
        let Some(mut spooling) = spooling else {
            let status = status(None);
            let outgoing = match carried {
                Some(carried) => FromBuffer::resume(
                    outlet,
                    status.clone(),
                    &mut intake,
                    carried.unspooled(sender::random_stream)?,
                ),
                None => FromBuffer::new(sender::random_stream()?, outlet, status.clone()),
            };
            return Ok(Way {
                intake,
                outgoing: Box::new(outgoing),
                status,
                over_disk: None,
            });
        };
        let held = Arc::new(spooling.hold(carried, &mut intake));
        let status = status(Some(Spooled {
            gauge: spooling.reader.gauge(),
            held: Arc::clone(&held),
        }));
        let Spooling {
            appender,
            reader,
            inherited,
            dir,
        } = spooling;
        let (disk, syncer, asks) = Disk::new(
            outlet,
            appender,
            Arc::clone(&held),
            status.clone(),
            taker,
            send.clone(),
        );
        let outgoing = FromSpool::new(reader, held, asks, status.clone(), inherited);
        Ok(Way {
            intake,
            outgoing: Box::new(outgoing),
            status,
            over_disk: Some(OverDisk { disk, syncer, dir }),
        })
    }
}
