//! A PostgreSQL server that is there and says nothing: stopped, or stuck on a disk that hangs.

use super::{BEFORE, BOTH_WAYS, DURING, Waiting, begin, holds, is_over, is_told, site_in};
use crate::postgres_server::Cluster;
use crate::program::children_of;
use crate::site::Site;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CAUSE: &str = "it has not answered for 30 s";

/// Processes that are stopped until this is dropped, also when the test fails: stopped ones cannot end.
#[derive(Default)]
struct Frozen(Vec<u32>);

impl Frozen {
    /// A session that has ended meanwhile is none to be stopped.
    fn stop(&mut self, process: u32) {
        send(process, Signal::SIGSTOP);
        self.0.push(process);
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
    }
}

fn send(process: u32, signal: Signal) {
    let _ = kill(
        Pid::from_raw(i32::try_from(process).expect("a process id")),
        signal,
    );
}

/// servsock's session, stopped.
fn freeze_session(site: &Site) -> Frozen {
    let session = site
        .database
        .number("SELECT pid FROM pg_stat_activity WHERE application_name = 'servsock: sensor'");
    let mut frozen = Frozen::default();
    frozen.stop(u32::try_from(session).expect("a process id"));
    frozen
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
        let frozen = freeze_session(&site);
        lock.rollback().expect("the end of the lock");
        is_told(&mut site, waiting, CAUSE);
        drop(frozen);
        is_over(&mut site, waiting);
    }
}

/// Between two batches it has none, so the next session does its work.
#[test]
fn a_session_that_is_frozen_while_nothing_comes_is_done_without() {
    let cluster = Cluster::start();
    let mut site = site_in(&cluster);
    begin(&mut site, Waiting::AtTheSensor);
    let _frozen = freeze_session(&site);
    site.ids_sends_alerts(BEFORE + 1..=DURING);
    site.servsock().says(CAUSE);
    is_over(&mut site, Waiting::AtTheSensor);
}

#[test]
fn a_server_that_is_frozen_as_a_whole_is_away_until_it_goes_on() {
    for waiting in BOTH_WAYS {
        let cluster = Cluster::start();
        let mut site = site_in(&cluster);
        begin(&mut site, waiting);
        let mut frozen = Frozen::default();
        frozen.stop(cluster.pid()); // First: it starts no more sessions then.
        for session in children_of(cluster.pid()) {
            frozen.stop(session);
        }
        holds(&mut site, waiting, CAUSE);
        drop(frozen);
        is_over(&mut site, waiting);
    }
}
