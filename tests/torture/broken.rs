//! The test of the test: where a promise is broken on purpose, it says so. Only in a build that can break promises.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Each promise, and the faults that bring it to light.
const BROKEN: [(&str, &str); 2] = [
    (
        "acknowledge-before-commit",
        "worker: kill -9,workers: kill -9",
    ),
    ("forget-before-acknowledgement", "line: cut, and cut again"),
];
const ROUNDS: &str = "6";

#[test]
fn a_promise_that_is_broken_on_purpose_is_found() {
    let this = std::env::current_exe().expect("a program");
    // The folders of broken rounds stay; here nobody will look into them.
    let folder = tempfile::tempdir().expect("a temporary folder");
    set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a folder of ours");
    for (promise, faults) in BROKEN {
        let output = Command::new(&this)
            .args(["--nocapture", "nothing_is_lost"])
            .envs([("FLOP_BREAK", promise), ("FAULTS", faults)])
            .envs([("ROUNDS", ROUNDS), ("SEED", "1")])
            .env("TMPDIR", folder.path())
            .output()
            .expect("this program, once more");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{promise} is not found:\n{said}");
        let lost = said.lines().filter(|line| line.contains(" are lost: "));
        assert!(
            lost.count() > 0,
            "{promise} is not found to lose alerts:\n{said}"
        );
    }
}
