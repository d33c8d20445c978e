//! The roots of a polynomial as decimals: Aberth's method with doubles, and then Newton's method
//! with exact values of the polynomial.

use std::cmp::Ordering;

use num_complex::Complex64;
use num_rational::BigRational;
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};

use super::{error::EquationError, univariate::Univariate};

/// Rounds of Aberth's method. Polynomials with separate roots need fewer than 50.
const MAX_ROUNDS: usize = 500;
/// A root has converged when a round changes it by less than this share of its magnitude.
const CONVERGED: f64 = 1e-13;
/// A root is real if its imaginary part is less than this share of its magnitude.
const REAL: f64 = 1e-10;

/// A root with more digits than a double.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) re: BigRational,
    pub(super) im: BigRational,
}

impl Root {
    pub(super) fn real(re: BigRational) -> Self {
        let im = BigRational::zero();
        Self { re, im }
    }

    /// Orders real roots before others.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let is_complex = |root: &Self| !root.im.is_zero();
        let kind = is_complex(self).cmp(&is_complex(other));
        kind.then_with(|| self.re.cmp(&other.re))
            .then_with(|| self.im.cmp(&other.im))
    }
}

/// Returns the rational roots of a polynomial without multiple roots.
///
/// The denominator of a rational root divides the leading coefficient of a polynomial with whole
/// coefficients, so that a root that is nearly one can be rounded, and then checked.
///
/// # Errors
/// [`EquationError::NotConverged`].
pub(super) fn rational_roots(polynomial: &Univariate) -> Result<Vec<BigRational>, EquationError> {
    let (mut found, mut rest) = (Vec::new(), polynomial.clone());
    if rest.at(&BigRational::zero()).is_zero() {
        found.push(BigRational::zero());
        rest = rest.deflate(&BigRational::zero());
    }
    let Some(leading) = rest.coefficients().last() else {
        return Ok(found);
    };
    let roots = roots(&rest)?;
    let real = roots.iter().filter(|root| root.im.is_zero());
    let rounded = real.map(|root| (&root.re * leading).round() / leading);
    found.extend(rounded.filter(|root| rest.at(root).is_zero()));
    Ok(found)
}

/// Returns the roots of a polynomial without multiple roots, in order.
///
/// # Errors
/// [`EquationError::NotConverged`].
pub(super) fn roots(polynomial: &Univariate) -> Result<Vec<Root>, EquationError> {
    if polynomial.degree() == 0 {
        return Ok(Vec::new());
    }
    let derivative = polynomial.derivative();
    let approximate = aberth(polynomial)?;
    let refined = approximate
        .into_iter()
        .map(|root| refined(polynomial, &derivative, root));
    let refined: Option<Vec<_>> = refined.collect();
    let mut refined = refined.ok_or(EquationError::NotConverged)?;
    refined.sort_by(Root::compare);
    Ok(refined)
}

fn aberth(polynomial: &Univariate) -> Result<Vec<Complex64>, EquationError> {
    let coefficients = polynomial.to_floats().ok_or(EquationError::NotConverged)?;
    let leading = coefficients.last().copied().unwrap_or_default();
    let degree = polynomial.degree();
    // Fujiwara's bound of the magnitude of the roots.
    let bounds = coefficients[..degree]
        .iter()
        .enumerate()
        .map(|(power, value)| (value / leading).abs().powf(1.0 / (degree - power) as f64));
    let radius = 2.0 * bounds.fold(0.0, f64::max);
    let start = |index: usize| {
        // The angle is not symmetric, so that roots do not stay on the real axis.
        let angle = std::f64::consts::TAU * index as f64 / degree as f64 + 0.4;
        Complex64::from_polar(radius / 2.0, angle)
    };
    let mut roots: Vec<_> = (0..degree).map(start).collect();
    for _ in 0..MAX_ROUNDS {
        let mut has_converged = true;
        for index in 0..degree {
            let root = roots[index];
            let (value, slope) = value_and_slope(&coefficients, root);
            if value.is_zero() {
                continue;
            }
            let newton = value / slope;
            let others = roots
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let repulsion: Complex64 = others.map(|(_, other)| (root - other).inv()).sum();
            let step = newton / (Complex64::new(1.0, 0.0) - newton * repulsion);
            if !step.is_finite() {
                return Err(EquationError::NotConverged);
            }
            roots[index] = root - step;
            has_converged &= size(step) <= CONVERGED * size(roots[index]);
        }
        if has_converged {
            break;
        }
    }
    Ok(roots)
}

/// Returns the larger part. The absolute value would need `hypot` of glibc 2.35.
fn size(x: Complex64) -> f64 {
    x.re.abs().max(x.im.abs())
}

fn value_and_slope(coefficients: &[f64], x: Complex64) -> (Complex64, Complex64) {
    let zero = Complex64::default();
    let step = |(value, slope): (Complex64, Complex64), coefficient: &f64| {
        (value * x + coefficient, slope * x + value)
    };
    coefficients.iter().rev().fold((zero, zero), step)
}

/// Improves a root, of which real ones lose their imaginary part.
fn refined(polynomial: &Univariate, derivative: &Univariate, root: Complex64) -> Option<Root> {
    let is_real = root.im.abs() <= REAL * size(root);
    let is_imaginary = root.re.abs() <= REAL * size(root);
    let mut root = Root {
        re: BigRational::from_f64(if is_imaginary && !is_real {
            0.0
        } else {
            root.re
        })?,
        im: BigRational::from_f64(if is_real { 0.0 } else { root.im })?,
    };
    for last in [false, true] {
        let (value_re, value_im) = exact(polynomial, &root);
        let (slope_re, slope_im) = exact(derivative, &root);
        let square = &slope_re * &slope_re + &slope_im * &slope_im;
        if square.is_zero() {
            return None;
        }
        let re = (&value_re * &slope_re + &value_im * &slope_im) / &square;
        let im = (&value_im * &slope_re - &value_re * &slope_im) / &square;
        // Converges quadratically, so that a few digits of the last step are enough.
        let (re, im) = (re.to_f64()?, im.to_f64()?);
        let magnitude = root.re.abs().max(root.im.abs()).to_f64()?;
        if last && re.abs().max(im.abs()) > 1e-8 * magnitude {
            return None;
        }
        let next = |part: &BigRational, step: f64| {
            let moved = part - BigRational::from_f64(step)?;
            // All but the last step are rounded, which keeps the fractions short.
            if last {
                Some(moved)
            } else {
                BigRational::from_f64(moved.to_f64()?)
            }
        };
        root = Root {
            re: next(&root.re, re)?,
            im: next(&root.im, im)?,
        };
    }
    Some(root)
}

/// Returns the exact value at a complex number.
fn exact(polynomial: &Univariate, at: &Root) -> (BigRational, BigRational) {
    let zero = || (BigRational::zero(), BigRational::zero());
    let step = |(re, im): (BigRational, BigRational), coefficient: &BigRational| {
        let real = &re * &at.re - &im * &at.im + coefficient;
        (real, re * &at.im + im * &at.re)
    };
    polynomial.coefficients().iter().rev().fold(zero(), step)
}
