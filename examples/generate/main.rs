//! What is installed beside the programs: manual pages, completions, configuration files, units, init scripts. `make man`
//! runs it.
//!
//! The prose is in `man/` and `dist/`; options, keywords and defaults come from the programs' own tables, so that no page
//! can be behind them.
//!
//!     cargo run --example generate -- target/dist /usr/local /etc

#![forbid(unsafe_code)]

mod configs;
mod files;
mod pages;
mod programs;
mod templates;

use files::Places;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [to, prefix, sysconf] = args.as_slice() else {
        eprintln!("generate: needs DIRECTORY PREFIX SYSCONFDIR, as in target/dist /usr/local /etc");
        return ExitCode::from(2);
    };
    match files::write_all(Path::new(to), &Places { prefix, sysconf }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: cannot write into {to}: {error}");
            ExitCode::FAILURE
        }
    }
}
