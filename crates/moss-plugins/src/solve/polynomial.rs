//! Polynomials in several variables, and fractions of them, with exact coefficients.

use std::{cell::Cell, collections::BTreeMap};

use num_rational::BigRational;
use num_traits::{One, Zero};

use super::error::EquationError;

/// The most variables of a system.
pub(super) const MAX_VARIABLES: usize = 8;
/// The highest degree of a term.
const MAX_DEGREE: u32 = 12;
/// The most bits of a numerator or denominator.
const MAX_BITS: u64 = 1024;
/// The most products of terms for one system. They take about a microsecond each.
const MAX_PRODUCTS: usize = 20_000;

type Result<T> = std::result::Result<T, EquationError>;

/// The exponent of each variable.
pub(super) type Monomial = [u8; MAX_VARIABLES];

/// Counts the products of terms.
#[derive(Debug, Default)]
pub(super) struct Work(Cell<usize>);

impl Work {
    fn add(&self, products: usize) -> Result<()> {
        self.0.set(self.0.get() + products);
        if self.0.get() > MAX_PRODUCTS {
            return Err(EquationError::TooLarge);
        }
        Ok(())
    }
}

/// A sum of terms, none of which is zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Polynomial {
    terms: BTreeMap<Monomial, BigRational>,
}

impl Polynomial {
    pub(super) fn constant(value: BigRational) -> Self {
        Self::term(Monomial::default(), value)
    }

    pub(super) fn variable(index: usize) -> Self {
        let mut monomial = Monomial::default();
        monomial[index] = 1;
        Self::term(monomial, BigRational::one())
    }

    fn term(monomial: Monomial, value: BigRational) -> Self {
        let term = Some((monomial, value)).filter(|(_, value)| !value.is_zero());
        Self {
            terms: term.into_iter().collect(),
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Returns the value of a polynomial without variables.
    pub(super) fn as_constant(&self) -> Option<BigRational> {
        if self.degree() > 0 {
            return None;
        }
        Some(self.coefficient(&Monomial::default()))
    }

    /// Returns the highest sum of the exponents of a term.
    pub(super) fn degree(&self) -> u32 {
        self.terms.keys().map(total).max().unwrap_or(0)
    }

    pub(super) fn coefficient(&self, monomial: &Monomial) -> BigRational {
        let found = self.terms.get(monomial);
        found.cloned().unwrap_or_else(BigRational::zero)
    }

    /// Returns the coefficients of the powers of one variable, from the constant on.
    pub(super) fn coefficients(&self, variable: usize) -> Vec<BigRational> {
        let power = |exponent| {
            let mut monomial = Monomial::default();
            monomial[variable] = exponent as u8;
            self.coefficient(&monomial)
        };
        (0..=self.degree()).map(power).collect()
    }

    /// Returns the value at a point.
    pub(super) fn at(&self, point: &[BigRational]) -> BigRational {
        let value = |(monomial, value): (&Monomial, &BigRational)| {
            let powers = point.iter().zip(monomial);
            powers.fold(value.clone(), |value, (x, exponent)| {
                value * x.pow(i32::from(*exponent))
            })
        };
        self.terms.iter().map(value).sum()
    }

    fn add(mut self, other: Self, work: &Work) -> Result<Self> {
        work.add(other.terms.len())?;
        for (monomial, value) in other.terms {
            self.add_term(monomial, value)?;
        }
        Ok(self)
    }

    fn multiply(&self, other: &Self, work: &Work) -> Result<Self> {
        work.add(self.terms.len() * other.terms.len())?;
        let mut product = Self::default();
        for (one, a) in &self.terms {
            for (two, b) in &other.terms {
                if total(one) + total(two) > MAX_DEGREE {
                    return Err(EquationError::TooLarge);
                }
                let monomial = std::array::from_fn(|index| one[index] + two[index]);
                product.add_term(monomial, a * b)?;
            }
        }
        Ok(product)
    }

    fn add_term(&mut self, monomial: Monomial, value: BigRational) -> Result<()> {
        let sum = self.coefficient(&monomial) + value;
        if sum.numer().bits().max(sum.denom().bits()) > MAX_BITS {
            return Err(EquationError::TooLarge);
        }
        if sum.is_zero() {
            self.terms.remove(&monomial);
        } else {
            self.terms.insert(monomial, sum);
        }
        Ok(())
    }

    fn negate(mut self) -> Self {
        for value in self.terms.values_mut() {
            *value = -std::mem::take(value);
        }
        self
    }
}

fn total(monomial: &Monomial) -> u32 {
    monomial.iter().map(|exponent| u32::from(*exponent)).sum()
}

/// A quotient of two polynomials.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fraction {
    pub(super) top: Polynomial,
    /// Not zero.
    pub(super) bottom: Polynomial,
}

impl From<Polynomial> for Fraction {
    fn from(top: Polynomial) -> Self {
        Self {
            top,
            bottom: Polynomial::constant(BigRational::one()),
        }
    }
}

impl Fraction {
    pub(super) fn add(self, other: Self, work: &Work) -> Result<Self> {
        if self.bottom == other.bottom {
            return Ok(Self {
                top: self.top.add(other.top, work)?,
                bottom: self.bottom,
            });
        }
        let left = self.top.multiply(&other.bottom, work)?;
        let right = other.top.multiply(&self.bottom, work)?;
        Ok(Self {
            top: left.add(right, work)?,
            bottom: self.bottom.multiply(&other.bottom, work)?,
        })
    }

    pub(super) fn negate(self) -> Self {
        Self {
            top: self.top.negate(),
            ..self
        }
    }

    pub(super) fn multiply(self, other: &Self, work: &Work) -> Result<Self> {
        Ok(Self {
            top: self.top.multiply(&other.top, work)?,
            bottom: self.bottom.multiply(&other.bottom, work)?,
        })
    }

    pub(super) fn divide(self, other: Self, work: &Work) -> Result<Self> {
        let inverse = other.invert()?;
        // A constant divisor leaves the denominator as it is, so that equal ones stay equal.
        if let (Some(top), Some(bottom)) = (inverse.top.as_constant(), inverse.bottom.as_constant())
        {
            let factor = Polynomial::constant(top / bottom);
            return self.multiply(&factor.into(), work);
        }
        self.multiply(&inverse, work)
    }

    pub(super) fn power(self, exponent: i32, work: &Work) -> Result<Self> {
        let base = if exponent < 0 { self.invert()? } else { self };
        let mut power = Self::from(Polynomial::constant(BigRational::one()));
        for _ in 0..exponent.unsigned_abs() {
            power = power.multiply(&base, work)?;
        }
        Ok(power)
    }

    fn invert(self) -> Result<Self> {
        if self.top.is_zero() {
            return Err(EquationError::DivisionByZero);
        }
        Ok(Self {
            top: self.bottom,
            bottom: self.top,
        })
    }
}
