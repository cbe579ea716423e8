//! What commands change while servsock runs. The master keeps it (`Tuning`), each worker gets its own copy (`Settings`),
//! with the marks of its sensor.

#![forbid(unsafe_code)]

use crate::buffer::Water;
use crate::ctrl::Mark;
use crate::daemon::Debug;
use crate::log;
use crate::options::{CentralConfig, Drops};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Sensors with marks of their own; FLoP's largest known site has some hundred sensors.
const OWN_MAX: usize = 1024;

/// What one worker works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) high: u64,
    pub(super) low: u64,
    pub(super) quiet: bool,
    /// A path; serde knows no other type for one that is not UTF-8.
    pub(super) drop_socket: Option<OsString>,
    /// A path, too.
    pub(super) alert_socket: Option<OsString>,
    pub(super) priority: u32,
    /// Debug levels, by area.
    pub(super) debug: [u8; log::Area::ALL.len()],
}

impl Settings {
    /// Where a worker drops to at HighWater; `None`: it stops reading instead.
    pub(super) fn drops(&self) -> Option<Drops> {
        match (self.quiet, &self.drop_socket) {
            (true, _) => Some(Drops::Quiet),
            (false, Some(path)) => Some(Drops::Socket(path.into())),
            (false, None) => None,
        }
    }

    /// Who gets the important alerts.
    pub(super) fn alert_socket(&self) -> Option<PathBuf> {
        self.alert_socket.as_ref().map(PathBuf::from)
    }

    fn set_water(&mut self, water: Water) {
        (self.high, self.low) = (water.high(), water.low());
    }
}

/// A change that a command asks for.
#[derive(Debug)]
pub(super) enum Change {
    High(Mark),
    Low(Mark),
    Quiet(bool),
    Debug(Debug),
    Priority(u32),
    AlertSocket(Option<PathBuf>),
}

impl Change {
    /// The sensor that it is for; `None`: all.
    pub(super) fn sensor(&self) -> Option<&str> {
        match self {
            Change::High(mark) | Change::Low(mark) => mark.sensor.as_deref(),
            _ => None,
        }
    }
}

/// The settings of all workers.
pub(super) struct Tuning {
    general: Settings,
    /// Marks of single sensors, by name, until general ones are set.
    own: BTreeMap<String, Water>,
}

impl Tuning {
    pub(super) fn new(config: &CentralConfig) -> Tuning {
        let path = |path: &Option<PathBuf>| path.clone().map(OsString::from);
        Tuning {
            general: Settings {
                high: config.water.high(),
                low: config.water.low(),
                quiet: config.quiet,
                drop_socket: path(&config.drop_socket),
                alert_socket: path(&config.alert_socket),
                priority: config.priority,
                debug: log::debug_levels(),
            },
            own: BTreeMap::new(),
        }
    }

    /// What is in force where nothing else is set.
    pub(super) fn general(&self) -> &Settings {
        &self.general
    }

    /// What is in force for the sensor of this name.
    pub(super) fn of(&self, sensor: &str) -> Settings {
        let mut settings = self.general.clone();
        if let Some(water) = self.own.get(sensor) {
            settings.set_water(*water);
        }
        settings
    }

    /// Sensors with marks of their own, a line each.
    pub(super) fn own_lines(&self) -> Vec<String> {
        let line = |(name, water): (&String, &Water)| {
            format!(
                "# sensor \"{name}\": HighWater {}, LowWater {}",
                water.high(),
                water.low()
            )
        };
        self.own.iter().map(line).collect()
    }

    /// Makes a change; says what is in force now.
    pub(super) fn change(&mut self, change: Change) -> String {
        match change {
            Change::High(mark) => self.set_marks(Some(mark.alerts), None, mark.sensor),
            Change::Low(mark) => self.set_marks(None, Some(mark.alerts), mark.sensor),
            Change::Quiet(quiet) => {
                self.general.quiet = quiet;
                self.drops_line()
            }
            Change::Debug(debug) => self.set_debug(debug),
            Change::Priority(priority) => {
                self.general.priority = priority;
                self.alerts_line()
            }
            Change::AlertSocket(path) => {
                self.general.alert_socket = path.map(OsString::from);
                self.alerts_line()
            }
        }
    }

    fn set_marks(&mut self, high: Option<u64>, low: Option<u64>, sensor: Option<String>) -> String {
        let before = match &sensor {
            Some(name) => self.of(name),
            None => self.general.clone(),
        };
        let (high, low) = (high.unwrap_or(before.high), low.unwrap_or(before.low));
        let whose = match &sensor {
            Some(name) => format!("for sensor \"{name}\""),
            None => "for all sensors".to_owned(),
        };
        match self.try_set_marks(high, low, sensor) {
            Ok(()) => format!("HighWater is {high}, LowWater is {low}, {whose}"),
            Err(error) => format!(
                "refused: {error}; HighWater stays {}, LowWater {}, {whose}",
                before.high, before.low
            ),
        }
    }

    fn try_set_marks(&mut self, high: u64, low: u64, sensor: Option<String>) -> Result<(), String> {
        let water = Water::new(high, low)?;
        let Some(name) = sensor else {
            self.own.clear();
            self.general.set_water(water);
            return Ok(());
        };
        if self.own.len() >= OWN_MAX && !self.own.contains_key(&name) {
            return Err(format!(
                "{OWN_MAX} sensors have marks of their own already; `high N` without a name ends them all"
            ));
        }
        self.own.insert(name, water);
        Ok(())
    }

    fn set_debug(&mut self, debug: Debug) -> String {
        match log::set_debug(debug.area, debug.level) {
            Ok(()) => {
                self.general.debug = log::debug_levels();
                format!(
                    "debug level of {} is {}, here and in all workers",
                    debug.area, debug.level
                )
            }
            Err(reason) => format!("refused: {reason}"),
        }
    }

    fn drops_line(&self) -> String {
        match self.general.drops() {
            Some(Drops::Socket(path)) => format!(
                "at HighWater the newest alerts are dropped, and told to drop socket {}",
                path.display()
            ),
            Some(_) => "at HighWater the newest alerts are dropped, and only counted".to_owned(),
            None => {
                "at HighWater nothing is dropped: the sensor's connection is not read until LowWater"
                    .to_owned()
            }
        }
    }

    fn alerts_line(&self) -> String {
        let priority = self.general.priority;
        match self.general.alert_socket() {
            Some(path) => format!(
                "alerts of priority 1 to {priority} go to alert socket {} once they are stored",
                path.display()
            ),
            None => format!(
                "no alert socket is set: nobody is told of alerts of priority 1 to {priority}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuning() -> Tuning {
        Tuning {
            general: Settings {
                high: 100,
                low: 90,
                quiet: false,
                drop_socket: None,
                alert_socket: None,
                priority: 1,
                debug: Default::default(),
            },
            own: BTreeMap::new(),
        }
    }

    fn mark(alerts: u64, sensor: Option<&str>) -> Mark {
        Mark {
            alerts,
            sensor: sensor.map(str::to_owned),
        }
    }

    fn marks(tuning: &Tuning, sensor: &str) -> (u64, u64) {
        let settings = tuning.of(sensor);
        (settings.high, settings.low)
    }

    #[test]
    fn marks_of_one_sensor_hold_until_general_ones_are_set() {
        let mut tuning = tuning();
        assert_eq!(
            tuning.change(Change::High(mark(50, Some("web1")))),
            "refused: HighWater 50 is below LowWater 90; HighWater stays 100, LowWater 90, for sensor \"web1\""
        );
        tuning.change(Change::Low(mark(40, Some("web1"))));
        assert_eq!(
            tuning.change(Change::High(mark(50, Some("web1")))),
            "HighWater is 50, LowWater is 40, for sensor \"web1\""
        );
        assert_eq!(marks(&tuning, "web1"), (50, 40));
        assert_eq!(marks(&tuning, "web2"), (100, 90));
        assert_eq!(
            tuning.own_lines(),
            ["# sensor \"web1\": HighWater 50, LowWater 40"]
        );
        assert_eq!(
            tuning.change(Change::High(mark(200, None))),
            "HighWater is 200, LowWater is 90, for all sensors"
        );
        assert_eq!(marks(&tuning, "web1"), (200, 90));
    }

    #[test]
    fn marks_of_single_sensors_take_bounded_memory() {
        let mut tuning = tuning();
        for number in 0..OWN_MAX {
            tuning.change(Change::High(mark(500, Some(&number.to_string()))));
        }
        let answer = tuning.change(Change::High(mark(500, Some("one more"))));
        assert!(answer.contains("1024 sensors have marks"), "{answer}");
        let answer = tuning.change(Change::High(mark(600, Some("7"))));
        assert!(answer.starts_with("HighWater is 600"), "{answer}");
        assert_eq!(tuning.own.len(), OWN_MAX);
    }

    #[test]
    fn paths_that_are_not_utf_8_reach_the_worker() {
        use std::os::unix::ffi::OsStringExt;
        let mut settings = tuning().general;
        settings.drop_socket = Some(OsString::from_vec(vec![b'a', 0xff]));
        let json = serde_json::to_vec(&settings).unwrap();
        assert_eq!(serde_json::from_slice::<Settings>(&json).unwrap(), settings);
    }
}
