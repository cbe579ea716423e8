//! The four programs: their options and keywords, and what a package sets differently from their defaults.

#![forbid(unsafe_code)]

use clap::{Arg, Command, CommandFactory};
use flop::config::Keyword;
use flop::mail::{self, Kind};
use flop::options::{SERVSOCK_KEYWORDS, SOCKSERV_KEYWORDS, Servsock, Sockserv};

/// A program, as far as an installation has to know it.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Built, so that it has `--help` too.
    pub(crate) command: Command,
    pub(crate) keywords: &'static [Keyword],
    /// Keywords and values that an installed configuration file sets: FHS's places instead of /tmp.
    pub(crate) site: &'static [(&'static str, &'static str)],
    /// The test before a reload, beside the running daemon: it makes and disturbs nothing.
    pub(crate) reload: &'static str,
    /// In front of `-T` in the unit: `-` where a failed test is told, but no reason not to start.
    pub(crate) check: &'static str,
    /// The test before the start: of nothing that another process has to answer, for that may come later.
    pub(crate) test: &'static str,
    /// Lines of the unit: what starts before and after it, where it is there.
    pub(crate) order: &'static str,
    /// The prose of its manual page, and of that of its configuration file.
    pub(crate) prose: [&'static str; 2],
}

/// All of them.
pub(crate) fn all() -> [Program; 4] {
    let mut programs = [
        Program {
            name: "sockserv",
            command: Sockserv::command(),
            keywords: SOCKSERV_KEYWORDS,
            site: &[
                ("SnortSocket", "/run/flop/alerts"),
                ("DropSocket", "/run/flop/drop"),
                ("Control", "/run/flop/sockserv.ctrl"),
                // The IDS writes to the alert socket, as a member of the group flop.
                ("Umask", "007"),
            ],
            reload: "-T --offline",
            check: "",
            test: "-T --offline",
            order: "Before=snort.service snort3.service suricata.service barnyard2.service",
            prose: [
                include_str!("../../man/sockserv.8.in"),
                include_str!("../../man/sockserv.conf.5.in"),
            ],
        },
        Program {
            name: "servsock",
            command: Servsock::command(),
            keywords: SERVSOCK_KEYWORDS,
            site: &[
                ("DB", "sqlite:/var/lib/flop/alerts.db"),
                ("AlertSocket", "/run/flop/alert"),
                ("Control", "/run/flop/servsock.ctrl"),
                ("Umask", "077"),
            ],
            reload: "-T --offline",
            check: "",
            test: "-T --offline",
            order: "After=postgresql.service\nBefore=sockserv.service",
            prose: [
                include_str!("../../man/servsock.8.in"),
                include_str!("../../man/servsock.conf.5.in"),
            ],
        },
        Program {
            name: "drop",
            command: mail::options::command(Kind::Drop),
            keywords: mail::options::KEYWORDS,
            site: &[
                ("Socket", "/run/flop/drop"),
                ("MailRecipient", "root"),
                ("Umask", "077"),
            ],
            reload: "-D",
            check: "-", // A mail server that is away.
            test: "-T",
            order: "After=postfix.service exim4.service\nBefore=sockserv.service",
            prose: [
                include_str!("../../man/drop.8.in"),
                include_str!("../../man/mail.conf.5.in"),
            ],
        },
        Program {
            name: "alert",
            command: mail::options::command(Kind::Alert),
            keywords: mail::options::KEYWORDS,
            site: &[
                ("Socket", "/run/flop/alert"),
                ("MailRecipient", "root"),
                ("Umask", "077"),
            ],
            reload: "-D",
            check: "-", // A mail server that is away.
            test: "-T",
            order: "After=postfix.service exim4.service\nBefore=servsock.service",
            prose: [
                include_str!("../../man/alert.8.in"),
                include_str!("../../man/mail.conf.5.in"),
            ],
        },
    ];
    for program in &mut programs {
        program.command.build();
    }
    programs
}

impl Program {
    /// One line about it.
    pub(crate) fn about(&self) -> String {
        self.command
            .get_about()
            .map(ToString::to_string)
            .expect("each program has one")
    }

    /// The options that are for operators.
    pub(crate) fn options(&self) -> impl Iterator<Item = &Arg> {
        self.command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
    }

    /// The option of a keyword.
    pub(crate) fn option(&self, keyword: &Keyword) -> &Arg {
        self.command
            .get_arguments()
            .find(|arg| arg.get_id() == keyword.option)
            .expect("the table of keywords names options that exist")
    }
}

/// Whether an option takes a value.
pub(crate) fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

/// What `--help` calls the value.
pub(crate) fn value_name(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names.join(" "),
        None => "VALUE".to_owned(),
    }
}

/// The value that an option has when nobody gives it.
pub(crate) fn default(arg: &Arg) -> Option<String> {
    match arg.get_default_values() {
        [] => None,
        values => Some(
            values
                .iter()
                .map(|value| value.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" "),
        ),
    }
}

/// The help text, of which `--help` prints the first paragraph at least.
pub(crate) fn help(arg: &Arg) -> String {
    arg.get_long_help()
        .or_else(|| arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default()
}
