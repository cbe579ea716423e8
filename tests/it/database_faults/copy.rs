//! Connections that are cut, wherever that happens in a batch.

use super::gate::Gate;
use super::{BOTH_WAYS, start_servsock};
use crate::database::Kind;
use crate::program::eventually;
use crate::site::Site;

/// At each of many places of the stream of bytes: before, in and behind the COPYs of a batch.
#[test]
fn a_connection_cut_in_the_middle_of_copy_loses_and_doubles_nothing() {
    const CUTS: u32 = 12;
    const ALERTS: u32 = 300;
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        let server = site.database.clone();
        let gate = Gate::new(&server, site.folder());
        site.database = gate.database.clone();
        start_servsock(&mut site, waiting);
        site.database = server; // The test's own questions go the straight way.
        site.start_sockserv();
        site.ids_sends_alerts(1..=ALERTS);
        site.database_gets(1..=ALERTS);
        for cut in 1..=CUTS {
            // A batch of 300 has some 60,000 bytes.
            gate.cuts_after(i64::from(cut) * 4_999);
            let first = cut * ALERTS + 1;
            site.ids_sends_alerts(first..=first + ALERTS - 1);
            eventually("it is cut", || match gate.has_cut() {
                true => Ok(()),
                false => Err(String::from("it is not")),
            });
            site.database.has_alerts((first + ALERTS - 1) as usize);
        }
        let times = CUTS as usize;
        site.servsock()
            .says_times("the database takes alerts again, after", times);
        let told = site.servsock().lines_with("trying again, the alerts wait");
        assert_eq!(told, times, "one line for each cut");
        site.stop();
        site.database_gets(1..=(CUTS + 1) * ALERTS);
        assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
    }
}

#[test]
fn sessions_that_are_terminated_again_and_again_lose_and_double_nothing() {
    const ROUNDS: u32 = 10;
    const ALERTS: u32 = 500;
    for waiting in BOTH_WAYS {
        let mut site = Site::empty(Kind::Postgres);
        start_servsock(&mut site, waiting);
        site.start_sockserv();
        for round in 0..ROUNDS {
            let first = round * ALERTS + 1;
            site.ids_sends_alerts(first..=first + ALERTS - 1);
            site.database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            );
        }
        site.database_gets(1..=ROUNDS * ALERTS);
        assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
        site.stop();
        site.database_gets(1..=ROUNDS * ALERTS);
    }
}
