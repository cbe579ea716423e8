//! `-T`: looks at everything that a configuration names, and makes and disturbs nothing: no file is created, no socket
//! bound, and a daemon that runs with the same configuration does not notice.
//!
//! Each look ends in a `Finding`, a sentence. A place that a running daemon of the same program has is fine: -T is asked
//! before a restart, too. What only another process can answer (the server, the database, the reader of a socket) is left
//! out with `--offline`.

#![forbid(unsafe_code)]

mod central;
mod paths;
mod remote;
mod sensor;

pub use central::servsock;
pub use sensor::sockserv;

use std::process::ExitCode;

/// Whether files can be made in a directory.
///
/// # Errors
///
/// The part of a sentence that says why not.
pub fn can_make_files(directory: &std::path::Path) -> Result<(), String> {
    paths::can_make_files(directory)
}

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Fine(String),
    /// Not as it should be, and no reason not to start.
    Warning(String),
    /// The start, or the daemon's work, would fail.
    Wrong(String),
}

/// Prints the findings and the verdict; exit code 0 if nothing is wrong, else 1.
pub fn tell(findings: Vec<Finding>) -> ExitCode {
    let mut wrong = 0;
    for finding in &findings {
        match finding {
            Finding::Fine(text) => crate::info!("{text}"),
            Finding::Warning(text) => crate::warning!("{text}"),
            Finding::Wrong(text) => {
                wrong += 1;
                crate::err!("{text}");
            }
        }
    }
    match wrong {
        0 => {
            crate::notice!("the configuration is fine");
            ExitCode::SUCCESS
        }
        1 => {
            crate::err!("the configuration is not fine: 1 thing is wrong, see above");
            ExitCode::FAILURE
        }
        wrong => {
            crate::err!("the configuration is not fine: {wrong} things are wrong, see above");
            ExitCode::FAILURE
        }
    }
}
