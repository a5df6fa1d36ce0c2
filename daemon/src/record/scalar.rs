//! Exact readings of scalars: each gives back what was written or nothing, so that what is lost is never lost silently.

#[cfg(test)]
mod tests;

use std::io::Write as _;

/// An integer token as i64. `-0` is none: i64 cannot say it.
#[inline]
pub fn integer(token: &[u8]) -> Option<i64> {
    let (negative, digits) = match token.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, token),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    // 19 digits fit u64.
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match (negative, value) {
        (true, 0) => None,
        (true, _) => 0i64.checked_sub_unsigned(value),
        (false, _) => i64::try_from(value).ok(),
    }
}

/// Powers of ten that f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number token as f64, if the shortest text of that f64 is the same number.
pub fn float(token: &[u8]) -> Option<f64> {
    short_float(token)
        .filter(|(_, length)| *length == token.len())
        .map(|(value, _)| value)
        .or_else(|| exact_float(token))
}

/// The number at the start of `text`, if it has no exponent and few digits.
struct Short {
    negative: bool,
    /// All digits, as if there were no point.
    digits: u64,
    /// Digits behind the point.
    fraction: usize,
    /// Bytes it takes.
    length: usize,
}

/// Most bytes of a short number, so that its digits fit u64.
const SHORT: usize = 18;

#[inline]
fn short_number(text: &[u8]) -> Option<Short> {
    let negative = *text.first()? == b'-';
    let start = usize::from(negative);
    let mut digits = 0u64;
    let mut at = start;
    let digit = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9);
    while let Some(next) = digit(at) {
        digits = digits.wrapping_mul(10).wrapping_add(next.into());
        at += 1;
    }
    if at == start || text.get(start) == Some(&b'0') && at > start + 1 {
        return None;
    }
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        at += 1;
        while let Some(next) = digit(at) {
            digits = digits.wrapping_mul(10).wrapping_add(next.into());
            at += 1;
            fraction += 1;
        }
        if fraction == 0 {
            return None;
        }
    }
    let over = at > SHORT || matches!(text.get(at), Some(b'e' | b'E'));
    (!over).then_some(Short { negative, digits, fraction, length: at })
}

/// The integer at the start of `text`, and its length, if it is short. It may be the start of something longer only if
/// that is no number.
#[inline]
pub fn short_integer(text: &[u8]) -> Option<(i64, usize)> {
    let number = short_number(text)?;
    if number.fraction > 0 {
        return None;
    }
    let value = number.digits as i64;
    match (number.negative, value) {
        (true, 0) => None,
        (true, _) => Some((-value, number.length)),
        (false, _) => Some((value, number.length)),
    }
}

/// The decimal at the start of `text` as f64, and its length, if it is short: with at most 15 significant digits and no
/// exponent it is the quotient of two exact f64, so one division rounds correctly; and no other decimal as short lies as
/// near, so that the shortest text gives it back.
#[inline]
pub fn short_float(text: &[u8]) -> Option<(f64, usize)> {
    let number = short_number(text)?;
    if number.digits >= 1_000_000_000_000_000 {
        return None;
    }
    let value = number.digits as f64 / POWERS.get(number.fraction)?;
    Some((if number.negative { -value } else { value }, number.length))
}

fn exact_float(token: &[u8]) -> Option<f64> {
    let written = Significant::of(token)?;
    let value: f64 = std::str::from_utf8(token).ok()?.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let mut shortest = [0; 32];
    let mut left = &mut shortest[..];
    write!(left, "{value:e}").ok()?;
    let length = 32 - left.len();
    (Significant::of(&shortest[..length])? == written).then_some(value)
}

/// A number without the zeros around it: `0.d1d2d3… × 10^exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Significant {
    negative: bool,
    digits: [u8; Self::MOST],
    count: usize,
    exponent: i64,
}

impl Significant {
    /// The shortest text of an f64 has at most 17 significant digits.
    const MOST: usize = 17;

    /// None if there are more digits than an f64 can give back.
    fn of(token: &[u8]) -> Option<Self> {
        let mut this = Self { negative: token.starts_with(b"-"), digits: [0; Self::MOST], count: 0, exponent: 0 };
        let (mantissa, power) = match token.iter().position(|byte| byte | 0x20 == b'e') {
            Some(at) => (&token[..at], power_of_ten(&token[at + 1..])),
            None => (token, 0),
        };
        let mut zeros = 0;
        let mut behind_point = false;
        for byte in mantissa {
            match byte {
                b'0' if this.count == 0 => this.exponent -= i64::from(behind_point),
                b'0'..=b'9' => {
                    this.exponent += i64::from(!behind_point);
                    if *byte == b'0' {
                        zeros += 1;
                        continue;
                    }
                    if this.count + zeros >= Self::MOST {
                        return None;
                    }
                    this.count += zeros;
                    this.digits[this.count] = byte - b'0';
                    this.count += 1;
                    zeros = 0;
                }
                b'.' => behind_point = true,
                _ => {}
            }
        }
        this.exponent = if this.count == 0 { 0 } else { this.exponent.saturating_add(power) };
        Some(this)
    }
}

/// The value of an exponent; one that is absurdly large stays large.
fn power_of_ten(digits: &[u8]) -> i64 {
    let negative = digits.starts_with(b"-");
    let value = digits
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .fold(0i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    if negative { -value } else { value }
}

/// A decimal number as an integer of units of `10^-scale`, if it has at most `precision` digits and is exact.
pub fn decimal(token: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let negative = token.starts_with(b"-");
    let (mantissa, power) = match token.iter().position(|byte| byte | 0x20 == b'e') {
        Some(at) => (&token[..at], power_of_ten(&token[at + 1..])),
        None => (token, 0),
    };
    let mut value = 0i128;
    let mut behind_point = false;
    // How many powers of ten the units are away from the last digit taken into `value`.
    let mut shift = power.saturating_add(i64::from(scale));
    let mut zeros = 0u32;
    for byte in mantissa {
        match byte {
            b'.' => behind_point = true,
            b'0'..=b'9' => {
                shift = shift.saturating_sub(i64::from(behind_point));
                zeros += 1;
                if *byte != b'0' {
                    value = value.checked_mul(10i128.checked_pow(zeros)?)?.checked_add(i128::from(byte - b'0'))?;
                    zeros = 0;
                }
                if value == 0 {
                    zeros = 0;
                }
            }
            _ => {}
        }
    }
    if value == 0 {
        return (!negative).then_some(0);
    }
    let up = u32::try_from(shift.saturating_add(i64::from(zeros))).ok()?;
    let value = value.checked_mul(10i128.checked_pow(up)?)?;
    let limit = 10i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;

/// Two digits at `at`.
#[inline]
fn two(text: &[u8], at: usize) -> Option<i64> {
    let [tens, ones] = *text.get(at..at + 2)?.first_chunk::<2>()?;
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, which must be `YYYY-MM-DD`.
#[inline]
pub fn date(text: &[u8]) -> Option<i32> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two(text, 0)? * 100 + two(text, 2)?;
    let (month, day) = (two(text, 5)?, two(text, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day == 0 || day > days_in_month {
        return None;
    }
    // The year is counted from March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
    i32::try_from(days).ok()
}

/// `HH:MM:SS` with at most six digits after a point, in microseconds, and the bytes it took. No leap second.
#[inline]
fn clock(text: &[u8]) -> Option<(i64, usize)> {
    let (hour, minute, second) = (two(text, 0)?, two(text, 3)?, two(text, 6)?);
    if text[2] != b':' || text[5] != b':' || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut micros = 0;
    let mut end = 8;
    if text.get(8) == Some(&b'.') {
        let mut unit = MICROS;
        end = 9;
        while let Some(digit) = text.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
            unit /= 10;
            if unit == 0 {
                return None;
            }
            micros += i64::from(digit) * unit;
            end += 1;
        }
        if end == 9 {
            return None;
        }
    }
    Some((((hour * 60 + minute) * 60 + second) * MICROS + micros, end))
}

/// A time of day in microseconds: `HH:MM:SS[.ffffff]`.
pub fn time(text: &[u8]) -> Option<i64> {
    clock(text).filter(|(_, end)| *end == text.len()).map(|(micros, _)| micros)
}

/// An instant in microseconds from 1970: RFC 3339 with its offset and at most six digits of fraction, and, in UTC, in one
/// of the years 0 to 9999.
#[inline]
pub fn timestamp(text: &[u8]) -> Option<i64> {
    const FIRST: i64 = -719_528 * DAY * MICROS;
    const END: i64 = 2_932_897 * DAY * MICROS;
    let days = date(text.get(..10)?)?;
    if !matches!(text.get(10)?, b'T' | b't' | b' ') {
        return None;
    }
    let rest = &text[11..];
    let (micros, end) = clock(rest)?;
    let offset = match rest.get(end..)? {
        b"Z" | b"z" => 0,
        zone @ [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (two(zone, 1)?, two(zone, 4)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 60 + minutes) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let instant = i64::from(days) * DAY * MICROS + micros - offset * MICROS;
    (FIRST..END).contains(&instant).then_some(instant)
}
