//! What an operator may choose about how alerts are stored.

#![forbid(unsafe_code)]

use super::Encoding;
use crate::calendar;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How alerts are stored; the same for each database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How payloads of a new sensor are stored. A sensor that has alerts already keeps the encoding in its row, for its
    /// payloads are read by that; it is said in a line.
    pub encoding: Encoding,
    /// Nobody else writes to the database (FLoP's `DBTrust`), so that an id in the cache of signatures stays valid:
    /// it is not looked up again for each batch, nor after the database was away. cids and the stream's numbers are
    /// counted in the database in any case, in the transaction they belong to: for them this changes nothing.
    pub trust: bool,
    /// Whole packets are stored: FLoP's columns `data.data_header` and `data.pcap_header`, and `flop_event.packet_link`.
    pub full_payload: bool,
    /// Tagged packets are stored with the cid of the alert that began the tag: FLoP's column `event.reference`.
    pub reference: bool,
    /// In which time zone `event.timestamp` is written, where the column does not hold instants itself.
    pub time_zone: TimeZone,
}

/// UTC, or a zone of this machine's time zone database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZone(jiff::tz::TimeZone);

/// Names of UTC itself.
const UTC_NAMES: [&str; 5] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z"];

impl TimeZone {
    /// Coordinated Universal Time.
    pub const UTC: TimeZone = TimeZone(jiff::tz::TimeZone::UTC);

    /// Its name, as in `Europe/Berlin`.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Whether it is UTC.
    pub fn is_utc(&self) -> bool {
        *self == TimeZone::UTC
    }

    /// Seconds by which its clocks are ahead of UTC at an instant in microseconds since 1970.
    pub(super) fn seconds_east(&self, us: i64) -> i32 {
        // Of the last day before the year 10000, which has no `Timestamp`, the offset is the same.
        let seconds = calendar::clamp(us).div_euclid(1_000_000);
        jiff::Timestamp::from_second(seconds.min(jiff::Timestamp::MAX.as_second()))
            .map_or(0, |instant| self.0.to_offset(instant).seconds())
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        TimeZone::UTC
    }
}

impl FromStr for TimeZone {
    type Err = String;

    /// Takes names with a `/` only, besides UTC: short ones (`CET`) are a zone to some programs and an offset that never
    /// changes to others, PostgreSQL among them.
    fn from_str(name: &str) -> Result<Self, String> {
        if UTC_NAMES.iter().any(|utc| utc.eq_ignore_ascii_case(name)) {
            return Ok(TimeZone::UTC);
        }
        let is_plain = |char: char| char.is_ascii_alphanumeric() || "/_-+".contains(char);
        let zone = match name.contains('/') && name.chars().all(is_plain) {
            true => jiff::tz::TimeZone::get(name).ok(),
            false => None,
        };
        zone.map(TimeZone)
            .ok_or_else(|| format!("{name} is no time zone of this machine (as in Europe/Berlin)"))
    }
}

impl TryFrom<String> for TimeZone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<TimeZone> for String {
    fn from(zone: TimeZone) -> Self {
        zone.name().to_owned()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        name.parse().unwrap()
    }

    #[test]
    fn settings_arrive_at_a_worker_as_they_were_sent() {
        let all = Settings {
            encoding: Encoding::Base64,
            trust: true,
            full_payload: true,
            reference: true,
            time_zone: zone("Europe/Berlin"),
        };
        for settings in [Settings::default(), all] {
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        }
        assert_eq!(
            serde_json::to_string(&Settings::default()).unwrap(),
            r#"{"encoding":"hex","trust":false,"full_payload":false,"reference":false,"time_zone":"UTC"}"#
        );
        assert!(serde_json::from_str::<TimeZone>(r#""Europe/Atlantis""#).is_err());
    }

    #[test]
    fn a_zone_is_found_by_its_name_in_any_case_and_utc_by_each_of_its_names() {
        assert_eq!(zone("europe/berlin").to_string(), "Europe/Berlin");
        for name in ["UTC", "utc", "Etc/UTC", "GMT", "Z"] {
            assert!(zone(name).is_utc());
        }
        assert!(!zone("Europe/London").is_utc());
    }

    #[test]
    fn what_is_no_time_zone_is_told_in_a_sentence() {
        for name in [
            "Europe/Atlantis",
            "CET",
            "",
            "/",
            "../etc/passwd",
            "Europe/Berlin'",
            "a/\0",
        ] {
            let error = name.parse::<TimeZone>().expect_err(name);
            assert_eq!(
                error,
                format!("{name} is no time zone of this machine (as in Europe/Berlin)")
            );
        }
    }

    #[test]
    fn the_offset_is_the_one_of_the_instant() {
        let berlin = zone("Europe/Berlin");
        // 2026-03-29 01:00 UTC: clocks go from 02:00 to 03:00; 2026-10-25 01:00 UTC: from 03:00 back to 02:00.
        for (before, east_before, east_after) in
            [(1_774_746_000, 3_600, 7_200), (1_792_890_000, 7_200, 3_600)]
        {
            assert_eq!(berlin.seconds_east(before * 1_000_000 - 1), east_before);
            assert_eq!(berlin.seconds_east(before * 1_000_000), east_after);
        }
        assert_eq!(TimeZone::UTC.seconds_east(0), 0);
        assert_eq!(berlin.seconds_east(i64::MAX), 3_600);
        assert!(berlin.seconds_east(i64::MIN) > 0);
    }
}
