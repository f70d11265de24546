//! Units of memory and time, as settings have them. Source: `convert_to_base_unit` in `utils/misc/guc.c`.

/// What a number counts, unless it is given with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nothing in particular.
    None,
    /// Kibibytes.
    Kilobytes,
    /// Pages of 8 KiB.
    Blocks,
    /// Mebibytes.
    Megabytes,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// Units of memory by their length in bytes, and of time in microseconds; the largest first.
const MEMORY: [(&str, f64); 5] =
    [("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
const TIME: [(&str, f64); 6] = [
    ("d", 86_400_000_000.0),
    ("h", 3_600_000_000.0),
    ("min", 60_000_000.0),
    ("s", 1_000_000.0),
    ("ms", 1000.0),
    ("us", 1.0),
];

impl Unit {
    /// The units that may be given, and the length of this one in the smallest of them.
    const fn table(self) -> Option<(&'static [(&'static str, f64)], f64)> {
        Some(match self {
            Self::None => return None,
            Self::Kilobytes => (&MEMORY, 1024.0),
            Self::Blocks => (&MEMORY, 8192.0),
            Self::Megabytes => (&MEMORY, 1_048_576.0),
            Self::Milliseconds => (&TIME, 1000.0),
            Self::Seconds => (&TIME, 1_000_000.0),
        })
    }

    /// Reads a number with an optional unit, rounded to this one (`parse_int`).
    pub(crate) fn parse(self, text: &str) -> Option<i64> {
        let text = text.trim();
        let end =
            text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let number: f64 = number.parse().ok()?;
        let scaled = match (suffix.trim(), self.table()) {
            ("", _) => number,
            (suffix, Some((units, base))) => {
                let (_, length) = units.iter().find(|(name, _)| *name == suffix)?;
                number * length / base
            }
            _ => return None,
        };
        let rounded = scaled.round_ties_even();
        // Beyond this, not every whole number is one.
        (rounded.abs() <= 9.0e15).then_some(rounded as i64)
    }

    /// A number as `SHOW` prints it: in the largest unit that divides it.
    pub(crate) fn show(self, number: i64) -> String {
        let Some((units, base)) = self.table().filter(|_| number > 0) else { return number.to_string() };
        let length = number as f64 * base;
        let found = units.iter().find(|(_, unit)| length % unit == 0.0);
        found.map_or_else(|| number.to_string(), |(name, unit)| format!("{}{name}", length / unit))
    }

    /// The length of this unit in bytes or milliseconds.
    pub(super) const fn length(self) -> u64 {
        match self {
            Self::None | Self::Milliseconds => 1,
            Self::Kilobytes => 1024,
            Self::Blocks => 8192,
            Self::Megabytes => 1 << 20,
            Self::Seconds => 1000,
        }
    }

    /// What is expected where a number of this unit is.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::None => "a number",
            Self::Kilobytes | Self::Blocks | Self::Megabytes => "a size (units are B, kB, MB, GB and TB)",
            Self::Milliseconds | Self::Seconds => "a time (units are us, ms, s, min, h and d)",
        }
    }
}
