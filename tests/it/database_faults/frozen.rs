//! A PostgreSQL server that is there and says nothing: stopped, or stuck on a disk that hangs.

use super::{BEFORE, BOTH_WAYS, DURING, begin, holds, is_over, is_told, site_in};
use crate::postgres_server::Cluster;
use crate::program::{children_of, signal_to};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CAUSE: &str = "it has not answered for 30 s";

/// Processes that are stopped until this is dropped, also when the test fails: stopped ones cannot end.
struct Frozen(Vec<u32>);

impl Frozen {
    fn new(processes: Vec<u32>) -> Frozen {
        let frozen = Frozen(processes);
        frozen
            .0
            .iter()
            .for_each(|pid| signal_to(*pid, Signal::SIGSTOP));
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let pid = Pid::from_raw(i32::try_from(*pid).expect("a process id"));
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
}

/// In the middle of a transaction, for then it has locks that nobody else gets.
#[test]
fn a_session_that_is_frozen_is_away_until_it_goes_on() {
    for waiting in BOTH_WAYS {
        let cluster = Cluster::start();
        let mut site = site_in(&cluster);
        begin(&mut site, waiting);
        let mut client = postgres::Client::connect(&site.database.url(), postgres::NoTls)
            .expect("the server runs");
        let mut lock = client.transaction().expect("a transaction");
        lock.batch_execute("LOCK TABLE iphdr IN SHARE MODE")
            .expect("the lock");
        site.ids_sends_alerts(BEFORE + 1..=DURING);
        site.database.reaches(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'servsock: sensor' AND wait_event_type = 'Lock'",
            1,
        );
        let session = site
            .database
            .number("SELECT pid FROM pg_stat_activity WHERE application_name = 'servsock: sensor'");
        let frozen = Frozen::new(vec![u32::try_from(session).expect("a process id")]);
        lock.rollback().expect("the end of the lock");
        is_told(&mut site, waiting, CAUSE);
        drop(frozen);
        is_over(&mut site, waiting);
    }
}

/// Between two batches it has none, so the next session does its work.
#[test]
fn a_session_that_is_frozen_while_nothing_comes_is_done_without() {
    for waiting in BOTH_WAYS {
        let cluster = Cluster::start();
        let mut site = site_in(&cluster);
        begin(&mut site, waiting);
        let session = site
            .database
            .number("SELECT pid FROM pg_stat_activity WHERE application_name = 'servsock: sensor'");
        let _frozen = Frozen::new(vec![u32::try_from(session).expect("a process id")]);
        site.ids_sends_alerts(BEFORE + 1..=DURING);
        site.servsock().says(CAUSE);
        is_over(&mut site, waiting);
    }
}

#[test]
fn a_server_that_is_frozen_as_a_whole_is_away_until_it_goes_on() {
    for waiting in BOTH_WAYS {
        let cluster = Cluster::start();
        let mut site = site_in(&cluster);
        begin(&mut site, waiting);
        let mut processes = children_of(cluster.pid());
        processes.push(cluster.pid());
        let frozen = Frozen::new(processes);
        holds(&mut site, waiting, CAUSE);
        drop(frozen);
        is_over(&mut site, waiting);
    }
}
