//! Points in time: seconds since 1970-01-01T00:00:00Z. "Now" always comes in as an argument.

/// `seconds` as `2017-05-30T00:49:16Z`.
///
/// The calendar is Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>).
///
/// ```
/// assert_eq!(overtag::engine::time::utc(1_496_105_356), "2017-05-30T00:49:16Z");
/// ```
pub fn utc(seconds: u64) -> String {
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

/// The seconds of a date as mail and Quay write it, in UTC: `Sat, 30 May 2026 00:49:16 -0000`.
///
/// ```
/// assert_eq!(overtag::engine::time::rfc2822("Tue, 30 May 2017 00:49:16 -0000"), Some(1_496_105_356));
/// ```
pub fn rfc2822(text: &str) -> Option<u64> {
    let utc = [" -0000", " +0000", " UTC", " GMT"].iter().find_map(|zone| text.trim().strip_suffix(zone))?;
    let date = httpdate::parse_http_date(&format!("{utc} GMT")).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

/// A span of seconds in words: `40 s`, `12 min`, `3 h`, `2 d`.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
