//! Errors of sampling.

use moss_messages::Message;

/// The values that a parameter may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
pub enum ParameterRange {
    /// 0 or more.
    AtLeastZero,
    /// 0 to 1.
    ZeroToOne,
    /// Above 0.
    AboveZero,
    /// Any finite number.
    Finite,
    /// Any finite number, or -inf.
    FiniteOrNegInf,
}

/// Errors of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Message)]
#[error("{}", moss_messages::english(self))]
#[non_exhaustive]
pub enum SamplingError {
    /// A parameter outside its range.
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: f32,
        /// Its range.
        expected: ParameterRange,
    },
    /// A logit bias for an id that is not a token.
    UnknownBias {
        /// The id.
        id: u32,
        /// The number of tokens that may be sampled.
        tokens: usize,
    },
    /// A logit that is inf or NaN.
    BadLogits {
        /// Tokens generated before this one.
        step: usize,
        /// The token.
        id: usize,
        /// inf or NaN.
        value: f32,
    },
    /// A token that a device sampled and that may not be sampled.
    NotAllowed {
        /// Tokens generated before this one.
        step: usize,
        /// The token.
        id: u32,
        /// The number of tokens that may be sampled.
        tokens: usize,
    },
    /// Every token is excluded.
    NothingLeft {
        /// Tokens generated before this one.
        step: usize,
    },
}
