//! Points in time: microseconds since 2000-01-01, and the calendar. The session's time zone is always UTC.

mod text;

pub use text::{parse, write};

/// Earlier than every point in time.
pub const NEGATIVE_INFINITY: i64 = i64::MIN;
/// Later than every point in time.
pub const INFINITY: i64 = i64::MAX;

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// 4714-11-24 BC, the first day of the Julian calendar (`MIN_TIMESTAMP` in `timestamp.h`).
const MIN: i64 = -211_813_488_000_000_000;
/// 294277-01-01 (`END_TIMESTAMP`).
const END: i64 = 9_223_371_331_200_000_000;

/// Microseconds since 2000 of a Unix time in microseconds.
pub fn from_unix_micros(unix: i64) -> i64 {
    unix.saturating_sub(EPOCH_DAYS * MICROS_PER_DAY)
}

/// Whether PostgreSQL can store this.
pub fn in_range(timestamp: i64) -> bool {
    (MIN..END).contains(&timestamp) || timestamp == INFINITY || timestamp == NEGATIVE_INFINITY
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Year in the astronomical count: 0 is 1 BC
    pub year: i64,
    /// 1 to 12
    pub month: u32,
    /// 1 to 31
    pub day: u32,
    /// Microseconds since midnight
    pub micros: i64,
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = (if shifted < 10 { shifted + 3 } else { shifted - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Splits a finite point in time.
pub fn fields(timestamp: i64) -> Fields {
    let (year, month, day) = civil_from_days(timestamp.div_euclid(MICROS_PER_DAY) + EPOCH_DAYS);
    Fields { year, month, day, micros: timestamp.rem_euclid(MICROS_PER_DAY) }
}

/// The point in time of a date and time of day; `None` when it cannot be stored.
pub fn from_fields(fields: Fields) -> Option<i64> {
    let days = days_from_civil(fields.year, fields.month, fields.day) - EPOCH_DAYS;
    let timestamp = days.checked_mul(MICROS_PER_DAY)?.checked_add(fields.micros)?;
    (MIN..END).contains(&timestamp).then_some(timestamp)
}

/// Adds whole months, keeping the day where the month has it.
pub fn add_months(timestamp: i64, months: i32) -> Option<i64> {
    let mut at = fields(timestamp);
    let month = at.year * 12 + i64::from(at.month) - 1 + i64::from(months);
    at.year = month.div_euclid(12);
    at.month = month.rem_euclid(12) as u32 + 1;
    at.day = at.day.min(days_in_month(at.year, at.month));
    from_fields(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_added_within_the_month() {
        let at = parse("2020-01-31", false).unwrap();
        let mut out = Vec::new();
        write(add_months(at, 1).unwrap(), false, &mut out);
        assert_eq!(out, b"2020-02-29 00:00:00");
    }
}
