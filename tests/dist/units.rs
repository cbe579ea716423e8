//! systemd takes the units, and finds them closed.

use crate::programs;
use crate::support::{built, read, run, tree};
use std::fs;
use std::process::Command;

/// systemd-analyze's measure, times ten: 0 is closed, 100 is open. Ours talk to the network.
const EXPOSURE_MAX: &str = "20";

#[test]
fn systemd_takes_each_unit_and_finds_it_closed() {
    let tree = tree();
    for program in programs::all() {
        let name = program.name;
        let unit = read(&tree, &format!("usr/lib/systemd/system/{name}.service"));
        let there = built(name).display().to_string();
        let path = tree.path().join(format!("{name}.service"));
        fs::write(&path, unit.replace(&format!("/usr/sbin/{name}"), &there)).expect("a unit");
        let mut verify = Command::new("systemd-analyze");
        let (code, said) = run(verify.args(["verify", "--man=no"]).arg(&path));
        assert_eq!((code, said.as_str()), (Some(0), ""));
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=yes", "--no-pager"]);
        security.arg(format!("--threshold={EXPOSURE_MAX}"));
        let (code, said) = run(security.arg(&path));
        assert_eq!(code, Some(0), "{said}");
    }
}
