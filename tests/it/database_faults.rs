//! Each state in which a database takes no alerts, made for real. With a swap (`-W`) and without: the operator reads one
//! line when it begins and one when it is over, nobody ends or spins, and afterwards every alert is stored once.

mod content;
mod copy;
mod frozen;
mod gate;
mod postgres;
mod sqlite;
mod tmpfs;

use crate::database::{Database, Kind};
use crate::postgres_server::Cluster;
use crate::program::eventually;
use crate::site::Site;
use std::fs;
use std::time::{Duration, Instant};

/// Whether alerts wait on servsock's disk or at their sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    AtTheSensor,
    InTheSwap,
}

const BOTH_WAYS: [Waiting; 2] = [Waiting::AtTheSensor, Waiting::InTheSwap];

/// Alerts stored before the state begins, the last sent during it, the last of all.
const BEFORE: u32 = 50;
const DURING: u32 = 550;
const ALL: u32 = 600;

/// A site with a database of this server.
fn site_in(cluster: &Cluster) -> Site {
    let mut site = Site::empty(Kind::Sqlite);
    site.database = Database::Postgres(cluster.create_database());
    site
}

/// Starts servsock and sockserv, and has the first alerts stored.
fn begin(site: &mut Site, waiting: Waiting) {
    start_servsock(site, waiting);
    site.start_sockserv();
    site.ids_sends_alerts(1..=BEFORE);
    site.database_gets(1..=BEFORE);
}

fn start_servsock(site: &mut Site, waiting: Waiting) {
    match waiting {
        Waiting::AtTheSensor => site.start_servsock(),
        Waiting::InTheSwap => {
            fs::create_dir_all(site.path("swap")).expect("a folder");
            site.start_servsock_with(&["-W", "swap"]);
        }
    }
}

/// The state is there: alerts come, and wait. `cause` is what the operator has to read.
fn holds(site: &mut Site, waiting: Waiting, cause: &str) {
    site.ids_sends_alerts(BEFORE + 1..=DURING);
    is_told(site, waiting, cause);
}

/// Alerts up to `DURING` have come.
fn is_told(site: &mut Site, waiting: Waiting, cause: &str) {
    let workers = site.servsock().children();
    site.servsock().says("trying again, the alerts wait");
    site.servsock().says(cause);
    needs_attention(site, "servsock");
    match waiting {
        Waiting::AtTheSensor => needs_attention(site, "sockserv"),
        Waiting::InTheSwap => {
            site.statistics_say("sockserv", &format!("sent {DURING} ["));
        }
    }
    nobody_spins(&workers);
    assert_eq!(site.servsock().children(), workers, "no process ended");
}

/// The state is over: all comes into the database, once and in order.
fn is_over(site: &mut Site, waiting: Waiting) {
    let workers = site.servsock().children();
    site.ids_sends_alerts(DURING + 1..=ALL);
    all_is_stored(site, waiting);
    assert_eq!(site.servsock().children(), workers, "no process ended");
    let lines = |text| {
        site.servsock
            .as_ref()
            .map(|servsock| servsock.lines_with(text))
    };
    assert_eq!(lines("trying again, the alerts wait"), Some(1), "told once");
    assert!(
        lines("is still away") <= Some(1),
        "told when there is another cause"
    );
    assert_eq!(
        lines("the database takes alerts again, after"),
        Some(1),
        "told once"
    );
    site.stop();
    site.database_gets(1..=ALL);
}

fn all_is_stored(site: &mut Site, waiting: Waiting) {
    site.database_gets(1..=ALL);
    site.servsock()
        .says("the database takes alerts again, after");
    if waiting == Waiting::InTheSwap {
        eventually("the swap is empty", || {
            match fs::read_dir(site.path("swap")).expect("the folder").count() {
                0 => Ok(()),
                count => Err(format!("{count} sensors are there")),
            }
        });
    }
    assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
}

/// `--status` of this program says that the database is away.
fn needs_attention(site: &Site, program: &str) {
    let control = format!("{program}.ctrl");
    let log = format!("status-{program}");
    eventually(&format!("{program} --status tells of it"), || {
        let _ = fs::remove_file(site.path(&format!("{log}.log")));
        let mut asked = site.run(program, &log, &["--status", "--control", &control]);
        let code = asked.exits().code();
        match asked.log() {
            text if code == Some(1) && text.contains("the database cannot be reached") => Ok(()),
            text => Err(text),
        }
    });
}

/// Over a second of waiting, a process has less than a fifth of it from the processor.
fn nobody_spins(workers: &[u32]) {
    const WATCHED: Duration = Duration::from_secs(1);
    let used = || workers.iter().map(|pid| ticks(*pid)).sum::<u64>();
    let (start, before) = (Instant::now(), used());
    eventually("the time is over", || match start.elapsed() >= WATCHED {
        true => Ok(()),
        false => Err(String::from("it is not")),
    });
    let (used, ticks_per_second) = (used() - before, 100);
    let allowed = start.elapsed().as_secs_f64() * f64::from(ticks_per_second) / 5.0;
    assert!(
        (used as f64) < allowed,
        "{used} of {allowed} ticks of 10 ms"
    );
}

/// What a process has used of the processor, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .expect("its name in parentheses")
        .1
        .split_ascii_whitespace()
        .collect();
    let number = |index: usize| fields[index].parse::<u64>().expect("a number");
    number(11) + number(12)
}
