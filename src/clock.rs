//! The wall clock, as alerts carry it.

#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 00:00:00 UTC; 0 on a machine whose clock stands before.
pub fn now_us() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
