//! What a `drop` or `alert` that restarts hands to the program that follows it in the same process: the open socket, and
//! all that waits to be told. JSON, so that the next version reads it too.

#![forbid(unsafe_code)]

use super::deliverer::Left;
use crate::dgram::Served;
use crate::error::Error;
use crate::process;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Carried {
    descriptor: RawFd,
    /// Where the socket is.
    path: OsString,
    left: Left,
}

impl Carried {
    /// Leaves the socket open for the next program.
    pub(super) fn new(socket: Served, left: Left) -> io::Result<Carried> {
        let (descriptor, path) = socket.leave()?;
        Ok(Carried {
            descriptor,
            path: path.into_os_string(),
            left,
        })
    }

    /// What the program before this one in the same process left; `None` at an ordinary start.
    ///
    /// # Errors
    ///
    /// It cannot be read: then the alerts in it cannot be saved, and nothing is to be started over them.
    pub fn take() -> Result<Option<Carried>, Error> {
        let failed = |answer: String| {
            Error::start(
                "cannot take over what waited before the restart",
                answer,
                "start it again",
            )
        };
        match process::carried().map_err(|error| failed(error.to_string()))? {
            None => Ok(None),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| failed(error.to_string())),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always become JSON")
    }

    /// The socket at `path`: the one that is open still, or where the configuration names another place now, a new one.
    ///
    /// # Errors
    ///
    /// As `Served::inherit` and `Served::bind`.
    pub(super) fn socket(&self, what: &str, path: &Path) -> Result<Served, Error> {
        let open = Served::inherit(what, self.descriptor, Path::new(&self.path));
        match self.path == path.as_os_str() {
            true => open,
            false => Served::bind(what, path), // The file of the other one is removed.
        }
    }

    pub(super) fn into_left(self) -> Left {
        self.left
    }
}
