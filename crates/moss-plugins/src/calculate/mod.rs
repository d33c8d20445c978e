//! The calculator: expressions with the number rules of Python.
//!
//! An expression has the operators `+ - * / // % ** ^`, of which the last two are the power,
//! functions and constants of Python's `math`, and statements that `;` separates, of which all but
//! the last may assign a variable. Integers stay integers and have no fixed size; `/` returns a
//! double, which is printed with the fewest digits that identify it.
//!
//! Length, depth and the size of integers are limited, so an expression takes at most milliseconds.

mod evaluator;
mod functions;
mod lexer;
mod number;

use moss_messages::Message;

use crate::{CallContext, Output, Plugin, PluginError, ResultKind};

/// The plugin `Calculate(expression)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calculate;

impl Calculate {
    /// Returns the value of an expression, as Python prints it.
    ///
    /// # Errors
    /// [`ExpressionError`].
    pub fn evaluate(expression: &str) -> Result<String, ExpressionError> {
        evaluator::evaluate(expression)
    }
}

impl Plugin for Calculate {
    fn name(&self) -> &str {
        "Calculate"
    }

    fn kind(&self) -> ResultKind {
        ResultKind::Value
    }

    fn call(&self, argument: &str, _: &CallContext) -> Result<Output, PluginError> {
        Ok(Output::Value(Self::evaluate(argument)?))
    }
}

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
