//! drop: takes what sockserv dropped from a unix datagram socket, and mails it; what it cannot mail it prints.

use flop::mail::{Kind, program};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(Kind::Drop)
}
