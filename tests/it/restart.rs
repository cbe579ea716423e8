//! SIGHUP: nothing is lost, nothing comes twice, and the program on disk is the one that runs afterwards.

use crate::database::{BOTH, Kind};
use crate::program::eventually;
use crate::serial;
use crate::site::Site;
use nix::sys::signal::Signal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[test]
fn fifty_restarts_in_a_row_lose_and_double_nothing_while_alerts_arrive() {
    const ALERTS: u32 = 60_000;
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_servsock();
        site.start_sockserv_with(&["-H", "1000000", "-L", "900000"]);
        let pid = site.sockserv().pid();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (site, done) = (&site, &done);
            scope.spawn(move || {
                site.ids_sends_alerts(1..=ALERTS);
                done.store(true, Ordering::SeqCst);
            });
            let sockserv = site.sockserv.as_ref().expect("it was started");
            for restart in 1..=50 {
                sockserv.signal(Signal::SIGHUP);
                sockserv.says_times("sockserv: ready", restart + 1);
            }
        });
        site.database_gets(1..=ALERTS);
        assert_eq!(site.sockserv().pid(), pid, "the process stays the same");
        assert!(site.sockserv().is_running());
        let streams = site.database.number("SELECT count(*) FROM flop_stream");
        assert_eq!(streams, 1, "the stream goes on");
        site.stop();
        serial::are_stored(&site.database, "sensor", 1..=ALERTS);
        assert_eq!(site.database.number("SELECT count(*) FROM flop_loss"), 0);
    }
}

#[test]
fn a_restart_carries_alerts_and_losses_over_while_servsock_is_away() {
    for kind in BOTH {
        let mut site = Site::empty(kind);
        site.start_sockserv();
        site.ids_sends_alerts(1..=100);
        site.ids_sends([b"no alert at all"]);
        site.statistics_say("sockserv", "received 100 ");
        for restart in 1..=3 {
            site.sockserv().signal(Signal::SIGHUP);
            site.sockserv().says_times("sockserv: ready", restart + 1);
        }
        site.start_servsock();
        site.database_gets(1..=100);
        site.database.reaches("SELECT count(*) FROM flop_loss", 1);
        site.stop();
        let losses = site.database.query("SELECT count, reason FROM flop_loss");
        let reason = "refused: unknown length";
        assert_eq!(losses, [[Some("1".to_owned()), Some(reason.to_owned())]]);
    }
}

#[test]
fn a_restart_by_the_control_fifo_is_the_same() {
    let mut site = Site::new(crate::database::Kind::Sqlite);
    site.ids_sends_alerts(1..=10);
    site.commands("sockserv.ctrl", "restart");
    site.sockserv()
        .says("restarting: restart, from the control FIFO");
    site.sockserv().says_times("sockserv: ready", 2);
    site.ids_sends_alerts(11..=20);
    site.database_gets(1..=20);
    site.stop();
}

#[test]
fn a_program_that_was_replaced_runs_afterwards_and_one_that_is_gone_keeps_the_old_one_running() {
    let mut site = Site::empty(crate::database::Kind::Sqlite);
    site.start_servsock();
    let program = site.path("a-copy");
    std::fs::copy(env!("CARGO_BIN_EXE_sockserv"), &program).expect("a copy");
    site.start_sockserv_of(&program);
    std::fs::remove_file(&program).expect("it is there");
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says("this one goes on running");
    site.ids_sends_alerts(1..=10);
    site.database_gets(1..=10);
    std::fs::copy(env!("CARGO_BIN_EXE_sockserv"), &program).expect("a copy");
    site.sockserv().signal(Signal::SIGHUP);
    site.sockserv().says_times("sockserv: ready", 2);
    let exe = format!("/proc/{}/exe", site.sockserv().pid());
    assert_eq!(std::fs::read_link(exe).expect("it runs"), program);
    site.ids_sends_alerts(11..=20);
    site.database_gets(1..=20);
    site.stop();
}

#[test]
fn a_signal_to_stop_that_comes_in_the_middle_of_a_restart_stops() {
    for round in 0..30 {
        let site = Site::empty(BOTH[0]);
        for (program, args) in [
            ("sockserv", &["-s", "alerts", "-N", "s"][..]),
            ("servsock", &["-p", "0"]),
            ("drop", &["-s", "drops"]),
        ] {
            let mut running = site.run(program, program, args);
            running.says(": ready");
            running.signal(Signal::SIGHUP);
            // Wherever in its restart that finds it.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(round * 200) {
                std::hint::spin_loop();
            }
            running.signal(Signal::SIGTERM);
            assert_eq!(running.exits().code(), Some(0), "{}", running.log());
        }
    }
}

/// SIGHUP ends a program that has no handler yet, and says nothing. Sent all the time while it starts, it only restarts it.
#[test]
fn a_sighup_during_the_start_ends_nothing() {
    let mut site = Site::empty(Kind::Sqlite);
    let mut servsock = site.run(
        "servsock",
        "servsock",
        &[
            "-p",
            "0",
            "--db",
            "sqlite:alerts.db",
            "--control",
            "servsock.ctrl",
        ],
    );
    // The name that the system gives it before it is itself: only from then on it can do anything about signals.
    eventually("it has begun", || {
        match servsock.log().contains("alerts are stored in") {
            true => Ok(()),
            false if servsock.is_running() => Err("not yet".to_owned()),
            false => panic!("it ended"),
        }
    });
    servsock.signal(Signal::SIGHUP);
    servsock.says("restarting: SIGHUP");
    servsock.says_times("servsock: ready", 2);
    site.servsock = Some(servsock);
    site.stop();
}
