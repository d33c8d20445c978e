//! The reasons why equations have no solution.

use moss_messages::Message;

/// The reason why equations have no solution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum EquationError {
    /// The equations are too long.
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// Too many operators and brackets around a value.
    TooDeep {
        /// The most of them.
        limit: usize,
    },
    /// Too many variables or terms, or degrees or numbers that are too large.
    TooLarge,
    /// A character is not expected at its place.
    Syntax {
        /// Its number, counted from 1.
        position: usize,
    },
    /// A name with more than one letter. Variables have one letter; functions are not known.
    WordVariable {
        /// The name.
        name: String,
    },
    /// Neither linear equations nor one polynomial in one variable.
    NotPolynomial,
    /// There is nothing to solve.
    NoUnknown,
    /// A division by zero.
    DivisionByZero,
    /// Fewer independent equations than variables.
    Underdetermined,
    /// No values satisfy all equations.
    Contradiction,
    /// The equation has no solution.
    NoSolution,
    /// The numeric method did not find the roots.
    NotConverged,
}
