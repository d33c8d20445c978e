//! The built-in logits processors. Those before top-k edit all logits, those after it the
//! candidates.

pub(crate) mod bias;
pub(crate) mod min_p;
pub(crate) mod presence;
pub(crate) mod repetition;
pub(crate) mod stop_length;
pub(crate) mod temperature;
pub(crate) mod top_k;
pub(crate) mod top_p;
