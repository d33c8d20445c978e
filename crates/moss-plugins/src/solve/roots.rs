//! The roots of one polynomial: rational ones exactly, and the others in closed form or as
//! decimals.

use num_rational::BigRational;
use num_traits::{Signed, Zero};

use super::{
    decimal::decimal, error::EquationError, numeric, numeric::Root, surd::Quadratic,
    univariate::Univariate,
};

/// Returns the texts of all different roots, in the order of SymPy: rational ones ascending, then
/// real ones, then complex ones. With decimals, real ones are ascending.
///
/// # Errors
/// [`EquationError::NotConverged`]; [`EquationError::NoSolution`] without roots.
pub(super) fn texts(
    polynomial: &Univariate,
    has_decimals: bool,
) -> Result<Vec<String>, EquationError> {
    let mut rest = polynomial.square_free();
    let mut rational = Vec::new();
    if rest.degree() > 2 {
        rational = numeric::rational_roots(&rest)?;
        for root in &rational {
            rest = rest.deflate(root);
        }
    }
    let quadratic = Quadratic::new(&rest);
    if let [constant, factor] = rest.coefficients() {
        rational.push(-constant / factor);
        rest = Univariate::new(Vec::new());
    }
    let pair = quadratic.as_ref().and_then(Quadratic::rational_roots);
    if let Some(pair) = pair {
        rational.extend(pair);
        rest = Univariate::new(Vec::new());
    }
    rational.sort();
    let texts = if has_decimals {
        let mut roots = numeric::roots(&rest)?;
        roots.extend(rational.into_iter().map(Root::real));
        roots.sort_by(Root::compare);
        roots.iter().map(Root::text).collect()
    } else {
        let mut texts: Vec<_> = rational.iter().map(BigRational::to_string).collect();
        match quadratic.filter(|_| rest.degree() == 2) {
            Some(quadratic) => texts.extend(quadratic.texts()),
            None => texts.extend(numeric::roots(&rest)?.iter().map(Root::text)),
        }
        texts
    };
    if texts.is_empty() {
        return Err(EquationError::NoSolution);
    }
    Ok(texts)
}

impl Root {
    /// Returns the text with 15 significant digits.
    fn text(&self) -> String {
        if self.im.is_zero() {
            return decimal(&self.re, false);
        }
        let im = decimal(&self.im.abs(), true);
        match (self.re.is_zero(), self.im.is_negative()) {
            (true, true) => format!("-{im}*I"),
            (true, false) => format!("{im}*I"),
            (false, true) => format!("{} - {im}*I", decimal(&self.re, true)),
            (false, false) => format!("{} + {im}*I", decimal(&self.re, true)),
        }
    }
}
