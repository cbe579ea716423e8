//! All sensors that have come since servsock's start, those that left as well: what `sensors`, `--status` and the
//! statistics of single sensors show. The master tells who came and left; numbers are summed over a sensor's connections.

#![forbid(unsafe_code)]

use super::messages::{Condition, Numbers};
use crate::alert::SensorName;
use crate::status::{Counted, Pulse, SensorState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// As many as there may be workers; beyond, the one that left first is forgotten.
const KNOWN_MAX: usize = 4096;
/// Between two samples for the rates.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// One connection, as its worker last told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection<'a> {
    pub(super) sensor: &'a SensorName,
    pub(super) numbers: Numbers,
    pub(super) condition: Condition,
}

/// What is known of one sensor.
#[derive(Default)]
struct Known {
    address: String,
    /// Connections at the moment; two sockservs may bear the same name.
    connections: usize,
    since_us: i64,
    /// Why the last connection ended.
    reason: String,
    /// Numbers of connections that have ended.
    ended: Numbers,
    heard_us: Option<i64>,
    pulse: Pulse,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sensors {
    known: BTreeMap<(String, String), Known>,
    sample_due: Option<Instant>,
}

/// The sum of a sensor's connections at the moment.
#[derive(Clone, Copy, Default)]
struct Now {
    numbers: Numbers,
    condition: Condition,
}

fn key(sensor: &SensorName) -> (String, String) {
    (sensor.name.clone(), sensor.interface.clone())
}

impl Sensors {
    /// A sensor has said its name.
    pub(super) fn came(&mut self, sensor: &SensorName, address: String, now_us: i64) {
        let key = key(sensor);
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&key) {
            self.forget_oldest();
        }
        let known = self.known.entry(key).or_default();
        known.connections += 1;
        (known.address, known.since_us) = (address, now_us);
    }

    /// A connection of a sensor that came has ended.
    pub(super) fn left(&mut self, connection: &Connection<'_>, reason: &str, now_us: i64) {
        let Some(known) = self.known.get_mut(&key(connection.sensor)) else {
            return;
        };
        known.connections = known.connections.saturating_sub(1);
        known.ended.add(Numbers {
            buffered: 0,
            ..connection.numbers
        });
        known.heard_us = known.heard_us.max(connection.condition.heard_us);
        if known.connections == 0 {
            (known.reason, known.since_us) = (reason.to_owned(), now_us);
        }
    }

    /// Whether a sensor of this name has come since the start.
    pub(super) fn has(&self, name: &str) -> bool {
        self.known.keys().any(|(known, _)| known == name)
    }

    /// When `sample` is due.
    pub(super) fn sample_due(&self) -> Option<Instant> {
        self.sample_due.filter(|_| !self.known.is_empty())
    }

    /// Looks at the counters, for the rates.
    pub(super) fn sample<'a>(
        &mut self,
        live: impl Iterator<Item = Connection<'a>>,
        now: Instant,
        now_us: i64,
    ) {
        self.sample_due = Some(now + SAMPLE_EVERY);
        let live = sums(live);
        for (key, known) in &mut self.known {
            let numbers = known.numbers(live.get(key));
            let counted = Counted {
                received: numbers.received,
                dropped: numbers.dropped,
                lost_before: numbers.lost_before,
            };
            known.pulse.sample(now, now_us, counted);
        }
    }

    /// The numbers of all sensors that are connected, by name.
    pub(super) fn numbers<'a>(
        &self,
        live: impl Iterator<Item = Connection<'a>>,
    ) -> Vec<(SensorName, Numbers)> {
        let live = sums(live);
        let known = self.known.iter().filter(|(_, known)| known.connections > 0);
        known
            .map(|(key, known)| {
                let (name, interface) = key.clone();
                let numbers = known.numbers(live.get(key));
                (SensorName { name, interface }, numbers)
            })
            .collect()
    }

    /// All sensors, by name. What is buffered is buffered at the sensor, whose marks are not known here.
    pub(super) fn states<'a>(
        &self,
        live: impl Iterator<Item = Connection<'a>>,
        now: Instant,
        now_us: i64,
    ) -> Vec<SensorState> {
        let live = sums(live);
        let state = |(key, known): (&(String, String), &Known)| {
            let here = live.get(key).copied().unwrap_or_default();
            let numbers = known.numbers(live.get(key));
            let waits = here
                .condition
                .oldest_us
                .map(|since| now_us.saturating_sub(since));
            SensorState {
                name: key.0.clone(),
                interface: key.1.clone(),
                address: known.address.clone(),
                down: (known.connections == 0).then(|| known.reason.clone()),
                since_us: known.since_us,
                heard_us: known.heard_us.max(here.condition.heard_us),
                received: numbers.received,
                stored: numbers.stored,
                dropped: numbers.dropped,
                dropped_us: known.pulse.dropped_us(),
                lost_before: numbers.lost_before,
                lost_before_us: known.pulse.lost_before_us(),
                buffered: here.condition.buffered,
                low_water: 0,
                spooled: here.condition.spooled,
                lag_us: waits
                    .and_then(|waits| u64::try_from(waits).ok())
                    .unwrap_or(0),
                rate: known.pulse.rate(now, numbers.received),
            }
        };
        self.known.iter().map(state).collect()
    }

    fn forget_oldest(&mut self) {
        let down = self
            .known
            .iter()
            .filter(|(_, known)| known.connections == 0);
        let oldest = down.min_by_key(|(_, known)| known.since_us);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.known.remove(&key);
        }
    }
}

impl Known {
    fn numbers(&self, now: Option<&Now>) -> Numbers {
        let mut numbers = self.ended;
        numbers.add(now.map_or(Numbers::default(), |now| now.numbers));
        numbers
    }
}

fn sums<'a>(live: impl Iterator<Item = Connection<'a>>) -> BTreeMap<(String, String), Now> {
    let mut sums: BTreeMap<(String, String), Now> = BTreeMap::new();
    for Connection {
        sensor,
        numbers,
        condition,
    } in live
    {
        let sum = sums.entry(key(sensor)).or_default();
        sum.numbers.add(numbers);
        let old = sum.condition;
        sum.condition = Condition {
            heard_us: old.heard_us.max(condition.heard_us),
            oldest_us: [old.oldest_us, condition.oldest_us]
                .into_iter()
                .flatten()
                .min(),
            buffered: old.buffered.saturating_add(condition.buffered),
            spooled: old.spooled.saturating_add(condition.spooled),
            pending: old.pending.saturating_add(condition.pending),
            database_away: old.database_away || condition.database_away,
        };
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> SensorName {
        SensorName {
            name: name.to_owned(),
            interface: "eth0".to_owned(),
        }
    }

    fn connection(sensor: &SensorName, received: u64, oldest_us: Option<i64>) -> Connection<'_> {
        Connection {
            sensor,
            numbers: Numbers {
                received,
                stored: received,
                ..Numbers::default()
            },
            condition: Condition {
                heard_us: Some(50),
                oldest_us,
                buffered: 4,
                ..Condition::default()
            },
        }
    }

    fn states(sensors: &Sensors, live: &[Connection<'_>], now_us: i64) -> Vec<SensorState> {
        sensors.states(live.iter().copied(), Instant::now(), now_us)
    }

    #[test]
    fn a_sensor_that_left_stays_as_down_and_its_numbers_go_on_when_it_comes_again() {
        let (sensor, mut sensors) = (name("web1"), Sensors::default());
        sensors.came(&sensor, "192.0.2.1:7".to_owned(), 100);
        let first = connection(&sensor, 5, Some(80));
        let up = &states(&sensors, &[first], 180)[0];
        assert_eq!((up.name.as_str(), up.interface.as_str()), ("web1", "eth0"));
        assert_eq!((up.down.clone(), up.since_us, up.lag_us), (None, 100, 100));
        assert_eq!((up.received, up.stored, up.buffered), (5, 5, 4));
        assert_eq!((up.heard_us, up.low_water), (Some(50), 0));
        sensors.left(&first, "it stopped", 200);
        let down = &states(&sensors, &[], 300)[0];
        assert_eq!(down.down.as_deref(), Some("it stopped"));
        assert_eq!(
            (down.since_us, down.received, down.heard_us),
            (200, 5, Some(50))
        );
        assert_eq!((down.buffered, down.lag_us), (0, 0));
        sensors.came(&sensor, "192.0.2.1:8".to_owned(), 400);
        let again = &states(&sensors, &[connection(&sensor, 2, None)], 500)[0];
        assert_eq!((again.down.clone(), again.since_us), (None, 400));
        assert_eq!((again.received, again.address.as_str()), (7, "192.0.2.1:8"));
        assert!(sensors.has("web1") && !sensors.has("web2"));
    }

    #[test]
    fn two_connections_of_the_same_name_are_one_sensor() {
        let (sensor, mut sensors) = (name("web1"), Sensors::default());
        sensors.came(&sensor, "a".to_owned(), 100);
        sensors.came(&sensor, "b".to_owned(), 110);
        let both = [
            connection(&sensor, 1, Some(70)),
            connection(&sensor, 2, Some(60)),
        ];
        let state = &states(&sensors, &both, 160)[0];
        assert_eq!((state.received, state.buffered, state.lag_us), (3, 8, 100));
        sensors.left(&both[0], "gone", 170);
        let state = &states(&sensors, &both[1..], 180)[0];
        assert_eq!((state.down.clone(), state.received), (None, 3));
        let numbers = sensors.numbers([both[1]].into_iter());
        assert_eq!((numbers.len(), numbers[0].1.received), (1, 3));
    }

    #[test]
    fn names_take_bounded_memory_and_the_first_that_left_goes_first() {
        let mut sensors = Sensors::default();
        for number in 0..KNOWN_MAX + 10 {
            let sensor = name(&number.to_string());
            let now_us = i64::try_from(number).unwrap();
            sensors.came(&sensor, String::new(), now_us);
            if number != 0 {
                sensors.left(&connection(&sensor, 1, None), "gone", now_us);
            }
        }
        assert_eq!(sensors.known.len(), KNOWN_MAX);
        assert!(sensors.has("0"), "it is connected");
        assert!(!sensors.has("1") && sensors.has("11"));
    }

    #[test]
    fn the_rate_counts_what_came_since_the_first_sample() {
        let (sensor, mut sensors) = (name("web1"), Sensors::default());
        sensors.came(&sensor, String::new(), 0);
        let start = Instant::now();
        sensors.sample([connection(&sensor, 10, None)].into_iter(), start, 0);
        assert_eq!(sensors.sample_due(), Some(start + SAMPLE_EVERY));
        let live = [connection(&sensor, 40, None)].into_iter();
        let state = sensors.states(live, start + Duration::from_secs(10), 0);
        assert!((state[0].rate - 3.0).abs() < 0.001, "{}", state[0].rate);
    }
}
