//! The equation solver: systems of linear equations, and the roots of one polynomial, with exact
//! rationals.
//!
//! Solutions are printed as SymPy prints them: fractions, square roots, `I` for the imaginary unit,
//! and decimals with 15 digits if the equation has a decimal point or the root has no closed form.
//!
//! Length, depth, variables, degrees, coefficients and the number of operations are limited.

mod decimal;
mod error;
mod linear;
mod numeric;
mod parser;
mod polynomial;
mod roots;
mod surd;
mod univariate;

pub use self::error::EquationError;
use self::{parser::System, univariate::Univariate};
use crate::{CallContext, Output, Plugin, PluginError, ResultKind, results::MAX_CHARS};

/// The plugin `Solve(equation)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solve;

impl Solve {
    /// Returns the solutions, one per line: `x = 3` for each variable of a linear system, in
    /// alphabetical order, and `x_0 = …`, `x_1 = …` for several roots.
    ///
    /// # Errors
    /// [`EquationError`].
    pub fn solutions(equations: &str) -> Result<Vec<String>, EquationError> {
        let lines = solve(parser::parse(equations)?)?;
        // A longer line would be cut in the results, and its number be another one.
        if lines.iter().any(|line| line.len() > MAX_CHARS) {
            return Err(EquationError::TooLarge);
        }
        Ok(lines)
    }
}

impl Plugin for Solve {
    fn name(&self) -> &str {
        "Solve"
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Lines
    }

    fn call(&self, argument: &str, _: &CallContext) -> Result<Output, PluginError> {
        Ok(Output::Lines(Self::solutions(argument)?))
    }
}

fn solve(system: System) -> Result<Vec<String>, EquationError> {
    let System {
        equations,
        names,
        has_decimals,
    } = system;
    if names.is_empty() || equations.is_empty() {
        return Err(EquationError::NoUnknown);
    }
    if equations.iter().all(|equation| equation.top.degree() <= 1) {
        let solution = linear::solve(&equations, names.len())?;
        let shown = solution.iter().map(|value| match has_decimals {
            true => decimal::decimal(value, false),
            false => value.to_string(),
        });
        let mut pairs: Vec<_> = names.iter().zip(shown).collect();
        pairs.sort();
        let lines = pairs.into_iter();
        return Ok(lines
            .map(|(name, value)| format!("{name} = {value}"))
            .collect());
    }
    let ([equation], [name]) = (&equations[..], &names[..]) else {
        return Err(EquationError::NotPolynomial);
    };
    let top = Univariate::new(equation.top.coefficients(0));
    let bottom = Univariate::new(equation.bottom.coefficients(0));
    // The time of common factors and roots grows with the size of the numbers.
    if top.bits().max(bottom.bits()) > MAX_POLYNOMIAL_BITS {
        return Err(EquationError::TooLarge);
    }
    let roots = roots::texts(&top.without(&bottom), has_decimals)?;
    Ok(match &roots[..] {
        [root] => vec![format!("{name} = {root}")],
        roots => {
            let numbered = roots.iter().enumerate();
            numbered
                .map(|(index, root)| format!("{name}_{index} = {root}"))
                .collect()
        }
    })
}

/// The most bits of a whole coefficient of a polynomial: 154 digits.
const MAX_POLYNOMIAL_BITS: u64 = 512;
