//! The benchmark of the programs: `make bench` in a quarter of an hour, `make bench-quick` in two minutes.
//!
//! Each line of its table is measured on the real programs, and beside it, by turns, a small program that does the
//! least that the same work can be: see `null_receiver`, `copy_1000`, `plain_sqlite`, `tcp_pump`. The ratio is what
//! counts; the absolute figures are those of the machine.

#![forbid(unsafe_code)]

#[path = "../../tests/support/postgres.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the tests need more of it, from a crate of their own"
)]
mod cluster;
mod copy_1000;
#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;
mod lines;
mod load;
mod machine;
mod null_receiver;
mod paired;
mod plain_sqlite;
mod plan;
mod process;
mod sender;
mod sensor;
mod server;
mod sink;
mod site;
mod table;
mod tcp_pump;

use plan::Plan;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use table::{Line, Report};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where the JSON goes when no file is named.
const JSON: &str = "target/speed.json";
const USAGE: &str = "\
speed: `make bench` and `make bench-quick` run this; or

    cargo bench --features null-store --bench speed -- full|quick [--json FILE] [WORD ...]

With words only the groups of lines are measured whose names contain one of them, and JSON is written to FILE only. For a look with a profiler at programs
started by hand, `send SOCKET COUNT` sends alerts of the usual mix as Snort does, `send-eve` as Suricata. The groups:";

fn main() -> ExitCode {
    // cargo adds an argument of its own.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [null_receiver::WORD, socket] => null_receiver::run(Path::new(socket)).map(|()| true),
        ["send", socket, count] => send(socket, load::Mix::Usual, count),
        ["send-eve", socket, count] => send(socket, load::Mix::Eve700, count),
        ["full", rest @ ..] => run(&Plan::FULL, rest),
        ["quick", rest @ ..] => run(&Plan::QUICK, rest),
        _ => {
            println!(
                "{USAGE}\n\n    {}",
                lines::ALL.map(|(name, _)| name).join(", ")
            );
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("speed: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn send(socket: &str, mix: load::Mix, count: &str) -> Result<bool> {
    let number = count
        .parse()
        .map_err(|_| format!("\"{count}\" is no number of alerts"))?;
    let sent = sender::send(Path::new(socket), mix, 0, number)?;
    println!("{count} in {:.3} s", sent.took.as_secs_f64());
    Ok(true)
}

/// Measures, prints and writes the table. `false`: there are lines that could not be measured.
fn run(plan: &Plan, words: &[&str]) -> Result<bool> {
    let (json, words) = match words {
        ["--json", file, rest @ ..] => (Some(*file), rest),
        // A part does not take the place of the whole table.
        [] => (Some(JSON), words),
        _ => (None, words),
    };
    for word in words {
        if !lines::ALL.iter().any(|(name, _)| name.contains(word)) {
            let names = lines::ALL.map(|(name, _)| name).join(", ");
            return Err(format!(
                "no group of lines has \"{word}\" in its name; there are: {names}"
            )
            .into());
        }
    }
    let server = server::Server::start()?;
    let mut machine = machine::Machine::look(plan.name, server.version()?)?;
    let bench = lines::Bench::new(plan, &server);
    let (lines, failed) = measure(&bench, plan, words);
    machine.load_after = machine::load_average()?;
    println!("{machine}\n\n{}", table::markdown(&lines));
    for failure in &failed {
        println!("not measured: {failure}");
    }
    let report = Report {
        machine: &machine,
        lines: &lines,
        failed: &failed,
    };
    if let Some(json) = json {
        fs::write(json, serde_json::to_vec_pretty(&report)?)
            .map_err(|error| format!("cannot write the table to {json}: {error}"))?;
        println!("as JSON: {json}");
    }
    Ok(failed.is_empty())
}

fn measure(bench: &lines::Bench<'_>, plan: &Plan, words: &[&str]) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for (name, group) in lines::ALL {
        let is_wanted = match words {
            [] => !plan.leaves_out.contains(&name),
            words => words.iter().any(|word| name.contains(word)),
        };
        if !is_wanted {
            continue;
        }
        let start = Instant::now();
        eprint!("{name}: ");
        match group(bench) {
            Ok(measured) => lines.extend(measured),
            Err(error) => failed.push(format!("{name}: {}", with_causes(&*error))),
        }
        eprintln!("{:.0} s", start.elapsed().as_secs_f64());
    }
    (lines, failed)
}

/// An error of a PostgreSQL client says why only in its source.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
