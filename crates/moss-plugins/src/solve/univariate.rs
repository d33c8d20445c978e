//! Polynomials in one variable.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// The coefficients of the powers, from the constant on. The last one is not zero.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Univariate(Vec<BigRational>);

impl Univariate {
    pub(super) fn new(mut coefficients: Vec<BigRational>) -> Self {
        while coefficients.last().is_some_and(Zero::is_zero) {
            coefficients.pop();
        }
        Self(coefficients)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    pub(super) fn coefficients(&self) -> &[BigRational] {
        &self.0
    }

    /// Returns the bits of the largest coefficient of [`Self::primitive`].
    pub(super) fn bits(&self) -> u64 {
        let primitive = self.primitive();
        let bits = primitive.0.iter().map(|value| value.numer().bits());
        bits.max().unwrap_or(0)
    }

    pub(super) fn at(&self, x: &BigRational) -> BigRational {
        let step = |value: BigRational, coefficient: &BigRational| value * x + coefficient;
        self.0.iter().rev().fold(BigRational::zero(), step)
    }

    pub(super) fn derivative(&self) -> Self {
        let factors = self.0.iter().enumerate().skip(1);
        let scaled = factors.map(|(power, value)| value * BigRational::from(BigInt::from(power)));
        Self::new(scaled.collect())
    }

    /// Returns the polynomial whose roots are the same, each once.
    pub(super) fn square_free(&self) -> Self {
        self.without(&self.derivative())
    }

    /// Returns the polynomial without the factors that it shares with another one.
    pub(super) fn without(&self, other: &Self) -> Self {
        self.divide(&self.greatest_common(other)).0.primitive()
    }

    /// Divides by `x - root`.
    pub(super) fn deflate(&self, root: &BigRational) -> Self {
        let divisor = Self::new(vec![-root, BigRational::one()]);
        self.divide(&divisor).0.primitive()
    }

    /// Returns the coefficients divided by the largest one, as doubles.
    pub(super) fn to_floats(&self) -> Option<Vec<f64>> {
        let largest = self.0.iter().map(Signed::abs).max()?;
        let scaled = self.0.iter().map(|value| (value / &largest).to_f64());
        scaled.collect()
    }

    fn greatest_common(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.primitive(), other.primitive());
        while !b.is_zero() {
            let remainder = a.divide(&b).1.primitive();
            (a, b) = (b, remainder);
        }
        a
    }

    /// Returns quotient and remainder. The divisor is not zero.
    fn divide(&self, divisor: &Self) -> (Self, Self) {
        let mut rest = self.0.clone();
        let mut quotient = Vec::new();
        while rest.len() >= divisor.0.len() && !divisor.is_zero() {
            let (Some(first), Some(leading)) = (rest.last(), divisor.0.last()) else {
                break;
            };
            let factor = first / leading;
            let start = rest.len() - divisor.0.len();
            for (value, other) in rest[start..].iter_mut().zip(&divisor.0) {
                *value = &*value - &factor * other;
            }
            rest.pop();
            quotient.push(factor);
        }
        quotient.reverse();
        (Self::new(quotient), Self::new(rest))
    }

    /// Returns the polynomial with the smallest whole coefficients, which has the same roots.
    pub(super) fn primitive(&self) -> Self {
        let common = |all: BigInt, value: &BigRational| all.lcm(value.denom());
        let denominator = self.0.iter().fold(BigInt::one(), common);
        let whole: Vec<_> = self
            .0
            .iter()
            .map(|value| (value * &denominator).to_integer())
            .collect();
        let divisor = whole
            .iter()
            .fold(BigInt::zero(), |all, value| all.gcd(value));
        let divided = whole
            .into_iter()
            .map(|value| BigRational::from(value / &divisor));
        Self(divided.collect())
    }
}
