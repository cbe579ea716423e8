//! alert: takes the important alerts that servsock stored from a unix datagram socket, and mails them; when it cannot
//! for long, it ends.

use flop::mail::{Kind, program};
use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(Kind::Alert)
}
