//! The configuration files are accepted by the programs, and say what these do without them.

use crate::programs::{self, Program, default, takes_value};
use crate::support::{built, read, run, tree};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Lines in force, and lines that a `#` without a blank makes comments: settings that can be uncommented.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
}

fn dump(program: &Program, file: Option<&Path>) -> String {
    let mut command = Command::new(built(program.name));
    command.arg(match program.check {
        "" => "-d",
        _ => "-D",
    });
    if let Some(file) = file {
        command.arg("-c").arg(file);
    }
    if program.name == "alert" {
        command.args(["-r", "root"]); // It wants somebody to tell.
    }
    let (code, said) = run(&mut command);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn each_keyword_is_in_the_file_once() {
    let tree = tree();
    for program in programs::all() {
        for folder in ["usr/share/doc/flop/examples", "etc/flop"] {
            let text = read(&tree, &format!("{folder}/{}.conf", program.name));
            let keywords: Vec<&str> = settings(&text)
                .map(|line| {
                    line.trim_start_matches('#')
                        .split(": ")
                        .next()
                        .expect("a keyword")
                })
                .collect();
            let known: Vec<&str> = program
                .keywords
                .iter()
                .map(|keyword| keyword.name)
                .collect();
            assert_eq!(keywords, known, "{}", program.name);
        }
    }
}

#[test]
fn the_example_sets_the_defaults() {
    let tree = tree();
    for program in programs::all() {
        let file = tree
            .path()
            .join(format!("usr/share/doc/flop/examples/{}.conf", program.name));
        assert_eq!(dump(&program, Some(&file)), dump(&program, None));
    }
}

#[test]
fn the_defaults_in_the_installed_file_can_be_uncommented() {
    let tree = tree();
    for program in programs::all() {
        let path = format!("etc/flop/{}.conf", program.name);
        let text = read(&tree, &path);
        let without_default = |line: &str| {
            let name = line
                .trim_start_matches('#')
                .split(": ")
                .next()
                .expect("a keyword");
            let keyword = program.keywords.iter().find(|keyword| keyword.name == name);
            let option = program.option(keyword.expect("a known keyword"));
            takes_value(option) && default(option).is_none()
        };
        let uncommented: Vec<&str> = settings(&text)
            .map(|line| match without_default(line) {
                true => line,
                false => line.trim_start_matches('#'),
            })
            .collect();
        let before = dump(&program, Some(&tree.path().join(&path)));
        let file = tree.path().join("uncommented");
        fs::write(&file, uncommented.join("\n")).expect("a file");
        assert_eq!(dump(&program, Some(&file)), before);
    }
}

#[test]
fn the_installed_file_is_tested_as_fine_where_its_folders_are() {
    let tree = tree();
    for program in programs::all()
        .iter()
        .filter(|program| program.check.is_empty())
    {
        let path = format!("etc/flop/{}.conf", program.name);
        let here = tree.path().display();
        let text = read(&tree, &path)
            .replace("/run/flop", &here.to_string())
            .replace("/var/lib/flop", &here.to_string());
        let file = tree.path().join("here.conf");
        fs::write(&file, text).expect("a file");
        let mut command = Command::new(built(program.name));
        command.args(program.test.split(' ')).arg("-c").arg(&file);
        if program.name == "servsock" {
            command.args(["-p", "0"]);
        }
        let (code, said) = run(&mut command);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("the configuration is fine"), "{said}");
    }
}
