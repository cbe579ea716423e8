//! What Suricata lost on its way to us: its own count of its alerts against those that came on the same socket.
//!
//! A live Suricata drops a record when the socket's queue is full, or when it is longer than a datagram may be, and goes
//! on. But now and then it sends a stats record with the number of alerts it has raised since its start.
//!
//! Two facts of Suricata's order of doing things make a comparison of use:
//! - A thread sends an alert before it reports that it has counted it. So what a stats record counts has come in front of
//!   it, or will never come.
//! - Threads report every 3 s. So all that came some time ago is counted.
//!
//! Therefore `raised - came` grows by what is lost, and by nothing else for long: alerts that are sent and not reported yet
//! hold it back for a while. It is compared with `base`, its value if nothing more were lost. Of a Suricata that began
//! while we listened that is known. Else all that came lately is taken for not reported: then `base` is too high rather
//! than too low, until a quiet moment shows better.
//!
//! Invariant: no alert is called lost that came, or went to a sockserv before this one. In doubt - other alerts come on
//! the same socket, Suricata loads its rules anew - too few are.

#![forbid(unsafe_code)]

use crate::ids::Stats;
use crate::wire::item::LOSS_COUNT_MAX;
use std::time::{Duration, Instant};

/// After so long an alert is counted by Suricata, if ever: its threads are asked to report every 3 s, and do so with
/// their next packet or within a second.
const COUNTED_AFTER: Duration = Duration::from_secs(10);
/// Suricata's time since its start is a difference of two whole seconds.
const UPTIME_ERROR: Duration = Duration::from_secs(1);

/// Alerts that never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// How many were not told before.
    pub(super) count: u64,
    /// When the previous stats record came: microseconds since 1970.
    pub(super) since_us: i64,
}

/// The account of one socket.
pub(super) struct Before {
    alerts: u64,
    /// Datagrams that could not be read, and may have been alerts.
    refused: u64,
    /// At the latest stats record; at first, when we began to listen.
    last: Point,
    /// The same, but so long ago that all which had come by then is counted.
    counted: Point,
    process: Option<Process>,
}

/// A moment, and what had come by then.
#[derive(Clone, Copy)]
struct Point {
    at: Instant,
    at_us: i64,
    came: i64,
}

/// A Suricata, between two loads of its rules.
#[derive(Clone, Copy)]
struct Process {
    loaded_us: i64,
    raised: u64,
    /// What `raised - came` is if nothing more is lost.
    base: Option<i64>,
}

impl Before {
    /// We begin to listen.
    pub(super) fn new(at: Instant, at_us: i64) -> Before {
        let here = Point { at, at_us, came: 0 };
        Before {
            alerts: 0,
            refused: 0,
            last: here,
            counted: here,
            process: None,
        }
    }

    /// An alert of Suricata came.
    pub(super) fn alert(&mut self) {
        self.alerts += 1;
    }

    /// A datagram came that could not be read.
    pub(super) fn refused(&mut self) {
        self.refused += 1;
    }

    /// A stats record came. What is lost and was not told yet, as far as it is certain.
    pub(super) fn stats(&mut self, stats: Stats, at: Instant, at_us: i64) -> Option<Shortfall> {
        // Such a count is not Suricata's. The rest fits an i64 with room to add.
        if stats.raised > LOSS_COUNT_MAX {
            return None;
        }
        let raised = stats.raised.cast_signed();
        let came = (self.alerts + self.refused).cast_signed();
        let here = Point { at, at_us, came };
        let is_counted = at.saturating_duration_since(self.counted.at) >= COUNTED_AFTER;
        let base = self.base(&stats, &here, is_counted);
        // Where only stats records come, the alerts go elsewhere.
        let lost = match base {
            Some(base) if self.alerts > 0 => (raised - came - base).max(0),
            _ => 0,
        };
        let since_us = self.last.at_us;
        self.process = Some(Process {
            loaded_us: stats.loaded_us,
            raised: stats.raised,
            base: base.map(|base| base + lost),
        });
        self.last = here;
        if is_counted {
            self.counted = here;
        }
        (lost > 0).then(|| Shortfall {
            count: lost.unsigned_abs(),
            since_us,
        })
    }

    fn base(&self, stats: &Stats, here: &Point, is_counted: bool) -> Option<i64> {
        let raised = stats.raised.cast_signed();
        // As if nothing of what came since was counted.
        let most = is_counted.then(|| raised - self.counted.came);
        let is_known = |process: &&Process| {
            process.loaded_us == stats.loaded_us && process.raised <= stats.raised
        };
        match self.process.iter().find(is_known) {
            Some(process) => match (process.base, most) {
                (Some(base), Some(most)) => Some(base.min(most)),
                (base, most) => base.or(most),
            },
            // It has begun to count while we listened: what had come by then was another one's.
            None if self.began_since(stats, here) => Some(-self.last.came),
            None => most,
        }
    }

    fn began_since(&self, stats: &Stats, here: &Point) -> bool {
        let since = here.at.saturating_duration_since(self.last.at);
        Duration::from_secs(stats.uptime_secs).saturating_add(UPTIME_ERROR) <= since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::tests::fixtures::datagrams;
    use crate::ids::{self, Decoded, LinkType, Scratch};
    use proptest::prelude::*;

    /// Seconds in which a Suricata and its socket live.
    struct Scene {
        start: Instant,
        account: Before,
        lost: u64,
    }

    impl Scene {
        fn new() -> Scene {
            let start = Instant::now();
            Scene {
                start,
                account: Before::new(start, 0),
                lost: 0,
            }
        }

        fn alerts(&mut self, count: u64) -> &mut Scene {
            (0..count).for_each(|_| self.account.alert());
            self
        }

        /// At this second Suricata says that it runs for so long, and has raised so many.
        fn stats(&mut self, second: u64, uptime_secs: u64, raised: u64) -> &mut Scene {
            self.stats_of(1, second, uptime_secs, raised)
        }

        fn stats_of(
            &mut self,
            loaded_us: i64,
            second: u64,
            uptime_secs: u64,
            raised: u64,
        ) -> &mut Scene {
            let stats = Stats {
                loaded_us,
                uptime_secs,
                raised,
            };
            let at = self.start + Duration::from_secs(second);
            let at_us = i64::try_from(second).unwrap() * 1_000_000;
            let shortfall = self.account.stats(stats, at, at_us);
            self.lost += shortfall.map_or(0, |shortfall| shortfall.count);
            self
        }
    }

    /// The captures are whole runs, each with its stats record at the end. Of `own` two alerts were too long.
    #[test]
    fn of_what_a_real_suricata_raised_two_are_missing_and_no_more() {
        let mut scratch = Scratch::default();
        for (name, lost) in [
            ("own", 2),
            ("linkraw", 0),
            ("linksll", 0),
            ("linknull", 0),
            ("time0", 0),
            ("time2038", 0),
        ] {
            let mut scene = Scene::new();
            for datagram in datagrams(&format!("suricata7-eve-dgram-{name}")) {
                match ids::decode(&datagram, LinkType::Auto, &mut scratch) {
                    Ok(Decoded::Alert(_)) => {
                        scene.alerts(1);
                    }
                    Ok(Decoded::Stats(stats)) => {
                        scene.stats_of(stats.loaded_us, 5, stats.uptime_secs, stats.raised);
                    }
                    _ => {}
                }
            }
            assert_eq!(scene.lost, lost, "{name}");
        }
    }

    #[test]
    fn each_alert_that_never_came_is_told_once_and_since_when() {
        let mut scene = Scene::new();
        scene.alerts(10).stats(20, 8, 10);
        assert_eq!(scene.lost, 0);
        scene.alerts(5);
        let stats = Stats {
            loaded_us: 1,
            uptime_secs: 16,
            raised: 18,
        };
        let at = scene.start + Duration::from_secs(28);
        let expected = Shortfall {
            count: 3,
            since_us: 20_000_000,
        };
        assert_eq!(scene.account.stats(stats, at, 28_000_000), Some(expected));
        assert_eq!(scene.stats(36, 24, 18).lost, 0, "these were told");
        assert_eq!(scene.alerts(1).stats(44, 32, 20).lost, 1);
    }

    #[test]
    fn alerts_that_are_sent_and_not_counted_yet_hide_a_loss_only_for_a_while() {
        let mut scene = Scene::new();
        // 100 raised, 4 of them lost, 90 counted.
        scene.alerts(96).stats(20, 8, 90);
        assert_eq!(scene.lost, 0);
        assert_eq!(scene.stats(28, 16, 100).lost, 4);
    }

    #[test]
    fn what_a_suricata_raised_before_we_listened_is_not_lost() {
        let mut scene = Scene::new();
        // A former sockserv got 1,000. 5 of them are not counted in the first record.
        scene.alerts(2).stats(3, 500, 995).stats(11, 508, 1_002);
        assert_eq!(scene.lost, 0);
        scene.stats(19, 516, 1_002).stats(27, 524, 1_002);
        scene.alerts(7).stats(35, 532, 1_010);
        assert_eq!(scene.lost, 1, "after a quiet moment it is certain");
    }

    #[test]
    fn a_suricata_that_starts_again_counts_from_0() {
        let mut scene = Scene::new();
        scene.alerts(50).stats_of(1, 100, 90, 50);
        scene.alerts(4).stats_of(2, 120, 8, 6);
        assert_eq!(scene.lost, 2);
        // It has begun in the same second as that record came: nobody knows before which.
        scene
            .alerts(1)
            .stats_of(3, 128, 8, 1)
            .stats_of(3, 136, 16, 1);
        assert_eq!(scene.lost, 2);
    }

    #[test]
    fn two_suricatas_on_one_socket_are_never_said_to_lose() {
        let mut scene = Scene::new();
        for round in 1..50 {
            scene.alerts(3);
            scene.stats_of(1, round * 8, round * 8, 1_000 + round * 2);
            scene.stats_of(2, round * 8 + 1, round * 8, 5_000 + round);
        }
        assert_eq!(scene.lost, 0);
    }

    #[test]
    fn a_socket_on_which_only_stats_records_come_is_not_judged() {
        let mut scene = Scene::new();
        scene.account.refused();
        scene.stats(20, 8, 5).stats(28, 16, 900);
        assert_eq!(scene.lost, 0);
    }

    #[test]
    fn a_datagram_that_was_refused_may_have_been_the_alert() {
        let mut scene = Scene::new();
        scene.alerts(9).account.refused();
        assert_eq!(scene.stats(20, 8, 10).lost, 0);
    }

    #[test]
    fn counts_that_suricata_cannot_have_do_no_harm() {
        let mut scene = Scene::new();
        scene.alerts(1);
        for raised in [u64::MAX, 1 << 63, LOSS_COUNT_MAX + 1] {
            scene.stats(100, 0, raised).stats(200, u64::MAX, raised);
        }
        assert_eq!(scene.lost, 0);
        assert_eq!(scene.stats(300, 8, LOSS_COUNT_MAX).lost, LOSS_COUNT_MAX - 1);
        assert_eq!(scene.stats(310, u64::MAX, 0).lost, LOSS_COUNT_MAX - 1);
    }

    /// A second of a Suricata: what it raises, and how many of that do not get through; and at its end, perhaps, its
    /// threads report, it writes its stats, or is started anew.
    #[derive(Clone, Copy, Debug)]
    struct Second {
        raises: u64,
        loses: u64,
        reports: bool,
        writes: bool,
        restarts: bool,
    }

    fn second() -> impl Strategy<Value = Second> {
        (0..5_u64, 0..3_u64, 0..3, 0..6, 0..60).prop_map(
            |(raises, loses, reports, writes, restarts)| Second {
                raises,
                loses: loses.min(raises),
                reports: reports == 0,
                writes: writes == 0,
                restarts: restarts == 0,
            },
        )
    }

    proptest! {
        #[test]
        fn never_more_are_told_than_are_lost(
            seconds in proptest::collection::vec(second(), 1..200),
            listens_from in 0..40_usize,
        ) {
            let mut scene = Scene::new();
            let (mut loaded, mut started, mut raised, mut reported, mut lost) = (1, 0, 0, 0, 0);
            let mut reported_at = 0;
            for (number, second) in seconds.iter().enumerate() {
                let now = number as u64;
                let is_heard = number >= listens_from;
                raised += second.raises;
                // Threads report within the time that is taken for certain.
                if second.reports || now - reported_at >= COUNTED_AFTER.as_secs() - 1 {
                    (reported, reported_at) = (raised, now);
                }
                if is_heard {
                    scene.alerts(second.raises - second.loses);
                    lost += second.loses;
                }
                if second.writes && is_heard {
                    let since = now - listens_from as u64;
                    scene.stats_of(loaded, since, now - started, reported);
                    prop_assert!(scene.lost <= lost, "{} told, {lost} lost", scene.lost);
                }
                if second.restarts {
                    (loaded, started, raised, reported) = (loaded + 1, now + 1, 0, 0);
                }
            }
        }
    }
}
