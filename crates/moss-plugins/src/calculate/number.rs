//! Numbers with the arithmetic of Python: integers without overflow, and doubles.

use std::{cmp::Ordering, fmt};

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};

use super::error::ExpressionError;

/// The most bits of an integer: 510 digits. Longer ones are never an answer to a question, and
/// would fill the context window.
const MAX_BITS: u64 = 1695;
/// Bits of a double's mantissa.
const MANTISSA: u64 = 53;

/// A number of Python.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Int(BigInt),
    Float(f64),
}

type Result = std::result::Result<Number, ExpressionError>;

impl Number {
    /// Returns an integer of a limited size.
    pub(super) fn int(value: BigInt) -> Result {
        if value.bits() > MAX_BITS {
            return Err(ExpressionError::TooLarge);
        }
        Ok(Self::Int(value))
    }

    /// Returns the nearest integer of a whole double.
    pub(super) fn whole(value: f64) -> Result {
        BigInt::from_f64(value)
            .map(Self::Int)
            .ok_or(ExpressionError::Overflow)
    }

    /// Returns the nearest double.
    pub(super) fn to_float(&self) -> std::result::Result<f64, ExpressionError> {
        match self {
            Self::Float(value) => Ok(*value),
            Self::Int(value) => {
                let float = value.to_f64().filter(|float| float.is_finite());
                float.ok_or(ExpressionError::Overflow)
            }
        }
    }

    pub(super) fn negate(self) -> Self {
        match self {
            Self::Int(value) => Self::Int(-value),
            Self::Float(value) => Self::Float(-value),
        }
    }

    pub(super) fn abs(self) -> Self {
        match self {
            Self::Int(value) => Self::Int(value.abs()),
            Self::Float(value) => Self::Float(value.abs()),
        }
    }

    pub(super) fn add(self, other: Self) -> Result {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::int(a + b),
            (a, b) => Ok(Self::Float(a.to_float()? + b.to_float()?)),
        }
    }

    pub(super) fn subtract(self, other: Self) -> Result {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::int(a - b),
            (a, b) => Ok(Self::Float(a.to_float()? - b.to_float()?)),
        }
    }

    pub(super) fn multiply(self, other: Self) -> Result {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::int(a * b),
            (a, b) => Ok(Self::Float(a.to_float()? * b.to_float()?)),
        }
    }

    /// Divides with `/`, whose result is a double.
    pub(super) fn divide(self, other: Self) -> Result {
        other.check_divisor()?;
        Ok(Self::Float(match (self, other) {
            (Self::Int(a), Self::Int(b)) => true_quotient(&a, &b)?,
            (a, b) => a.to_float()? / b.to_float()?,
        }))
    }

    /// Divides with `//`, which rounds down.
    pub(super) fn divide_floor(self, other: Self) -> Result {
        other.check_divisor()?;
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::int(a.div_floor(&b)),
            (a, b) => Ok(Self::Float(float_divmod(a.to_float()?, b.to_float()?).0)),
        }
    }

    /// Returns the remainder of `//`, which has the sign of the divisor.
    pub(super) fn modulo(self, other: Self) -> Result {
        other.check_divisor()?;
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Self::int(a.mod_floor(&b)),
            (a, b) => Ok(Self::Float(float_divmod(a.to_float()?, b.to_float()?).1)),
        }
    }

    pub(super) fn power(self, exponent: Self) -> Result {
        match (self, exponent) {
            (Self::Int(base), Self::Int(exponent)) if !exponent.is_negative() => {
                int_power(&base, &exponent)
            }
            (base, exponent) => float_power(base.to_float()?, exponent.to_float()?),
        }
    }

    pub(super) fn compare(&self, other: &Self) -> std::result::Result<Ordering, ExpressionError> {
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            return Ok(a.cmp(b));
        }
        let order = self.to_float()?.partial_cmp(&other.to_float()?);
        order.ok_or(ExpressionError::Domain)
    }

    fn check_divisor(&self) -> std::result::Result<(), ExpressionError> {
        let is_zero = match self {
            Self::Int(value) => value.is_zero(),
            Self::Float(value) => *value == 0.0,
        };
        if is_zero {
            return Err(ExpressionError::DivisionByZero);
        }
        Ok(())
    }
}

/// Returns the double next to the quotient of two integers, of which `b` is not 0.
fn true_quotient(a: &BigInt, b: &BigInt) -> std::result::Result<f64, ExpressionError> {
    if let (Some(x), Some(y)) = (a.to_f64(), b.to_f64())
        && a.bits() <= MANTISSA
        && b.bits() <= MANTISSA
    {
        return Ok(x / y);
    }
    // A quotient with more bits than a mantissa, whose last one says that a remainder was left out.
    let shift = b.bits() as i64 - a.bits() as i64 + MANTISSA as i64 + 12;
    let (mut top, mut bottom) = (a.magnitude().clone(), b.magnitude().clone());
    if shift >= 0 {
        top <<= shift;
    } else {
        bottom <<= -shift;
    }
    let (mut quotient, remainder) = top.div_rem(&bottom);
    if !remainder.is_zero() {
        quotient.set_bit(0, true);
    }
    let half = (-shift / 2) as i32;
    let scaled = quotient.to_f64().unwrap_or(f64::INFINITY);
    let value = scaled * 2f64.powi(half) * 2f64.powi(-shift as i32 - half);
    if value.is_infinite() {
        return Err(ExpressionError::Overflow);
    }
    let is_negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    Ok(if is_negative { -value } else { value })
}

/// Returns quotient and remainder as CPython's `float_divmod`; `b` is not 0.
fn float_divmod(a: f64, b: f64) -> (f64, f64) {
    let mut remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder == 0.0 {
        remainder = 0f64.copysign(b);
    } else if (b < 0.0) != (remainder < 0.0) {
        remainder += b;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0f64.copysign(a / b), remainder);
    }
    let floor = quotient.floor();
    let floor = if quotient - floor > 0.5 {
        floor + 1.0
    } else {
        floor
    };
    (floor, remainder)
}

fn int_power(base: &BigInt, exponent: &BigInt) -> Result {
    if base.magnitude().bits() <= 1 {
        // 0, 1 and -1 have every power.
        let is_one = exponent.is_zero() || base.is_positive();
        return Ok(Number::Int(match base.sign() {
            _ if is_one => BigInt::from(1),
            Sign::Minus if exponent.is_even() => BigInt::from(1),
            _ => base.clone(),
        }));
    }
    let exponent = exponent.to_u32().ok_or(ExpressionError::TooLarge)?;
    // The power has at least (bits - 1) * exponent bits.
    if (base.bits() - 1).saturating_mul(exponent.into()) > MAX_BITS {
        return Err(ExpressionError::TooLarge);
    }
    Number::int(base.pow(exponent))
}

fn float_power(base: f64, exponent: f64) -> Result {
    if base == 0.0 && exponent < 0.0 {
        return Err(ExpressionError::DivisionByZero);
    }
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        return Err(ExpressionError::Domain); // a complex number
    }
    let power = base.powf(exponent);
    if power.is_infinite() && base.is_finite() && exponent.is_finite() {
        return Err(ExpressionError::Overflow);
    }
    Ok(Number::Float(power))
}

/// The text of Python's `repr`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Float(value) if value.is_nan() => f.write_str("nan"),
            Self::Float(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "inf" } else { "-inf" })
            }
            Self::Float(value) => write_float(*value, f),
        }
    }
}

/// Writes the shortest digits that give the same double, with an exponent from 1e16 on and below
/// 1e-4.
fn write_float(value: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let scientific = shortest(value);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(f, "{digits}e{sign}{:02}", exponent.abs());
    }
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len()) as i32;
    write!(f, "{value:.0$}", (places - exponent).max(1) as usize)
}

/// Returns the shortest digits, and an exponent. Of two that are equally near, Python takes the
/// even one, and Rust the larger one.
fn shortest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits = shortest.split('e').next().unwrap_or_default();
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    let even = format!("{value:.places$e}");
    if even.parse() == Ok(value) {
        even
    } else {
        shortest
    }
}
