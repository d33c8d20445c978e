//! Decimals with 15 significant digits, as SymPy prints them.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{Pow, Signed, Zero};

/// Significant digits.
const DIGITS: i64 = 15;

/// Returns a number with 15 significant digits. `strips` removes zeros at the end, as SymPy does
/// for a part of a sum.
pub(super) fn decimal(value: &BigRational, strips: bool) -> String {
    if value.is_zero() {
        return "0".to_owned();
    }
    let sign = if value.is_negative() { "-" } else { "" };
    let (mut digits, exponent) = significant(&value.abs());
    let is_fixed = -5 < exponent && exponent < DIGITS;
    if is_fixed && exponent < 0 {
        digits.insert_str(0, &"0".repeat(exponent.unsigned_abs() as usize));
    }
    let split = if is_fixed {
        exponent.max(0) as usize + 1
    } else {
        1
    };
    digits.insert(split, '.');
    if strips {
        digits.truncate(digits.trim_end_matches('0').len());
        if digits.ends_with('.') {
            digits.push('0');
        }
    }
    match exponent {
        _ if is_fixed => format!("{sign}{digits}"),
        0.. => format!("{sign}{digits}e+{exponent}"),
        _ => format!("{sign}{digits}e{exponent}"),
    }
}

/// Returns the significant digits of a positive number, rounded, and the exponent of the first.
fn significant(value: &BigRational) -> (String, i64) {
    let bits = value.numer().bits() as i64 - value.denom().bits() as i64;
    // The logarithm of 2 is 0.30103. The estimate is at most 1 too small.
    let mut exponent = (bits - 1) * 30_103 / 100_000 - 1;
    loop {
        let digits = scaled(value, DIGITS - 1 - exponent).to_string();
        let extra = digits.len() as i64 - DIGITS;
        if extra == 0 {
            return (digits, exponent);
        }
        exponent += extra;
    }
}

/// Returns `value * 10^power`, rounded to an integer.
fn scaled(value: &BigRational, power: i64) -> BigInt {
    let scale = Pow::pow(BigInt::from(10), power.unsigned_abs());
    let (top, bottom) = if power < 0 {
        (value.numer().clone(), value.denom() * scale)
    } else {
        (value.numer() * scale, value.denom().clone())
    };
    let doubled: BigInt = top * 2 + &bottom;
    doubled.div_floor(&(bottom * 2))
}
