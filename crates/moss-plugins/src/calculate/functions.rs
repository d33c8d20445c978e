//! Functions and constants of expressions: those of Python and of its module `math`.

use std::{cmp::Ordering, f64::consts};

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::{error::ExpressionError, number::Number};

type Result = std::result::Result<Number, ExpressionError>;

/// The most decimal places of `round`. A double has no more than 17 significant digits.
const MAX_PLACES: u32 = 30;

/// Returns a constant.
pub(super) fn constant(name: &str) -> Option<Number> {
    Some(Number::Float(match name {
        "pi" | "Pi" | "PI" => consts::PI,
        "e" => consts::E,
        "tau" => consts::TAU,
        _ => return None,
    }))
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: Vec<Number>) -> Result {
    if let Some(function) = of_one_double(name).filter(|_| arguments.len() == 1) {
        let [argument] = exactly(name, arguments)?;
        return checked(function, argument.to_float()?);
    }
    match name {
        "abs" | "fabs" => exactly(name, arguments).map(|[value]| value.abs()),
        "int" | "trunc" => rounded(name, arguments, f64::trunc),
        "floor" => rounded(name, arguments, f64::floor),
        "ceil" => rounded(name, arguments, f64::ceil),
        "float" => {
            let [value] = exactly(name, arguments)?;
            Ok(Number::Float(value.to_float()?))
        }
        "round" if arguments.len() == 2 => round_to(exactly(name, arguments)?),
        "round" => rounded(name, arguments, f64::round_ties_even),
        "log" if arguments.len() == 2 => {
            let [value, base] = exactly(name, arguments)?;
            let value = checked(f64::ln, value.to_float()?)?;
            value.divide(checked(f64::ln, base.to_float()?)?)
        }
        "pow" => {
            let [base, exponent] = exactly(name, arguments)?;
            base.power(exponent)
        }
        "atan2" => {
            let [y, x] = exactly(name, arguments)?;
            Ok(Number::Float(y.to_float()?.atan2(x.to_float()?)))
        }
        "hypot" => {
            let [x, y] = exactly(name, arguments)?;
            Ok(Number::Float(hypot(x.to_float()?, y.to_float()?)))
        }
        "gcd" | "lcm" => common(name, exactly(name, arguments)?),
        "max" => extreme(name, arguments, Ordering::Greater),
        "min" => extreme(name, arguments, Ordering::Less),
        _ if of_one_double(name).is_some() => Err(ExpressionError::Arguments {
            name: name.to_owned(),
            found: arguments.len(),
        }),
        _ => Err(ExpressionError::UnknownName {
            name: name.to_owned(),
        }),
    }
}

/// Returns a function from double to double.
fn of_one_double(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "sqrt" => f64::sqrt,
        "cbrt" | "CubeRoot" => f64::cbrt,
        "exp" => f64::exp,
        "ln" | "log" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "degrees" => f64::to_degrees,
        "radians" => f64::to_radians,
        _ => return None,
    })
}

/// Applies a function. A finite argument has a finite value, or none, as in Python's `math`.
fn checked(function: fn(f64) -> f64, argument: f64) -> Result {
    let value = function(argument);
    if argument.is_finite() && !value.is_finite() {
        // The logarithm of 0 is infinite, but an error in Python.
        let is_overflow = value == f64::INFINITY;
        return Err(if is_overflow {
            ExpressionError::Overflow
        } else {
            ExpressionError::Domain
        });
    }
    Ok(Number::Float(value))
}

fn exactly<const N: usize>(
    name: &str,
    arguments: Vec<Number>,
) -> std::result::Result<[Number; N], ExpressionError> {
    arguments
        .try_into()
        .map_err(|arguments: Vec<Number>| ExpressionError::Arguments {
            name: name.to_owned(),
            found: arguments.len(),
        })
}

fn rounded(name: &str, arguments: Vec<Number>, round: fn(f64) -> f64) -> Result {
    match exactly(name, arguments)? {
        [Number::Float(value)] => Number::whole(round(value)),
        [value] => Ok(value),
    }
}

/// Returns `sqrt(x * x + y * y)`. `f64::hypot` would need glibc 2.35. The rounding errors of squares,
/// sum and root correct the root (Borges, arXiv 1904.09481).
fn hypot(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() {
        let is_infinite = x.is_infinite() || y.is_infinite();
        return if is_infinite { f64::INFINITY } else { f64::NAN };
    }
    let (x, y) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
    if x.is_infinite() || y == 0.0 {
        return x;
    }
    // A power of two, so that squares neither overflow nor underflow.
    let scale = if x > 1e150 {
        2f64.powi(-600)
    } else if x < 1e-150 {
        2f64.powi(600)
    } else {
        1.0
    };
    let (x, y) = (x * scale, y * scale);
    let (x_square, y_square) = (x * x, y * y);
    let sum = x_square + y_square;
    let root = sum.sqrt();
    let errors = (y_square - (sum - x_square)) + x.mul_add(x, -x_square) + y.mul_add(y, -y_square)
        - root.mul_add(root, -sum);
    (root + errors / (2.0 * root)) / scale
}

/// Rounds to decimal places. Rust's formatting rounds the exact value of a double, as Python does.
fn round_to([value, places]: [Number; 2]) -> Result {
    let Number::Int(places) = &places else {
        return Err(ExpressionError::Domain);
    };
    let places = places.to_u32().ok_or(ExpressionError::Domain)?;
    match value {
        Number::Float(value) if value.is_finite() && places <= MAX_PLACES => {
            let text = format!("{value:.0$}", places as usize);
            Ok(Number::Float(text.parse().unwrap_or(value)))
        }
        value => Ok(value),
    }
}

fn common(name: &str, arguments: [Number; 2]) -> Result {
    let [Number::Int(a), Number::Int(b)] = arguments else {
        return Err(ExpressionError::Domain);
    };
    Number::int(match name {
        "gcd" => num_integer::gcd(a, b),
        _ if a == BigInt::ZERO || b == BigInt::ZERO => BigInt::ZERO,
        _ => num_integer::lcm(a, b),
    })
}

/// Returns the first of the largest or smallest values.
fn extreme(name: &str, arguments: Vec<Number>, wanted: Ordering) -> Result {
    let found = arguments.len();
    let mut values = arguments.into_iter();
    let first = values.next().filter(|_| found > 1);
    let mut best = first.ok_or_else(|| ExpressionError::Arguments {
        name: name.to_owned(),
        found,
    })?;
    for value in values {
        if value.compare(&best)? == wanted {
            best = value;
        }
    }
    Ok(best)
}
