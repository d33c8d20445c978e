//! The reasons why an expression has no value.

use moss_messages::Message;

/// The reason why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum ExpressionError {
    /// The expression is too long.
    TooLong {
        /// The most bytes.
        limit: usize,
    },
    /// Too many operators and brackets around a value.
    TooDeep {
        /// The most of them.
        limit: usize,
    },
    /// An integer is too large.
    TooLarge,
    /// A double is too large.
    Overflow,
    /// A token is not expected at its place.
    Syntax {
        /// Its character, counted from 1.
        position: usize,
    },
    /// The last statement is missing, or is an assignment.
    NoValue,
    /// A variable or a function is unknown.
    UnknownName {
        /// Its name.
        name: String,
    },
    /// A function has too few or too many arguments.
    Arguments {
        /// Its name.
        name: String,
        /// Their number.
        found: usize,
    },
    /// A division by zero, or a negative power of zero.
    DivisionByZero,
    /// A function is not defined for its argument in real numbers.
    Domain,
}
