//! What can be wrong with sampling parameters and logits.

mod zh;

/// Errors of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A parameter outside its range.
    #[error("`{name}` is {found}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: f32,
        /// Its range.
        expected: &'static str,
    },
    /// A bias for something that is no token.
    #[error("`logit_bias` names token id {id}, but there are {tokens} tokens, counted from 0")]
    UnknownBias {
        /// The id.
        id: u32,
        /// Number of tokens that may be drawn.
        tokens: usize,
    },
    /// Logits that no token can be drawn from.
    #[error("at step {step} the logit of token {id} is {value}, expected a finite number")]
    BadLogits {
        /// Tokens generated before this one.
        step: usize,
        /// The token.
        id: usize,
        /// inf or NaN.
        value: f32,
    },
    /// Every token is ruled out.
    #[error("at step {step} every token has the logit -inf")]
    NothingLeft {
        /// Tokens generated before this one.
        step: usize,
    },
}

impl SamplingError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::BadLogits { .. } => {
                Some("the weights may be damaged; `--dtype f32` rules out overflow".into())
            }
            Self::UnknownBias { .. } => Some("the id may be of another model's tokenizer".into()),
            _ => None,
        }
    }
}
