//! The roots of a quadratic polynomial, in closed form.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::univariate::Univariate;

/// Square factors are searched up to this number.
const MAX_FACTOR: u32 = 2000;

/// The roots `rational ± factor * sqrt(radicand)`.
#[derive(Debug)]
pub(super) struct Quadratic {
    rational: BigRational,
    /// Not negative.
    factor: BigRational,
    /// Without square factors; 1 if the root is rational or imaginary.
    radicand: BigInt,
    is_imaginary: bool,
}

impl Quadratic {
    /// Solves a polynomial of degree 2.
    pub(super) fn new(polynomial: &Univariate) -> Option<Self> {
        let [c, b, a] = polynomial.coefficients() else {
            return None;
        };
        let two = BigRational::from(BigInt::from(2));
        let discriminant = b * b - a * c * BigRational::from(BigInt::from(4));
        // sqrt(n / d) = sqrt(n * d) / d
        let radicand = (discriminant.numer() * discriminant.denom()).abs();
        let (square, radicand) = split_square(radicand);
        let factor = BigRational::new(square, discriminant.denom().clone()) / (a * &two);
        Some(Self {
            rational: -b / (a * two),
            factor: factor.abs(),
            radicand,
            is_imaginary: discriminant.is_negative(),
        })
    }

    /// Returns the two roots, if they are rational.
    pub(super) fn rational_roots(&self) -> Option<[BigRational; 2]> {
        let is_rational = self.radicand.is_one() && !self.is_imaginary;
        is_rational.then(|| [&self.rational - &self.factor, &self.rational + &self.factor])
    }

    /// Returns the texts of the two roots in the order of SymPy: ascending, unless both parts of
    /// the smaller one are negative and the root is the larger part.
    pub(super) fn texts(&self) -> [String; 2] {
        let (minus, plus) = (self.text(true), self.text(false));
        if self.rational.is_negative() && self.is_root_first(true) {
            [plus, minus]
        } else {
            [minus, plus]
        }
    }

    fn text(&self, is_minus: bool) -> String {
        let surd = self.surd();
        if self.rational.is_zero() {
            return format!("{}{surd}", if is_minus { "-" } else { "" });
        }
        if self.is_root_first(is_minus) {
            let sign = if is_minus { "-" } else { "" };
            let operator = if self.rational.is_negative() {
                '-'
            } else {
                '+'
            };
            return format!("{sign}{surd} {operator} {}", self.rational.abs());
        }
        let operator = if is_minus { '-' } else { '+' };
        format!("{} {operator} {surd}", self.rational)
    }

    /// Returns true if the root is printed before the rational part: both have the same sign, and
    /// the root is the smaller number.
    fn is_root_first(&self, is_minus: bool) -> bool {
        if self.is_imaginary || self.rational.is_negative() != is_minus {
            return false;
        }
        let square = &self.factor * &self.factor * BigRational::from(self.radicand.clone());
        let is_larger = square > &self.rational * &self.rational;
        is_larger == is_minus
    }

    /// Returns `factor * sqrt(radicand)`, such as `3*sqrt(5)*I/2`.
    fn surd(&self) -> String {
        let (top, bottom) = (self.factor.numer(), self.factor.denom());
        let mut parts = Vec::new();
        if !top.is_one() {
            parts.push(top.to_string());
        }
        if !self.radicand.is_one() {
            parts.push(format!("sqrt({})", self.radicand));
        }
        if self.is_imaginary {
            parts.push("I".to_owned());
        }
        let product = parts.join("*");
        if bottom.is_one() {
            return product;
        }
        format!("{product}/{bottom}")
    }
}

/// Returns `(s, r)` with `value = s^2 * r`. `r` may have square factors above [`MAX_FACTOR`].
fn split_square(mut value: BigInt) -> (BigInt, BigInt) {
    let mut square = BigInt::one();
    let root = value.sqrt();
    if &root * &root == value {
        return (root, BigInt::one());
    }
    for factor in 2..=MAX_FACTOR {
        let power = BigInt::from(factor * factor);
        if power > value {
            break;
        }
        while value.is_multiple_of(&power) {
            value /= &power;
            square *= factor;
        }
    }
    (square, value)
}
