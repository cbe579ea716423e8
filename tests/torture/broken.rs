//! The test of the test: where a promise is broken on purpose, it says so. Only in a build that can break promises.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Each promise, and the faults that bring it to light.
const BROKEN: [(&str, &str); 2] = [
    (
        "acknowledge-before-commit",
        "worker: kill -9,workers: kill -9",
    ),
    ("forget-before-acknowledgement", "line: cut, and cut again"),
];
const ROUNDS: &str = "6";
/// Whether a round meets the moment that counts is chance: so many seeds, one after another, all miss it hardly ever.
const SEEDS: std::ops::RangeInclusive<u32> = 1..=12;

#[test]
fn a_promise_that_is_broken_on_purpose_is_found() {
    // The folders of broken rounds stay; here nobody will look into them.
    let folder = tempfile::tempdir().expect("a temporary folder");
    set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder of ours");
    for (promise, faults) in BROKEN {
        let found = SEEDS.into_iter().find_map(|seed| {
            let output = rounds(promise, faults, seed, folder.path());
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            (!output.status.success()).then_some(said)
        });
        let said = found.unwrap_or_else(|| panic!("{promise} is not found"));
        assert!(
            said.lines().any(|line| line.contains(" are lost: ")),
            "{promise} is not found to lose alerts:\n{said}"
        );
    }
}

fn rounds(promise: &str, faults: &str, seed: u32, folder: &Path) -> Output {
    let this = std::env::current_exe().expect("a program");
    Command::new(this)
        .args(["--nocapture", "nothing_is_lost"])
        .envs([("FLOP_BREAK", promise), ("FAULTS", faults)])
        .envs([("ROUNDS", ROUNDS), ("SEED", &seed.to_string())])
        .env("TMPDIR", folder)
        .output()
        .expect("this program, once more")
}
