//! The manual pages say everything, and are sound.

use crate::programs;
use crate::support::{read, run, tree};
use std::process::Command;

/// EXAMPLES come first on purpose.
const CONVENTION: &str = "sections out of conventional order: Sh DESCRIPTION";

#[test]
fn each_option_is_in_the_page_and_each_keyword_in_that_of_the_file() {
    let tree = tree();
    for program in programs::all() {
        let name = program.name;
        let page = read(&tree, &format!("usr/share/man/man8/{name}.8"));
        for option in program.options() {
            let long = option.get_long().expect("each option has a long name");
            let item = match option.get_short() {
                Some(letter) => format!(".It Fl {letter} , Fl -{long}"),
                None => format!(".It Fl -{long}"),
            };
            let is_it = |line: &str| line == item || line.starts_with(&format!("{item} Ar "));
            assert!(page.lines().any(is_it), "{name}: {item}");
        }
        let page = read(&tree, &format!("usr/share/man/man5/{name}.conf.5"));
        for keyword in program.keywords {
            let item = format!(".It Ic {} : Ar ", keyword.name);
            assert!(page.contains(&item), "{name}: {item}");
        }
    }
}

#[test]
fn options_are_grouped_as_in_the_help() {
    let tree = tree();
    let page = read(&tree, "usr/share/man/man8/drop.8");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    let [mail, recipient] = [".Ss Mail\n", ".It Fl r , Fl -recipient"].map(place);
    let [daemon, background] = [".Ss Daemon\n", ".It Fl b , Fl -background"].map(place);
    assert!(mail < recipient && recipient < daemon && daemon < background);
}

#[test]
fn hidden_options_stay_hidden() {
    let page = read(&tree(), "usr/share/man/man8/servsock.8");
    assert!(!page.contains("Fl -worker"));
}

#[test]
fn mandoc_finds_nothing_wrong() {
    let tree = tree();
    for program in programs::all() {
        for page in [
            format!("man8/{}.8", program.name),
            format!("man5/{}.conf.5", program.name),
        ] {
            let path = tree.path().join("usr/share/man").join(page);
            let (_, said) = run(Command::new("mandoc")
                .args(["-T", "lint", "-W", "warning"])
                .arg(path));
            let wrong: Vec<&str> = said
                .lines()
                .filter(|line| !line.ends_with(CONVENTION))
                .collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}
