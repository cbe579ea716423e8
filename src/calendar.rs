//! Instants as text: the Gregorian calendar, both ways.
//!
//! Written by hand because each alert needs it: 31 bytes of EVE on one side, a column of SQLite on the other. The tests
//! compare it with a library.

#![forbid(unsafe_code)]

/// 0000-01-01 00:00:00 UTC, in microseconds since 1970.
const US_MIN: i64 = -62_167_219_200_000_000;
/// 9999-12-31 23:59:59.999999 UTC.
const US_MAX: i64 = 253_402_300_799_999_999;

/// Days from 0000-03-01 to 1970-01-01. Years that begin with March have the leap day as their last; see Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms".
const EPOCH_DAYS: i64 = 719_468;

/// The instant itself, or the nearest one that has a year of four digits: what databases hold and clients can read.
pub fn clamp(us: i64) -> i64 {
    us.clamp(US_MIN, US_MAX)
}

/// Microseconds since 1970 as `2026-11-21T03:22:52.000000Z`; clamped, so that it sorts as text.
pub fn iso8601(us: i64) -> String {
    format!("{}Z", date_and_time(clamp(us)))
}

/// The same instant as the clocks show it that are `seconds_east` ahead of UTC: `2026-11-21T04:22:52.000000+01:00`. In
/// UTC where that cannot be written: a year without four digits, an offset of more than 14 hours, or one with seconds,
/// as each place had one of its own before there were zones.
pub fn iso8601_at(us: i64, seconds_east: i32) -> String {
    let local = clamp(us) + i64::from(seconds_east) * 1_000_000;
    if clamp(local) != local || seconds_east.abs() > 14 * 3_600 || seconds_east % 60 != 0 {
        return iso8601(us);
    }
    let sign = if seconds_east < 0 { '-' } else { '+' };
    let minutes = seconds_east.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!("{}{sign}{hours:02}:{minutes:02}", date_and_time(local))
}

/// Without a word of the zone; `us` is clamped.
fn date_and_time(us: i64) -> String {
    let (seconds, micros) = (us.div_euclid(1_000_000), us.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let days = days + EPOCH_DAYS;
    // An era is 400 years.
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// Days from 1970-01-01 to a date; `None` if there is no such date.
pub fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - EPOCH_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_jiff_writes_them_and_their_days_found_again() {
        let day = 86_400_000_000_i64;
        for number in (-719_528..2_932_000)
            .step_by(37)
            .chain([-1, 0, 59, 60, 11_016, 47_540])
        {
            let us = number * day + 45_296_123_456;
            let expected = jiff::Timestamp::from_microsecond(us).unwrap();
            let text = iso8601(us);
            assert_eq!(text, format!("{expected:.6}"));
            let part = |range: std::ops::Range<usize>| text[range].parse().unwrap();
            assert_eq!(days(part(0..4), part(5..7), part(8..10)), Some(number));
        }
        assert_eq!(iso8601(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn what_has_no_year_of_four_digits_becomes_the_nearest_that_has() {
        assert_eq!(iso8601(i64::MIN), "0000-01-01T00:00:00.000000Z");
        assert_eq!(iso8601(i64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn an_instant_is_written_with_its_offset_where_that_is_possible() {
        let us = 1_795_231_372_123_456;
        for (seconds_east, text) in [
            (0, "2026-11-21T03:22:52.123456+00:00"),
            (20_700, "2026-11-21T09:07:52.123456+05:45"),
            (-12_600, "2026-11-20T23:52:52.123456-03:30"),
            (50_400, "2026-11-21T17:22:52.123456+14:00"),
            (50_460, "2026-11-21T03:22:52.123456Z"),
            (3_208, "2026-11-21T03:22:52.123456Z"),
        ] {
            assert_eq!(iso8601_at(us, seconds_east), text);
        }
        assert_eq!(iso8601_at(i64::MAX, 60), "9999-12-31T23:59:59.999999Z");
        assert_eq!(
            iso8601_at(i64::MAX, -60),
            "9999-12-31T23:58:59.999999-00:01"
        );
        assert_eq!(iso8601_at(i64::MIN, -60), "0000-01-01T00:00:00.000000Z");
    }

    #[test]
    fn dates_that_do_not_exist_are_none() {
        for (year, month, day) in [
            (2025, 2, 29),
            (1900, 2, 29),
            (2025, 4, 31),
            (2025, 13, 1),
            (2025, 0, 1),
            (2025, 1, 0),
        ] {
            assert_eq!(days(year, month, day), None);
        }
        assert!(days(2000, 2, 29).is_some());
    }
}
