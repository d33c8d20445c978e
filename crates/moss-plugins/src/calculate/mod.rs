//! The calculator: expressions with the number rules of Python.
//!
//! An expression has the operators `+ - * / // % ** ^`, of which the last two are the power,
//! functions and constants of Python's `math`, and statements that `;` separates, of which all but
//! the last may assign a variable. Integers stay integers and have no fixed size; `/` returns a
//! double, which is printed with the fewest digits that identify it.
//!
//! Length, depth and the size of integers are limited, so an expression takes at most milliseconds.

mod error;
mod evaluator;
mod functions;
mod lexer;
mod number;

pub use self::error::ExpressionError;
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
