//! What a `drop` or `alert` that restarts hands to the program that follows it in the same process: the open socket, and
//! all that waits to be told. JSON, so that the next version reads it too.

#![forbid(unsafe_code)]

use super::deliverer::Left;
use crate::dgram::Served;
use crate::error::Error;
use crate::process::{Carrier, LeftOpen, Restart};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Carried {
    descriptor: RawFd,
    /// Device and inode of the socket's file.
    file: (u64, u64),
    /// Where it is.
    path: OsString,
    left: Left,
}

impl Carried {
    pub(super) fn new(socket: &Served, left: Left) -> Carried {
        let open = socket.left_open();
        Carried {
            descriptor: open.descriptor,
            file: open.file,
            path: open.path.into_os_string(),
            left,
        }
    }

    /// What the program before this one in the same process left; `None` at an ordinary start.
    ///
    /// # Errors
    ///
    /// It cannot be read: then the alerts in it cannot be saved, and nothing is to be started over them.
    pub fn take(restart: &mut Restart) -> Result<Option<Carried>, Error> {
        let failed = |answer: String| {
            let tried = "cannot take over what waited before the restart";
            Error::start(tried, answer, "start it again")
        };
        let Some(mut payload) = restart.take_payload() else {
            return Ok(None);
        };
        let bytes = usize::try_from(payload.left()).unwrap_or(usize::MAX);
        let json = payload
            .take("what waited", bytes)
            .map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|error| failed(error.to_string()))
    }

    pub(super) fn write(&self, carrier: &mut Carrier) -> io::Result<()> {
        Ok(serde_json::to_writer(carrier, self)?)
    }

    /// The socket at `path`: the one that is open still, or where the configuration names another place now, or its file
    /// was taken away, a new one.
    ///
    /// # Errors
    ///
    /// As `Served::inherit` and `Served::bind`.
    pub(super) fn socket(&self, what: &str, path: &Path) -> Result<Served, Error> {
        let open = LeftOpen {
            descriptor: self.descriptor,
            file: self.file,
            path: Path::new(&self.path).to_owned(),
        };
        let mut left = vec![Served::inherit(what, &open)?];
        Served::bind_or_keep(what, path, &mut left)
    }

    pub(super) fn into_left(self) -> Left {
        self.left
    }
}
