//! The examples of README.ctrl, run as they stand.

use crate::database::Kind;
use crate::program::eventually;
use crate::site::Site;
use std::process::Command;

/// Commands, and what they print below each other: as many lines.
#[derive(Debug)]
struct Example {
    commands: Vec<String>,
    answers: Vec<String>,
}

/// The paragraphs below `Examples` that are indented: one of commands, and the next one has their answers.
fn examples() -> Vec<Example> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/README.ctrl");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, below) = page
        .split_once("\nExamples\n--------\n")
        .expect("a heading `Examples`");
    let indented = |paragraph: &&str| paragraph.lines().all(|line| line.starts_with("    "));
    let paragraphs: Vec<Vec<String>> = below
        .split("\n\n")
        .map(|paragraph| paragraph.trim_matches('\n'))
        .filter(|paragraph| !paragraph.is_empty())
        .filter(indented)
        .map(|paragraph| {
            paragraph
                .lines()
                .map(|line| line.trim().to_owned())
                .collect()
        })
        .collect();
    assert_eq!(paragraphs.len() % 2, 0, "{paragraphs:#?}");
    let pairs = paragraphs.chunks_exact(2);
    pairs
        .map(|pair| Example {
            commands: pair[0].clone(),
            answers: pair[1].clone(),
        })
        .collect()
}

/// The daemon whose FIFO a command writes to, and the command with the FIFO where it is in the test.
fn here(command: &str) -> (&'static str, String) {
    let (echo, fifo) = command.rsplit_once(" > ").expect(command);
    assert!(echo.starts_with("echo "), "{command}");
    let program = match fifo {
        "/tmp/snort.ctrl" => "sockserv",
        "servsock.ctrl" => "servsock",
        _ => panic!("whose FIFO is {fifo}?"),
    };
    (program, format!("{echo} > {program}.ctrl"))
}

/// A line with `N` for its numbers if these are numbers of alerts.
fn masked(line: &str) -> String {
    if !line.contains(": received ") {
        return line.to_owned();
    }
    let mut masked = String::new();
    for char in line.chars() {
        match char.is_ascii_digit() {
            false => masked.push(char),
            true if masked.ends_with('N') => {}
            true => masked.push('N'),
        }
    }
    masked
}

#[test]
fn the_examples_of_readme_ctrl_are_true() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=12);
    site.database_gets(1..=12);
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:#?}");
    // How many lines of each log were compared with an answer, or stand in front of one.
    let mut read = [site.sockserv().log(), site.servsock().log()].map(|log| log.lines().count());
    for Example { commands, answers } in examples {
        assert_eq!(commands.len(), answers.len(), "{commands:?}: {answers:?}");
        for (command, answer) in commands.iter().zip(&answers) {
            let (program, script) = here(command);
            let status = Command::new("/bin/sh")
                .args(["-c", &script])
                .current_dir(site.folder())
                .status();
            assert!(status.expect("/bin/sh").success(), "{script}");
            let read = &mut read[usize::from(program == "servsock")];
            *read = eventually(&format!("{command:?} is answered with {answer:?}"), || {
                let log = match program {
                    "sockserv" => site.sockserv().log(),
                    _ => site.servsock().log(),
                };
                let mut lines = log.lines().skip(*read);
                match lines.position(|line| masked(line) == masked(answer)) {
                    Some(before) => Ok(*read + before + 1),
                    None => Err(format!("the log's end is {:?}", log.lines().last())),
                }
            });
        }
    }
    site.stop();
}
