//! Which files there are, and where: a tree that is copied to the root of a file system as it is.

#![forbid(unsafe_code)]

use crate::programs::{self, Program};
use crate::{configs, pages, templates};
use clap_complete::Shell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where the programs and their configuration will be.
pub(crate) struct Places<'a> {
    /// `/usr` or `/usr/local`.
    pub(crate) prefix: &'a str,
    /// `/etc`.
    pub(crate) sysconf: &'a str,
}

/// Writes the tree below a folder.
pub(crate) fn write_all(to: &Path, places: &Places<'_>) -> io::Result<()> {
    let tree = Tree { to, places };
    for program in programs::all() {
        tree.write_program(&program)?;
        tree.write_completions(program)?;
    }
    for (name, text) in [
        ("README.md", include_str!("../../README.md")),
        ("README.ctrl", include_str!("../../README.ctrl")),
        ("README.debug", include_str!("../../README.debug")),
    ] {
        tree.write(tree.prefix(&format!("share/doc/flop/{name}")), text)?;
    }
    let sysctl = include_str!("../../dist/sysctl.conf");
    tree.write(tree.prefix("lib/sysctl.d/30-flop.conf"), sysctl)?;
    let logcheck = include_str!("../../dist/logcheck");
    tree.write(tree.sysconf("logcheck/ignore.d.server/flop"), logcheck)
}

struct Tree<'a> {
    to: &'a Path,
    places: &'a Places<'a>,
}

impl Tree<'_> {
    fn prefix(&self, path: &str) -> PathBuf {
        Path::new(self.places.prefix).join(path)
    }

    fn sysconf(&self, path: &str) -> PathBuf {
        Path::new(self.places.sysconf).join(path)
    }

    fn write_program(&self, program: &Program) -> io::Result<()> {
        let name = program.name;
        let fill = |template: &str| self.fill(program, template);
        let [page, conf_page] = program.prose.map(fill);
        self.write(self.prefix(&format!("share/man/man8/{name}.8")), &page)?;
        let path = format!("share/man/man5/{name}.conf.5");
        self.write(self.prefix(&path), &conf_page)?;
        let unit = fill(include_str!("../../dist/unit.in"));
        let path = format!("lib/systemd/system/{name}.service");
        self.write(self.prefix(&path), &unit)?;
        let script = self.sysconf(&format!("init.d/{name}"));
        self.write(script.clone(), &fill(include_str!("../../dist/init.in")))?;
        fs::set_permissions(self.below(&script), fs::Permissions::from_mode(0o755))?;
        let path = format!("share/doc/flop/examples/{name}.conf");
        self.write(self.prefix(&path), &configs::example(program))?;
        let path = format!("flop/{name}.conf");
        self.write(self.sysconf(&path), &configs::installed(program))
    }

    fn fill(&self, program: &Program, template: &str) -> String {
        let name = program.name;
        let sbin = self.prefix("sbin");
        templates::fill(
            template,
            &[
                ("SYNOPSIS", &pages::synopsis(program)),
                ("OPTIONS", &pages::options(program)),
                ("KEYWORDS", &pages::keywords(program)),
                ("FORMAT", include_str!("../../man/format.in").trim_end()),
                ("COMMON", include_str!("../../man/common.in").trim_end()),
                ("EXIT", include_str!("../../man/exit.in").trim_end()),
                ("NAME", name),
                ("TITLE", &name.to_uppercase()),
                ("ABOUT", &program.about()),
                ("VERSION", env!("CARGO_PKG_VERSION")),
                ("SBINDIR", &sbin.to_string_lossy()),
                ("SYSCONFDIR", self.places.sysconf),
                ("RELOAD", program.reload),
                ("CHECK", program.check),
                ("TEST", program.test),
                ("ORDER", program.order),
            ],
        )
    }

    /// bash, zsh and fish each look for theirs in a place of their own.
    fn write_completions(&self, mut program: Program) -> io::Result<()> {
        let name = program.name;
        let zsh = match self.places.prefix {
            "/usr" => "vendor-completions", // Debian's for packages.
            _ => "site-functions",
        };
        for (shell, path) in [
            (
                Shell::Bash,
                format!("share/bash-completion/completions/{name}"),
            ),
            (Shell::Zsh, format!("share/zsh/{zsh}/_{name}")),
            (
                Shell::Fish,
                format!("share/fish/vendor_completions.d/{name}.fish"),
            ),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut program.command, name, &mut script);
            self.write(self.prefix(&path), &String::from_utf8_lossy(&script))?;
        }
        Ok(())
    }

    /// Where a path of the installed system is in the tree.
    fn below(&self, path: &Path) -> PathBuf {
        self.to.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn write(&self, path: PathBuf, text: &str) -> io::Result<()> {
        let path = self.below(&path);
        fs::create_dir_all(path.parent().unwrap_or(self.to))?;
        fs::write(path, text)
    }
}
