//! Points in time, and spans between them in words. "Now" always comes in as an argument.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The time by which two clocks may differ without a word.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(300);

/// A point in time: seconds since 1970-01-01T00:00:00Z. It is written as `2017-05-30T00:49:16Z`, in JSON as the number.
///
/// ```
/// use std::time::Duration;
/// use overtag::engine::time::Timestamp;
/// let promoted = Timestamp(1_496_105_356);
/// assert_eq!(promoted.to_string(), "2017-05-30T00:49:16Z");
/// assert_eq!((promoted + Duration::from_secs(90)).since(promoted), Duration::from_secs(90));
/// // Of a time that is yet to come nothing has passed.
/// assert_eq!(Timestamp(0).since(promoted), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The last second of the year 9999. What is later is written as this.
    pub const LATEST: Self = Self(253_402_300_799);

    /// Returns how much time has passed since `earlier`; none where that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time between both, whichever is later.
    pub fn abs_diff(self, other: Self) -> Duration {
        Duration::from_secs(self.0.abs_diff(other.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&utc(self.0.min(Self::LATEST.0)))
    }
}

/// A moment of a clock that only goes forward: milliseconds since it was started, whenever that was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// Returns how much time has passed since `earlier`; none where that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Millis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// `seconds` as `2017-05-30T00:49:16Z`. The calendar is Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn utc(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Reads a date as mail and Quay write it, in UTC: `Sat, 30 May 2026 00:49:16 -0000`.
///
/// ```
/// use overtag::engine::time::{Timestamp, rfc2822};
/// assert_eq!(rfc2822("Tue, 30 May 2017 00:49:16 -0000"), Some(Timestamp(1_496_105_356)));
/// ```
pub fn rfc2822(text: &str) -> Option<Timestamp> {
    let utc = [" -0000", " +0000", " UTC", " GMT"].iter().find_map(|zone| text.trim().strip_suffix(zone))?;
    let date = httpdate::parse_http_date(&format!("{utc} GMT")).ok()?;
    Some(Timestamp(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()))
}

/// Reads a UTC time as ISO 8601 writes it, with or without `Z` and fractions: `2017-05-30T00:49:16`.
///
/// ```
/// use overtag::engine::time::{Timestamp, iso};
/// assert_eq!(iso("2017-05-30T00:49:16"), Some(Timestamp(1_496_105_356)));
/// assert_eq!(iso("yesterday"), None);
/// assert_eq!(iso("2017-05-30T02:49:16.5+02:00"), None);
/// ```
pub fn iso(text: &str) -> Option<Timestamp> {
    let (date, time) = text.trim().trim_end_matches('Z').split_once(['T', ' '])?;
    // Of another zone: better none than one that is hours off.
    if time.contains(['+', '-']) {
        return None;
    }
    let number = |text: &str| text.parse::<u64>().ok();
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split('.').next()?.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // Hinnant's days_from_civil.
    let y = if month <= 2 { year - 1 } else { year };
    let (era, yoe) = (y / 400, y % 400);
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    Some(Timestamp(days * 86_400 + hour * 3600 + minute * 60 + second.min(60)))
}

/// A span in words: `40 s`, `12 min`, `3 h`, `2 d`.
pub fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
