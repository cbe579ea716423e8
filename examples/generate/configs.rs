//! Configuration files: each keyword with what it is for, and its value.

#![forbid(unsafe_code)]

use crate::programs::{Program, default, help, takes_value, value_name};
use clap::Arg;
use flop::config::Keyword;

/// Columns of a comment.
const COLUMNS: usize = 100;

/// Each keyword with its default, in force; one without a default as a comment that names what it takes.
pub(crate) fn example(program: &Program) -> String {
    let head = "Each keyword with its default; one without a default stands behind a #.";
    file(program, head, |keyword, arg| match value(arg) {
        Some(value) => format!("{}: {value}", keyword.name),
        None => format!("#{}: {}", keyword.name, value_name(arg)),
    })
}

/// What an installation sets is in force, all else is a comment with its default.
pub(crate) fn installed(program: &Program) -> String {
    let head = "Behind a # stands the default.";
    file(program, head, |keyword, arg| {
        let set = program.site.iter().find(|(name, _)| *name == keyword.name);
        match (set, value(arg)) {
            (Some((name, value)), _) => format!("{name}: {value}"),
            (None, Some(value)) => format!("#{}: {value}", keyword.name),
            (None, None) => format!("#{}: {}", keyword.name, value_name(arg)),
        }
    })
}

fn file(program: &Program, head: &str, line: impl Fn(&Keyword, &Arg) -> String) -> String {
    let name = program.name;
    let mut text = format!("# {name}.conf: see {name}.conf(5). {head}\n");
    for keyword in program.keywords {
        let arg = program.option(keyword);
        text += "\n";
        for paragraph in help(arg).split("\n\n") {
            let end = if paragraph.ends_with(['.', ']', ':']) {
                ""
            } else {
                "."
            };
            text += &comment(&format!("{paragraph}{end}"));
        }
        if takes_value(arg) && !arg.get_possible_values().is_empty() {
            let values = arg.get_possible_values();
            let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
            text += &comment(&format!("One of: {}.", names.join(", ")));
        }
        text += &line(keyword, arg);
        text += "\n";
    }
    text
}

/// As a file writes it.
fn value(arg: &Arg) -> Option<String> {
    match (takes_value(arg), default(arg)) {
        (false, _) => Some("no".to_owned()),
        (true, Some(value)) if value.is_empty() => Some("\"\"".to_owned()),
        (true, value) => value.map(|value| value.replace('#', "\\#")),
    }
}

fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            lines += &format!("{line}\n");
            line = "#".to_owned();
        }
        line += " ";
        line += word;
    }
    lines + &line + "\n"
}
