//! `numeric` as far as results and literals need it: 38 significant digits.
//!
//! Columns cannot have this type; it appears as the sum of bigints, as an average, as a difference of LSNs and as a decimal
//! literal. What does not fit 38 digits is an overflow (22003), never a wrong result.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{SqlError, sqlstate};

/// The largest scale: ten to this power still fits the unscaled integer.
const MAX_SCALE: u32 = 37;

/// An exact decimal number: `unscaled / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numeric {
    unscaled: i128,
    scale: u32,
}

fn overflow() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn power_of_ten(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

impl Numeric {
    /// The number `unscaled / 10^scale`; `None` beyond the largest scale.
    pub fn new(unscaled: i128, scale: u32) -> Option<Self> {
        (scale <= MAX_SCALE).then_some(Self { unscaled, scale })
    }

    /// A whole number.
    pub fn from_integer(value: i128) -> Self {
        Self { unscaled: value, scale: 0 }
    }

    /// Reads decimal text, with an exponent if need be; `Ok(None)` when it is no number.
    ///
    /// # Errors
    /// 22003 when the number needs more than 38 digits.
    pub fn parse(text: &str) -> Result<Option<Self>, SqlError> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                let digits = &text[at + 1..];
                let Ok(exponent) = digits.parse::<i32>() else { return Ok(None) };
                (&text[..at], exponent)
            }
            None => (text, 0),
        };
        let (negative, body) = match mantissa.as_bytes().first() {
            Some(b'-') => (true, &mantissa[1..]),
            Some(b'+') => (false, &mantissa[1..]),
            _ => (false, mantissa),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        if (whole.is_empty() && fraction.is_empty())
            || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        {
            return Ok(None);
        }
        let mut unscaled = 0i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            unscaled = unscaled
                .checked_mul(10)
                .and_then(|v| v.checked_add(i128::from(digit - b'0')))
                .ok_or_else(overflow)?;
        }
        let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(i64::from(exponent));
        if scale < 0 {
            let up = u32::try_from(-scale).ok().and_then(power_of_ten);
            unscaled = if unscaled == 0 {
                0
            } else {
                up.and_then(|p| unscaled.checked_mul(p)).ok_or_else(overflow)?
            };
        }
        let scale = u32::try_from(scale.max(0)).unwrap_or(u32::MAX);
        let value = Self::new(if negative { -unscaled } else { unscaled }, scale).ok_or_else(overflow)?;
        Ok(Some(value))
    }

    /// Converts as PostgreSQL does, by the fifteen significant digits.
    ///
    /// # Errors
    /// 22003 for infinities, NaN and what does not fit.
    pub fn from_f64(value: f64) -> Result<Self, SqlError> {
        if !value.is_finite() {
            return Err(overflow());
        }
        Self::parse(&format!("{value:.14e}"))?.map(Self::normalized).ok_or_else(overflow)
    }

    /// The same number without zeros at its end.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        while self.scale > 0 && self.unscaled % 10 == 0 {
            self.unscaled /= 10;
            self.scale -= 1;
        }
        self
    }

    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The nearest whole number, halves away from zero.
    pub fn round(self) -> i128 {
        self.rescale(0).map_or(0, |n| n.unscaled)
    }

    /// The same number with this many digits after the point, halves away from zero.
    pub fn rescale(self, scale: u32) -> Option<Self> {
        if scale >= self.scale {
            let unscaled = self.unscaled.checked_mul(power_of_ten(scale - self.scale)?)?;
            return Self::new(unscaled, scale);
        }
        let divisor = power_of_ten(self.scale - scale)?;
        let (quotient, remainder) = (self.unscaled / divisor, self.unscaled % divisor);
        let up = i128::from(remainder.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2));
        Self::new(quotient + up * self.unscaled.signum(), scale)
    }

    /// Largest whole number not above (`floor`) or smallest not below (`ceil`).
    pub fn floor(self, ceil: bool) -> Self {
        let divisor = power_of_ten(self.scale).unwrap_or(i128::MAX);
        let floor = self.unscaled.div_euclid(divisor);
        let exact = self.unscaled.rem_euclid(divisor) == 0;
        Self::from_integer(if ceil && !exact { floor + 1 } else { floor })
    }

    /// Digits after the decimal point.
    pub fn scale(self) -> u32 {
        self.scale
    }

    /// The digits as one integer.
    pub fn unscaled(self) -> i128 {
        self.unscaled
    }

    /// -1, 0 or 1.
    pub fn signum(self) -> i128 {
        self.unscaled.signum()
    }

    fn aligned(self, other: Self) -> Result<(i128, i128, u32), SqlError> {
        let scale = self.scale.max(other.scale);
        match (self.rescale(scale), other.rescale(scale)) {
            (Some(a), Some(b)) => Ok((a.unscaled, b.unscaled, scale)),
            _ => Err(overflow()),
        }
    }

    /// Sum. # Errors: 22003 on overflow, as for all operations here.
    pub fn checked_add(self, other: Self) -> Result<Self, SqlError> {
        let (a, b, scale) = self.aligned(other)?;
        Ok(Self { unscaled: a.checked_add(b).ok_or_else(overflow)?, scale })
    }

    /// Difference.
    pub fn checked_sub(self, other: Self) -> Result<Self, SqlError> {
        self.checked_add(other.negate()?)
    }

    /// Product.
    pub fn checked_mul(self, other: Self) -> Result<Self, SqlError> {
        let unscaled = self.unscaled.checked_mul(other.unscaled).ok_or_else(overflow)?;
        Self::new(unscaled, self.scale + other.scale).ok_or_else(overflow)
    }

    /// Quotient with as many digits as PostgreSQL gives it (`select_div_scale` in `numeric.c`).
    pub fn checked_div(self, other: Self) -> Result<Self, SqlError> {
        if other.unscaled == 0 {
            return Err(SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
        }
        let ((weight1, first1), (weight2, first2)) = (self.leading_digit(), other.leading_digit());
        let weight = weight1 - weight2 - i32::from(first1 <= first2);
        let digits = u32::try_from(16 - weight * 4).unwrap_or(0);
        let scale = digits.max(self.scale).max(other.scale);
        // One digit more than wanted, then round: (a / 10^s1) / (b / 10^s2) = a * 10^(s2 - s1) / b.
        let shift = i64::from(scale) + 1 + i64::from(other.scale) - i64::from(self.scale);
        let factor = u32::try_from(shift).ok().and_then(power_of_ten).ok_or_else(overflow)?;
        let quotient = self.unscaled.checked_mul(factor).ok_or_else(overflow)? / other.unscaled;
        Self { unscaled: quotient, scale: scale + 1 }.rescale(scale).ok_or_else(overflow)
    }

    /// Remainder with the sign of the dividend.
    pub fn checked_rem(self, other: Self) -> Result<Self, SqlError> {
        if other.unscaled == 0 {
            return Err(SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
        }
        let (a, b, scale) = self.aligned(other)?;
        Ok(Self { unscaled: a.checked_rem(b).unwrap_or(0), scale })
    }

    /// The number with the other sign.
    pub fn negate(self) -> Result<Self, SqlError> {
        Ok(Self { unscaled: self.unscaled.checked_neg().ok_or_else(overflow)?, scale: self.scale })
    }

    /// Order by value, whatever the scales.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.whole_and_fraction().cmp(&other.whole_and_fraction())
    }

    /// The largest whole number not above, and what is to be added to it, in units that are the same for all numbers: two
    /// numbers are in the order of these pairs.
    pub(crate) fn whole_and_fraction(&self) -> (i128, i128) {
        let divisor = power_of_ten(self.scale).unwrap_or(i128::MAX);
        let unit = power_of_ten(MAX_SCALE - self.scale).unwrap_or(1);
        (self.unscaled.div_euclid(divisor), self.unscaled.rem_euclid(divisor) * unit)
    }

    /// Weight and value of the first digit that is not zero in base 10000, as PostgreSQL stores numbers.
    fn leading_digit(self) -> (i32, i128) {
        match self.base_10000() {
            (weight, digits) if !digits.is_empty() => (i32::from(weight), i128::from(digits[0])),
            _ => (0, 0),
        }
    }

    /// Weight of the first digit and the digits in base 10000, without leading or trailing zeros.
    pub(super) fn base_10000(self) -> (i16, Vec<i16>) {
        let fraction_groups = self.scale.div_ceil(4);
        let mut fraction = self.unscaled.unsigned_abs();
        let divisor = power_of_ten(self.scale).unwrap_or(1).unsigned_abs();
        let mut whole = fraction / divisor;
        fraction %= divisor;
        let mut digits = Vec::new();
        while whole > 0 {
            digits.push((whole % 10_000) as i16);
            whole /= 10_000;
        }
        digits.reverse();
        let mut weight = i16::try_from(digits.len()).unwrap_or(0) - 1;
        let mut left = self.scale;
        for _ in 0..fraction_groups {
            // The last group may have fewer than four digits of the number behind it.
            let take = left.min(4);
            left -= take;
            let unit = power_of_ten(left).unwrap_or(1).unsigned_abs();
            let group = (fraction / unit) as i16 * 10i16.pow(4 - take);
            fraction %= unit;
            digits.push(group);
        }
        let leading = digits.iter().take_while(|d| **d == 0).count();
        digits.drain(..leading);
        weight -= i16::try_from(leading).unwrap_or(0);
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() { (0, digits) } else { (weight, digits) }
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let divisor = power_of_ten(self.scale).unwrap_or(1).unsigned_abs();
        let magnitude = self.unscaled.unsigned_abs();
        let sign = if self.unscaled < 0 { "-" } else { "" };
        write!(f, "{sign}{}", magnitude / divisor)?;
        if self.scale > 0 {
            write!(f, ".{:0width$}", magnitude % divisor, width = self.scale as usize)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).unwrap().unwrap()
    }

    #[test]
    fn division_has_the_digits_postgresql_gives() {
        for (a, b, expected) in [
            ("3", "2", "1.5000000000000000"),
            ("1", "3", "0.33333333333333333333"),
            ("10", "3", "3.3333333333333333"),
            ("100000", "7", "14285.714285714286"),
            ("-1.5", "0.5", "-3.0000000000000000"),
            ("2", "30000", "0.000066666666666666666667"),
        ] {
            assert_eq!(n(a).checked_div(n(b)).unwrap().to_string(), expected, "{a} / {b}");
        }
    }

    #[test]
    fn text_with_and_without_exponent() {
        assert_eq!(n("1e3").to_string(), "1000");
        assert_eq!(n("1.50e-2").to_string(), "0.0150");
        assert_eq!(n("-.5").to_string(), "-0.5");
        assert!(Numeric::parse("1e").unwrap().is_none());
        assert!(Numeric::parse("--1").unwrap().is_none());
        assert!(Numeric::parse(".").unwrap().is_none());
        assert_eq!(Numeric::parse("1e99").unwrap_err().sqlstate(), "22003");
    }

    #[test]
    fn rounds_halves_away_from_zero() {
        assert_eq!(n("2.5").round(), 3);
        assert_eq!(n("-2.5").round(), -3);
        assert_eq!(n("2.4999").round(), 2);
        assert_eq!(n("-1.5").floor(false).to_string(), "-2");
        assert_eq!(n("-1.5").floor(true).to_string(), "-1");
    }

    #[test]
    fn order_does_not_depend_on_the_scale() {
        assert_eq!(n("1.0").compare(&n("1.000")), Ordering::Equal);
        assert_eq!(n("-1.5").compare(&n("-1.25")), Ordering::Less);
        assert_eq!(n("99999999999999999999999999999999999999").compare(&n("0.1")), Ordering::Greater);
    }
}
