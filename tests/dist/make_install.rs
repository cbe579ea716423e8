//! `make install` puts everything into its place, `make uninstall` takes away what it put there.

use crate::support::{built, run, tree};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let (_, said) = run(Command::new("find").arg(folder).args(["-type", "f"]));
    let inside = |path: &str| Path::new(path).strip_prefix(folder).map(Path::to_path_buf);
    said.lines()
        .map(|path| inside(path).expect("below it"))
        .collect()
}

/// With the programs and the tree that are there: nothing is built.
fn make(goal: &str, tree: &TempDir, root: &Path) {
    let programs = built("sockserv").parent().expect("a folder");
    let mut make = Command::new("make");
    make.current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--no-print-directory", "--silent", goal, "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("PROGRAMS_IN={}", programs.display()))
        .arg(format!("TREE={}", tree.path().display()))
        .arg(format!("--old-file={}/sockserv", programs.display()))
        .arg(format!("--old-file={}", tree.path().display()));
    let (code, said) = run(&mut make);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn everything_is_installed_and_taken_away_again_but_for_the_configuration() {
    let (tree, root) = (tree(), tempfile::tempdir().expect("a temporary folder"));
    let servsock_conf = root.path().join("etc/flop/servsock.conf");
    make("install", &tree, root.path());
    let mut expected = files(tree.path());
    let programs = ["sockserv", "servsock", "drop", "alert"];
    expected.extend(programs.map(|name| Path::new("usr/sbin").join(name)));
    assert_eq!(files(root.path()), expected);
    let mode = |path: &str| {
        let file = fs::metadata(root.path().join(path)).expect("it is there");
        file.permissions().mode() & 0o7777
    };
    assert_eq!(mode("usr/sbin/servsock"), 0o755);
    assert_eq!(mode("etc/init.d/servsock"), 0o755);
    assert_eq!(mode("usr/share/man/man8/servsock.8"), 0o644);
    fs::write(&servsock_conf, "Port: 1\n").expect("a file");
    make("install", &tree, root.path());
    assert_eq!(
        fs::read_to_string(&servsock_conf).expect("it is there"),
        "Port: 1\n"
    );
    make("uninstall", &tree, root.path());
    let left: BTreeSet<PathBuf> = programs
        .map(|name| Path::new("etc/flop").join(format!("{name}.conf")))
        .into();
    assert_eq!(
        files(root.path()),
        left,
        "what the administrator may have changed"
    );
}
