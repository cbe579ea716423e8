//! Important alerts, once they are stored: a JSON datagram each to the alert socket (`-U`, `-M`). Nothing here waits: a
//! reader that is away or slow costs a failed call a batch, and learns afterwards how many alerts it missed.

#![forbid(unsafe_code)]

use crate::alert::{Alert, SensorName};
use crate::dropped::{Dropped, summary};
use crate::log::Limiter;
use crate::wire::Item;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// While nobody reads, it is tried so often whether somebody does again.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Reason of the record that tells how many were missed.
const MISSED: &str = "nobody read the alert socket";

/// Tells of one sensor's alerts.
pub(super) struct Alarm {
    sensor: SensorName,
    to: Option<PathBuf>,
    priority: u32,
    /// Made when it is needed first.
    socket: Option<UnixDatagram>,
    missed: u64,
    tried: Instant,
    edges: Limiter,
    /// That nobody reads was told.
    told_unread: bool,
}

impl Alarm {
    pub(super) fn new(sensor: SensorName) -> Alarm {
        Alarm {
            sensor,
            to: None,
            priority: 0,
            socket: None,
            missed: 0,
            tried: Instant::now(),
            edges: Limiter::default(),
            told_unread: false,
        }
    }

    /// From now on alerts of priority 1 to `priority` go there.
    pub(super) fn set(&mut self, to: Option<PathBuf>, priority: u32) {
        if to != self.to {
            // What the old reader missed is nothing to the new one.
            (self.missed, self.told_unread) = (0, false);
        }
        (self.to, self.priority) = (to, priority);
    }

    /// Tells of the important ones among `items`, which are committed; their alerts have cids from `first_cid` on,
    /// where these are known.
    pub(super) fn tell(&mut self, sensor_sid: i64, first_cid: Option<i64>, items: &[Item<'_>]) {
        if self.to.is_none() {
            return;
        }
        let alerts = items.iter().filter_map(|item| match item {
            Item::Alert(alert) => Some(alert),
            Item::Loss(_) | Item::Gap(_) => None,
        });
        let mut is_read = self.tell_missed();
        for (number, alert) in (0..).zip(alerts) {
            if !self.is_important(alert) {
                continue;
            }
            if is_read {
                let cid = first_cid.map(|first| first + number);
                let reason = format!("priority {}", alert.priority);
                let record = Dropped::new(alert, &self.sensor, &reason);
                let json = record.stored_as(sensor_sid, cid).json();
                is_read = self.is_sent(&json);
            }
            self.missed += u64::from(!is_read);
        }
    }

    /// When `tell_missed` should be tried, if something was missed.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.missed > 0).then(|| self.tried + TRY_EVERY)
    }

    /// Tells how many were missed, once somebody reads again; whether nothing is left to be told.
    pub(super) fn tell_missed(&mut self) -> bool {
        let missed = self.missed;
        if missed > 0 && self.is_sent(&summary(missed, &self.sensor, MISSED)) {
            self.missed = 0;
            if std::mem::take(&mut self.told_unread) {
                crate::notice!(
                    "sensor \"{}\": the alert socket is read again; {missed} important alerts were missed",
                    self.sensor.name
                );
            }
        }
        self.missed == 0
    }

    fn is_important(&self, alert: &Alert<'_>) -> bool {
        (1..=self.priority).contains(&alert.priority)
    }

    fn is_sent(&mut self, json: &str) -> bool {
        self.tried = Instant::now();
        let Err(error) = self.send(json) else {
            return true;
        };
        if !self.told_unread && self.edges.told(self.tried).is_some() {
            self.told_unread = true;
            crate::warning!(
                "sensor \"{}\": cannot send to alert socket {}: {error}; important alerts are stored all the same, and \
                 counted until it is read",
                self.sensor.name,
                self.to.as_deref().unwrap_or("".as_ref()).display()
            );
        }
        false
    }

    fn send(&mut self, json: &str) -> io::Result<()> {
        let Some(path) = &self.to else {
            return Ok(());
        };
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                none.insert(socket)
            }
        };
        socket.send_to(json.as_bytes(), path).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{self, Decoded, LinkType, Scratch};
    use serde_json::Value;

    fn alert(priority: u32) -> Item<'static> {
        let record = br#"{"timestamp":"2026-01-01T00:00:00.000000+0000","event_type":"alert","alert":{"gid":1,"signature_id":7,"rev":1,"signature":"s","category":"","severity":3}}"#;
        // The scratch memory lives as long as the test.
        let scratch = Box::leak(Box::new(Scratch::default()));
        match ids::decode(record, LinkType::Auto, scratch) {
            Ok(Decoded::Alert(alert)) => Item::Alert(Alert { priority, ..alert }),
            other => panic!("{other:?}"),
        }
    }

    fn received(socket: &UnixDatagram) -> Vec<Value> {
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        let next = || {
            socket
                .recv(&mut bytes)
                .ok()
                .map(|n| serde_json::from_slice(&bytes[..n]).unwrap())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn priorities_up_to_the_mark_are_told_with_their_cids_and_0_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut alarm = Alarm::new(SensorName {
            name: "s1".into(),
            interface: String::new(),
        });
        alarm.tell(3, Some(1), &[alert(1)]);
        alarm.set(Some(path), 2);
        alarm.tell(3, Some(10), &[0, 1, 2, 3, 2].map(alert));
        alarm.tell(3, None, &[alert(1)]);
        let told: Vec<_> = received(&reader)
            .iter()
            .map(|record| (record["reason"].clone(), record["cid"].clone()))
            .collect();
        let expected = [
            ("priority 1".into(), 11.into()),
            ("priority 2".into(), 12.into()),
            ("priority 2".into(), 14.into()),
            ("priority 1".into(), Value::Null),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_missing_and_a_slow_reader_learn_how_many_they_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts");
        let mut alarm = Alarm::new(SensorName {
            name: "s1".into(),
            interface: String::new(),
        });
        alarm.set(Some(path.clone()), 1);
        alarm.tell(3, Some(1), &[1, 3, 1].map(alert));
        assert!(alarm.due().is_some());
        let reader = UnixDatagram::bind(&path).unwrap();
        assert!(alarm.tell_missed());
        assert_eq!(alarm.due(), None);
        let told = received(&reader);
        assert_eq!((&told[0]["dropped"], told.len()), (&2.into(), 1));
        // More than any kernel queues.
        let flood: Vec<Item<'_>> = (0..5_000).map(|_| alert(1)).collect();
        alarm.tell(3, Some(4), &flood);
        let first = received(&reader);
        assert!(!first.is_empty() && first.len() < 5_000, "{}", first.len());
        assert!(alarm.tell_missed());
        let missed = received(&reader)[0]["dropped"].as_u64().unwrap();
        assert_eq!(first.len() as u64 + missed, 5_000);
    }
}
