//! The parts of manual pages that follow from the programs' own tables, as mdoc(7).

#![forbid(unsafe_code)]

use crate::programs::{Program, default, help, takes_value, value_name};
use clap::{Arg, ArgAction};
use flop::config::Keyword;

/// Columns of a line of source.
const COLUMNS: usize = 80;

/// How the program is called: options with a letter, those with a long name only under OPTIONS.
pub(crate) fn synopsis(program: &Program) -> String {
    let with_letter = || {
        program
            .options()
            .filter_map(|arg| Some((arg.get_short()?, arg)))
    };
    let flags: String = with_letter()
        .filter(|(_, arg)| !takes_value(arg))
        .map(|(letter, _)| letter)
        .collect();
    let mut text = format!(".Nm\n.Op Fl {flags}\n");
    for (letter, arg) in with_letter().filter(|(_, arg)| takes_value(arg)) {
        text += &format!(".Op Fl {letter} Ar {}\n", escaped(&value_name(arg)));
    }
    text + ".Op Ar long options ..."
}

/// All options, in the groups of `--help`.
pub(crate) fn options(program: &Program) -> String {
    let mut groups: Vec<(Option<&str>, Vec<&Arg>)> = Vec::new();
    for arg in program.options() {
        let heading = arg.get_help_heading();
        match groups.iter_mut().find(|(group, _)| *group == heading) {
            Some((_, args)) => args.push(arg),
            None => groups.push((heading, vec![arg])),
        }
    }
    let mut text = String::new();
    for (heading, args) in groups {
        if let Some(heading) = heading {
            text += &format!(".Ss {}\n", escaped(heading));
        }
        text += ".Bl -tag -width Ds\n";
        for arg in args {
            text += &format!(".It {}\n{}", names(arg), explained(arg));
        }
        text += ".El\n";
    }
    text.trim_end().to_owned()
}

/// All keywords of the configuration file.
pub(crate) fn keywords(program: &Program) -> String {
    let mut text = ".Bl -tag -width Ds\n".to_owned();
    for keyword in program.keywords {
        text += &one_keyword(keyword, program.option(keyword));
    }
    text + ".El"
}

fn one_keyword(keyword: &Keyword, arg: &Arg) -> String {
    let value = match takes_value(arg) {
        true => escaped(&value_name(arg)),
        false => "yes | no".to_owned(),
    };
    let mut text = format!(".It Ic {} : Ar {value}\n", keyword.name);
    text += &explained(arg);
    if !takes_value(arg) {
        text += "Default:\n.Ql no .\n";
    }
    if keyword.secret {
        text += "A dump of the configuration does not show it.\n";
    }
    text += &format!("The option is\n.{} .\n", names(arg));
    text
}

/// `Fl s , Fl -socket Ar SOCKET`.
fn names(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| format!("Fl {letter}"));
    let long = arg.get_long().map(|long| format!("Fl -{}", escaped(long)));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    match takes_value(arg) {
        true => format!("{} Ar {}", names.join(" , "), escaped(&value_name(arg))),
        false => names.join(" , "),
    }
}

/// What it does, what it may be, what it is by default.
fn explained(arg: &Arg) -> String {
    let help = help(arg);
    let (first, further) = help.split_once("\n\n").unwrap_or((&help, ""));
    let (first, worked_out) = split_default(first);
    let further = further.split("\n\n").filter(|text| !text.is_empty());
    let paragraphs: Vec<String> = [first].into_iter().chain(further).map(sentence).collect();
    let mut text = paragraphs.join(".Pp\n");
    if takes_value(arg) {
        text += &possible_values(arg);
        if matches!(arg.get_action(), ArgAction::Append) && !help.contains("several times") {
            text += "May be given several times.\n";
        }
        if !arg.is_hide_default_value_set()
            && let Some(default) = default(arg)
        {
            text += &format!("Default:\n.Ql {} .\n", escaped(&default));
        }
    }
    if let Some(worked_out) = worked_out {
        text += &sentence(&format!("Default: {worked_out}"));
    }
    text
}

fn possible_values(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    if values.is_empty() {
        return String::new();
    }
    let mut text = ".Bl -tag -width Ds -compact\n".to_owned();
    for value in values {
        let help = value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        text += &format!(".It Cm {}\n{}", escaped(value.get_name()), sentence(&help));
    }
    text + ".El\n"
}

/// A help text's first paragraph may end with the default in words: `[default: for ever]`.
fn split_default(help: &str) -> (&str, Option<&str>) {
    let split = help
        .strip_suffix(']')
        .and_then(|help| help.rsplit_once(" [default: "));
    match split {
        Some((help, default)) => (help, Some(default)),
        None => (help, None),
    }
}

/// Lines, the last of which ends with a full stop; a new sentence begins a new line, as mdoc wants it.
fn sentence(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word = escaped(word);
        if !line.is_empty()
            && (line.ends_with(['.', '?', '!']) || line.len() + 1 + word.len() >= COLUMNS)
        {
            lines += &format!("{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line += " ";
        }
        line += &word;
    }
    let stop = match line.ends_with(['.', ':', '?', '!']) {
        true => "",
        false => ".",
    };
    format!("{lines}{line}{stop}\n")
}

/// What troff would take for its own; and a hyphen in front of an option's name is a minus sign, for copy and paste.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for char in text.chars() {
        match char {
            '\\' => shown.push_str("\\e"),
            '-' if !before.is_alphanumeric() => shown.push_str("\\-"),
            '.' | '\'' if shown.is_empty() => {
                shown.push_str("\\&");
                shown.push(char);
            }
            other => shown.push(other),
        }
        before = char;
    }
    shown
}
