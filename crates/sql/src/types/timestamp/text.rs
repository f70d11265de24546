//! Points in time as ISO text.

use std::io::Write as _;

use super::{
    EPOCH_DAYS, Fields, INFINITY, MICROS_PER_DAY, NEGATIVE_INFINITY, days_in_month, fields, from_fields,
};
use crate::error::{SqlError, sqlstate};

/// Writes ISO text: `2020-01-02 03:04:05.678`, with `+00` for a `timestamptz`, with ` BC` for years before 1.
pub fn write(timestamp: i64, with_zone: bool, out: &mut Vec<u8>) {
    match timestamp {
        INFINITY => return out.extend_from_slice(b"infinity"),
        NEGATIVE_INFINITY => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let Fields { year, month, day, micros } = fields(timestamp);
    let shown = if year > 0 { year } else { 1 - year };
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _infallible = write!(out, "{shown:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction > 0 {
        let _infallible = write!(out, ".{fraction:06}");
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if with_zone {
        out.extend_from_slice(b"+00");
    }
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// Reads ISO text, with or without a time, with or without a zone (which a plain `timestamp` ignores).
///
/// # Errors
/// 22007 when it is none, 22008 when a field or the whole is out of range.
pub fn parse(text: &str, with_zone: bool) -> Result<i64, SqlError> {
    let type_name = if with_zone { "timestamp with time zone" } else { "timestamp" };
    let field_range = || {
        let message = format!("date/time field value out of range: \"{text}\"");
        SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
    };
    let mut scanner = Scanner { rest: text.trim_ascii() };
    match scanner.rest.to_ascii_lowercase().as_str() {
        "infinity" => return Ok(INFINITY),
        "-infinity" => return Ok(NEGATIVE_INFINITY),
        "epoch" => return Ok(-EPOCH_DAYS * MICROS_PER_DAY),
        _ => {}
    }
    let Some(parsed) = scanner.scan() else {
        let message = format!("invalid input syntax for type {type_name}: \"{text}\"");
        return Err(SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message));
    };
    let [hour, minute, second] = parsed.time;
    let whole_day = hour == 24 && minute == 0 && second == 0 && parsed.fraction == 0;
    let time_ok = (hour < 24 || whole_day) && minute < 60 && second <= 60;
    let year = if parsed.before_christ { 1 - parsed.year } else { parsed.year };
    let date_ok = (1..=12).contains(&parsed.month)
        && parsed.year >= 1
        && (1..=days_in_month(year, parsed.month)).contains(&parsed.day);
    if !time_ok || !date_ok {
        return Err(field_range());
    }
    let micros = (hour * 3600 + minute * 60 + second) * 1_000_000 + parsed.fraction;
    let shift = if with_zone { parsed.offset_seconds * 1_000_000 } else { 0 };
    from_fields(Fields { year, month: parsed.month, day: parsed.day, micros: micros - shift }).ok_or_else(
        || SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{text}\"")),
    )
}

#[derive(Default)]
struct Parsed {
    year: i64,
    month: u32,
    day: u32,
    time: [i64; 3],
    fraction: i64,
    offset_seconds: i64,
    before_christ: bool,
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn scan(&mut self) -> Option<Parsed> {
        let mut out = Parsed { year: self.number(4, 6)?, ..Parsed::default() };
        self.eat('-').then_some(())?;
        out.month = u32::try_from(self.number(1, 2)?).ok()?;
        self.eat('-').then_some(())?;
        out.day = u32::try_from(self.number(1, 2)?).ok()?;
        if self.eat('T')
            || self.eat('t')
            || (self.blanks() && self.rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            self.time(&mut out)?;
            self.blanks();
        }
        self.zone(&mut out)?;
        self.blanks();
        if self.rest.len() == 2 && self.rest.eq_ignore_ascii_case("bc") {
            out.before_christ = true;
            self.rest = "";
        }
        self.rest.is_empty().then_some(out)
    }

    fn time(&mut self, out: &mut Parsed) -> Option<()> {
        out.time[0] = self.number(1, 2)?;
        self.eat(':').then_some(())?;
        out.time[1] = self.number(1, 2)?;
        if self.eat(':') {
            out.time[2] = self.number(1, 2)?;
            if self.eat('.') {
                out.fraction = self.fraction();
            }
        }
        Some(())
    }

    fn zone(&mut self, out: &mut Parsed) -> Option<()> {
        for name in ["utc", "gmt", "z"] {
            if self.rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
                self.rest = &self.rest[name.len()..];
                return Some(());
            }
        }
        let sign = if self.eat('+') {
            1
        } else if self.eat('-') {
            -1
        } else {
            return Some(());
        };
        let mut parts = [0i64; 3];
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 4 {
            parts[0] = self.number(2, 2)?;
            parts[1] = self.number(2, 2)?;
        } else {
            parts[0] = self.number(1, 2)?;
            for part in &mut parts[1..] {
                if !self.eat(':') {
                    break;
                }
                *part = self.number(2, 2)?;
            }
        }
        let [hours, minutes, seconds] = parts;
        (hours < 16 && minutes < 60 && seconds < 60).then_some(())?;
        out.offset_seconds = sign * (hours * 3600 + minutes * 60 + seconds);
        Some(())
    }

    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
        if digits < min {
            return None;
        }
        let value = self.rest[..digits].parse().ok()?;
        self.rest = &self.rest[digits..];
        Some(value)
    }

    /// Microseconds from the digits behind the point, rounded.
    fn fraction(&mut self) -> i64 {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut micros = 0;
        for i in 0..6 {
            micros = micros * 10 + self.rest.as_bytes()[..digits].get(i).map_or(0, |b| i64::from(b - b'0'));
        }
        let round_up = self.rest.as_bytes()[..digits].get(6).is_some_and(|b| *b >= b'5');
        self.rest = &self.rest[digits..];
        micros + i64::from(round_up)
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest.strip_prefix(c).map(|rest| self.rest = rest).is_some()
    }

    fn blanks(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_ascii_start();
        self.rest.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str, zone: bool) -> String {
        let mut out = Vec::new();
        write(parse(text, zone).unwrap(), zone, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_read_and_printed_as_postgresql_does() {
        for (input, expected) in [
            ("2020-01-01 24:00", "2020-01-02 00:00:00"),
            ("2020-01-01 23:59:60", "2020-01-02 00:00:00"),
            ("4714-11-24 BC", "4714-11-24 00:00:00 BC"),
            ("294276-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999"),
            ("2020-1-2 3:4:5", "2020-01-02 03:04:05"),
            ("2020-01-01 10:20:30.1+05", "2020-01-01 10:20:30.1"),
            ("0001-01-01 BC", "0001-01-01 00:00:00 BC"),
            ("  2020-02-29  ", "2020-02-29 00:00:00"),
            ("infinity", "infinity"),
            ("epoch", "1970-01-01 00:00:00"),
        ] {
            assert_eq!(round(input, false), expected, "{input}");
        }
        assert_eq!(round("2020-01-01T10:20:30.1234567+02:30", true), "2020-01-01 07:50:30.123457+00");
        assert_eq!(round("2020-01-01 10:20 Z", true), "2020-01-01 10:20:00+00");
        assert_eq!(round("2020-01-01 10:20-0130", true), "2020-01-01 11:50:00+00");
    }

    #[test]
    fn codes_for_wrong_text_are_postgresqls() {
        for (input, code) in [
            ("2020-02-30", "22008"),
            ("2020-13-01", "22008"),
            ("2020-01-01 25:00", "22008"),
            ("294277-01-01", "22008"),
            ("4714-11-23 BC", "22008"),
            ("abc", "22007"),
            ("2020-01-01 10", "22007"),
            ("2020-01-01 10:20 Mars/Base", "22007"),
            ("", "22007"),
        ] {
            assert_eq!(parse(input, false).unwrap_err().sqlstate(), code, "{input}");
        }
    }
}
