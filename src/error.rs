//! What ends a program, as the operator's line: what was tried, on what, what the system answered, what to do.

#![forbid(unsafe_code)]

use std::fmt;
use std::process::ExitCode;

/// Why a program ends.
#[derive(Debug)]
pub enum Error {
    /// An option's value is refused; exit code 2.
    Usage(String),
    /// Something cannot be opened, bound or started; exit code 1.
    Start {
        /// What was tried, on what: "cannot bind alert socket /tmp/snort".
        tried: String,
        /// What the system answered.
        answer: String,
        /// What to do; empty where the answer says it all.
        advice: String,
    },
}

impl Error {
    /// A `Start`.
    pub fn start(
        tried: impl Into<String>,
        answer: impl fmt::Display,
        advice: impl Into<String>,
    ) -> Error {
        Error::Start {
            tried: tried.into(),
            answer: answer.to_string(),
            advice: advice.into(),
        }
    }

    /// 2 for usage errors, else 1.
    pub fn exit_code(&self) -> ExitCode {
        self.code().into()
    }

    /// The same as a number, for the process that waits for a daemon.
    pub fn code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Start { .. } => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) => f.write_str(text),
            Error::Start {
                tried,
                answer,
                advice,
            } => {
                write!(f, "{tried}: {answer}")?;
                match advice.as_str() {
                    "" => Ok(()),
                    advice => write!(f, "; {advice}"),
                }
            }
        }
    }
}

impl std::error::Error for Error {}
