//! `interval`: the difference of two points in time, in results and expressions.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{SqlError, sqlstate};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// A span of time as PostgreSQL keeps it: three parts that do not turn into each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Interval {
    /// Whole months
    pub months: i32,
    /// Whole days
    pub days: i32,
    /// The rest in microseconds
    pub micros: i64,
}

impl Interval {
    /// A span that is known in microseconds, shown in days and hours (what subtracting timestamps gives).
    pub fn from_difference(micros: i64) -> Self {
        let days = i32::try_from(micros / DAY).unwrap_or(i32::MAX);
        Self { months: 0, days, micros: micros - i64::from(days) * DAY }
    }

    /// The length in microseconds with months of 30 days: what comparison and `extract(epoch)` of short spans use.
    pub fn span(&self) -> i128 {
        i128::from(self.micros) + (i128::from(self.days) + i128::from(self.months) * 30) * i128::from(DAY)
    }

    /// Order by [`Interval::span`].
    pub fn compare(&self, other: &Self) -> Ordering {
        self.span().cmp(&other.span())
    }

    /// The opposite span; `None` on overflow.
    pub fn negate(&self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    /// Reads `1 day 02:03:04.5`, `5 minutes`, `-1 hour`.
    ///
    /// # Errors
    /// 22007 when it is no interval, 22008 when it is too long.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        let invalid = || {
            let message = format!("invalid input syntax for type interval: \"{text}\"");
            SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
        };
        let overflow = || {
            SqlError::new(
                sqlstate::DATETIME_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            )
        };
        let mut out = Self::default();
        let mut words = text.split_ascii_whitespace().peekable();
        if words.peek().is_none() {
            return Err(invalid());
        }
        while let Some(word) = words.next() {
            if word.contains(':') {
                out.micros =
                    out.micros.checked_add(parse_time(word).ok_or_else(invalid)?).ok_or_else(overflow)?;
                continue;
            }
            let split = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
            let (number, attached) = word.split_at(split);
            let number: f64 = number.parse().map_err(|_| invalid())?;
            let unit = if attached.is_empty() { words.next().unwrap_or("seconds") } else { attached };
            out.add_unit(number, unit).ok_or_else(invalid)?.ok_or_else(overflow)?;
        }
        Ok(out)
    }

    /// Outer `None`: no such unit; inner `None`: overflow.
    fn add_unit(&mut self, number: f64, unit: &str) -> Option<Option<()>> {
        let unit = unit.to_ascii_lowercase();
        let micros = match unit.trim_end_matches('s') {
            "microsecond" | "u" => 1.0,
            "millisecond" | "m" if unit != "m" => 1e3,
            "second" | "sec" | "" => 1e6,
            "minute" | "min" | "m" => 6e7,
            "hour" | "h" | "hr" => HOUR as f64,
            "day" | "d" => return Some(self.add_days(number, 1.0)),
            "week" | "w" => return Some(self.add_days(number, 7.0)),
            "month" | "mon" => return Some(self.add_months(number, 1.0)),
            "year" | "y" | "yr" => return Some(self.add_months(number, 12.0)),
            _ => return None,
        };
        Some(self.add_micros(number * micros))
    }

    fn add_micros(&mut self, micros: f64) -> Option<()> {
        if micros.is_nan() || micros.abs() >= 9.2e18 {
            return None;
        }
        self.micros = self.micros.checked_add(micros.round() as i64)?;
        Some(())
    }

    fn add_days(&mut self, number: f64, factor: f64) -> Option<()> {
        let days = number * factor;
        self.days = self.days.checked_add(whole(days)?)?;
        self.add_micros(days.fract() * DAY as f64)
    }

    fn add_months(&mut self, number: f64, factor: f64) -> Option<()> {
        let months = number * factor;
        self.months = self.months.checked_add(whole(months)?)?;
        self.add_days(months.fract() * 30.0, 1.0)
    }
}

/// The whole part of a count of days or months.
fn whole(count: f64) -> Option<i32> {
    let whole = count.trunc();
    (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole).then_some(whole as i32)
}

fn parse_time(word: &str) -> Option<i64> {
    let (sign, word) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let mut parts = word.split(':');
    let hours: i64 = parts.next()?.parse().ok()?;
    let minutes: i64 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |s| s.parse().ok())?;
    if parts.next().is_some() || !(0..60).contains(&minutes) || !(0.0..60.0).contains(&seconds) {
        return None;
    }
    // With its sign from the beginning, because there is one negative number more.
    let rest = minutes * 60_000_000 + (seconds * 1e6).round() as i64;
    hours.checked_mul(sign * HOUR)?.checked_add(sign * rest)
}

impl fmt::Display for Interval {
    /// `IntervalStyle` postgres, as `EncodeInterval` in `datetime.c` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = false;
        let mut negative = false;
        for (count, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if count != 0 {
                let plus = if negative && count > 0 { "+" } else { "" };
                let plural = if count == 1 { "" } else { "s" };
                write!(f, "{}{plus}{count} {unit}{plural}", if before { " " } else { "" })?;
                before = true;
                negative = count < 0;
            }
        }
        if before && self.micros == 0 {
            return Ok(());
        }
        let sign = match self.micros {
            m if m < 0 => "-",
            _ if negative => "+",
            _ => "",
        };
        let micros = self.micros.unsigned_abs();
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let space = if before { " " } else { "" };
        write!(f, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Interval;

    #[test]
    fn prints_what_postgresql_prints() {
        for (input, expected) in [
            ("1 day 02:03:04.5", "1 day 02:03:04.5"),
            ("5 minutes", "00:05:00"),
            ("-1 hour", "-01:00:00"),
            ("1 year 2 months 3 days", "1 year 2 mons 3 days"),
            ("1.5 days", "1 day 12:00:00"),
            ("-1 day 1 hour", "-1 days +01:00:00"),
            ("0 seconds", "00:00:00"),
            ("2h", "02:00:00"),
            ("100 ms", "00:00:00.1"),
        ] {
            assert_eq!(Interval::parse(input).unwrap().to_string(), expected, "{input}");
        }
    }

    #[test]
    fn the_longest_spans_are_read_as_they_are_printed() {
        for (months, days, micros) in
            [(i32::MAX, i32::MAX, i64::MAX), (i32::MIN, i32::MIN, i64::MIN), (i32::MAX, i32::MIN, i64::MAX)]
        {
            let interval = Interval { months, days, micros };
            assert_eq!(Interval::parse(&interval.to_string()).unwrap(), interval, "{interval}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for input in ["", "x", "5 parsecs", "1:2:3:4", "day"] {
            assert_eq!(Interval::parse(input).unwrap_err().sqlstate(), "22007", "{input}");
        }
        assert_eq!(Interval::parse("99999999999999999999 hours").unwrap_err().sqlstate(), "22008");
    }
}
