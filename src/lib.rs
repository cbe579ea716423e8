//! FLoP: the alerts of every IDS of every sensor, in one database, none lost, none twice.
//!
//! ```text
//! sockserv  IDS socket -> sensor/receiver: ids, wire -> buffer -> sensor/sender -> net
//!                                                         alerts |  ^ acknowledged
//! servsock  net -> central/receiver: wire -> buffer -> central/writer -> store -> database
//! ```
//!
//! Uses go downwards only:
//!
//! - programs: `bin/*`, the only ones to end the process
//! - roles: `sensor`, `central`, `mail`: they own the threads
//! - mechanisms: `buffer`, `spool`, `net`, `dgram`, `store`, `ctrl`, `process`, `crew`, `log`, `clock`, `teller`,
//!   `own_file`, `wake`: one facility each
//! - values: `alert`, `ids`, `wire`, `calendar`, `dropped`, `status`, `error`: no I/O, clock, thread or log line
//!
//! `options` stands beside them: it checks the command line with the types of those above. `preflight` (-T) looks at what
//! a configuration names.

#[cfg(feature = "broken-promises")]
pub(crate) mod broken;

pub mod alert;
pub mod calendar;
pub mod ids;
pub mod wire;

pub mod buffer;
pub mod clock;
pub mod crew;
pub mod ctrl;
pub mod dgram;
pub mod log;
pub mod net;
pub mod own_file;
pub mod process;
pub mod spool;
pub mod store;
pub mod teller;
pub mod wake;

pub mod central;
pub mod mail;
pub mod sensor;

pub mod config;
pub mod daemon;
pub mod dropped;
pub mod error;
pub mod keywords;
pub mod options;
pub mod preflight;
pub mod status;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod simulation;
