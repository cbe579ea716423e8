//! The control FIFOs of both programs. README.ctrl is the operator's page of this.

use crate::database::Kind;
use crate::site::Site;
use flop::ctrl::Program;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

const PROGRAMS: [&str; 2] = ["sockserv", "servsock"];

fn help(name: &str) -> &'static str {
    match name {
        "sockserv" => Program::Sockserv.help(),
        _ => Program::Servsock.help(),
    }
}

fn program<'a>(site: &'a mut Site, name: &str) -> &'a mut crate::program::Program {
    match name {
        "sockserv" => site.sockserv(),
        _ => site.servsock(),
    }
}

fn fifo(name: &str) -> String {
    format!("{name}.ctrl")
}

#[test]
fn the_fifo_is_for_its_owner_alone_and_removed_at_the_end() {
    let mut site = Site::new(Kind::Sqlite);
    for name in PROGRAMS {
        let file = fs::metadata(site.path(&fifo(name))).expect("the FIFO");
        assert_eq!(file.permissions().mode() & 0o7777, 0o600);
    }
    site.stop();
    for name in PROGRAMS {
        assert!(!site.path(&fifo(name)).exists());
    }
}

#[test]
fn a_fifo_of_a_living_process_is_refused() {
    let mut site = Site::new(Kind::Sqlite);
    let args = ["-s", "other", "--control", "sockserv.ctrl"];
    let mut second = site.run("sockserv", "second", &args);
    assert_eq!(second.exits().code(), Some(1));
    assert!(
        second.log().contains("a living process reads it"),
        "{}",
        second.log()
    );
    let args = ["-p", "0", "--control", "sockserv.ctrl"];
    let mut third = site.run("servsock", "third", &args);
    assert_eq!(third.exits().code(), Some(1));
    assert!(
        third.log().contains("a living process reads it"),
        "{}",
        third.log()
    );
    site.commands("sockserv.ctrl", "help");
    site.sockserv().says(help("sockserv"));
}

/// The line is a contract: monitoring reads it.
#[test]
fn statistics_are_one_line_with_the_change_since_the_last_in_brackets() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=12);
    site.database_gets(1..=12);
    site.statistics_say("sockserv", "sent 12 ");
    site.statistics_say("servsock", "stored 12 ");
    site.ids_sends_alerts(13..=20);
    site.database_gets(1..=20);
    // The first of these brings the change, the second has none.
    site.statistics_say("sockserv", "sent 20 ");
    site.commands("sockserv.ctrl", "stats");
    site.sockserv()
        .says("sockserv: received 20 [0], sent 20 [0], dropped 0 [0], buffered 0");
    site.statistics_say("servsock", "stored 20 ");
    site.commands("servsock.ctrl", "stats");
    site.servsock()
        .says("servsock: received 20 [0], stored 20 [0], dropped 0 [0], buffered 0");
    for (name, word) in [("sockserv", "sent"), ("servsock", "stored")] {
        let log = program(&mut site, name).log();
        let total = format!("{name}: received ");
        let lines = log.lines().filter(|line| line.starts_with(&total));
        // Brackets add up to the totals: no change is told twice or never.
        let mut sums = [0_u64; 3];
        for line in lines {
            let numbers = statistics(name, word, line);
            for (sum, (_, change)) in sums.iter_mut().zip(&numbers) {
                *sum += change;
            }
            let totals: Vec<u64> = numbers.iter().map(|(total, _)| *total).collect();
            assert_eq!(totals, sums, "{log}");
        }
        assert_eq!(sums, [20, 20, 0]);
    }
}

/// The three pairs of `received 1234 [12], sent 1200 [10], dropped 0 [0], buffered 34`; panics on any other form.
fn statistics(name: &str, word: &str, line: &str) -> Vec<(u64, u64)> {
    let parts: Vec<&str> = line
        .strip_prefix(&format!("{name}: "))
        .expect("the program's name")
        .split(", ")
        .collect();
    let [received, sent, dropped, buffered] = parts[..] else {
        panic!("four parts: {line}");
    };
    let number = |text: &str| {
        text.parse::<u64>()
            .unwrap_or_else(|_| panic!("{text:?} in {line}"))
    };
    let pair = |part: &str, word: &str| {
        let numbers = part
            .strip_prefix(word)
            .and_then(|rest| rest.strip_prefix(' '));
        let (total, change) = numbers.and_then(|rest| rest.split_once(" [")).expect(word);
        (
            number(total),
            number(change.strip_suffix(']').expect("a bracket")),
        )
    };
    number(buffered.strip_prefix("buffered ").expect("buffered"));
    vec![
        pair(received, "received"),
        pair(sent, word),
        pair(dropped, "dropped"),
    ]
}

#[test]
fn statistics_come_by_themselves_where_asked_for() {
    let mut site = Site::empty(Kind::Sqlite);
    site.start_servsock_with(&["-A", "1"]);
    site.start_sockserv_with(&["-A", "1"]);
    site.ids_sends_alerts(1..=5);
    site.sockserv().says("sockserv: received 5 [5], sent ");
    site.servsock().says("servsock: received 5 [5], stored ");
    site.sockserv().says("sockserv: received 5 [0], sent 5 [");
    site.servsock().says("servsock: received 5 [0], stored 5 [");
}

#[test]
fn high_and_low_take_effect_at_once_or_are_refused() {
    let mut site = Site::new(Kind::Sqlite);
    for name in PROGRAMS {
        for (command, answer) in [
            ("high 20000", "HighWater is 20000, LowWater is 9900"),
            ("low 15000", "HighWater is 20000, LowWater is 15000"),
            ("high 15000", "HighWater 15000 is not above LowWater 15000"),
            ("low 20000", "HighWater stays 20000, LowWater 15000"),
            ("high many", "`high many` is refused: it wants a number"),
        ] {
            site.commands(&fifo(name), command);
            program(&mut site, name).says(answer);
            // What cannot be understood gets one line a second.
        }
    }
    site.servsock().kill();
    site.sockserv().says("no connection to servsock");
    site.commands("sockserv.ctrl", "low 3");
    site.sockserv().says("HighWater is 20000, LowWater is 3");
    site.commands("sockserv.ctrl", "high 5");
    site.sockserv().says("HighWater is 5, LowWater is 3");
    site.ids_sends_alerts(1..=6);
    site.statistics_say("sockserv", "dropped 3 ");
}

#[test]
fn quit_stops_as_a_signal_does() {
    let mut site = Site::new(Kind::Sqlite);
    site.ids_sends_alerts(1..=10);
    for name in PROGRAMS {
        site.commands(&fifo(name), "quit");
        let program = program(&mut site, name);
        assert_eq!(program.exits().code(), Some(0));
        program.says("stopping: quit, from the control FIFO");
        program.says("stopped: received 10 [10]");
    }
    site.database_gets(1..=10);
}

#[test]
fn unknown_input_gets_one_line_and_harms_nothing() {
    let mut site = Site::new(Kind::Sqlite);
    for name in PROGRAMS {
        site.commands(&fifo(name), "\n  \nfrobnicate the sensor");
        let line = program(&mut site, name).says("unknown command");
        assert!(
            line.contains("`frobnicate the sensor`") && line.ends_with(help(name)),
            "{line}"
        );
        site.commands(&fifo(name), "help");
        program(&mut site, name).says(&format!("control: {}", help(name)));
    }
    let start = std::time::Instant::now();
    for _ in 0..100 {
        site.commands("sockserv.ctrl", "nonsense");
    }
    site.sockserv().says(" lines that are not understood)");
    let lines = site.sockserv().lines_with("unknown command");
    let seconds = usize::try_from(start.elapsed().as_secs()).expect("a short time");
    assert!(lines <= seconds + 3, "{lines} lines in {seconds} s");
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    site.stop();
}

#[test]
fn half_a_line_a_megabyte_without_newline_and_a_hanging_writer_harm_nothing() {
    let mut site = Site::new(Kind::Sqlite);
    for name in PROGRAMS {
        let open = || {
            File::options()
                .write(true)
                .open(site.path(&fifo(name)))
                .expect("the FIFO")
        };
        let mut hanging = open();
        hanging.write_all(b"sta").expect("room in the pipe");
        site.ids_sends(crate::serial::alerts(1..=1)); // Nothing waits for the rest of the line.
        hanging.write_all(b"ts\n").expect("room in the pipe");
        program(&mut site, name).says(": received ");
        let mut hanging = File::options()
            .write(true)
            .open(site.path(&fifo(name)))
            .expect("the FIFO");
        hanging.write_all(&[b'x'; 1 << 20]).expect("it is read");
        program(&mut site, name).says("a line of more than 1024 bytes is thrown away");
        hanging.write_all(b"\nhelp\n").expect("it is read");
        program(&mut site, name).says(&format!("control: {}", help(name)));
        drop(hanging);
        let mut noise = File::options()
            .write(true)
            .open(site.path(&fifo(name)))
            .expect("the FIFO");
        noise.write_all(b"\x00\xff\x1b[2J\n").expect("it is read");
        drop(noise);
    }
    site.database.has_alerts(2);
    site.stop();
    for name in PROGRAMS {
        let log = program(&mut site, name).log();
        assert!(
            !log.contains('\u{1b}'),
            "an escape sequence reached the log"
        );
        assert_eq!(log.matches("thrown away").count(), 1);
    }
}
