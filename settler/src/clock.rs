//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix seconds.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
