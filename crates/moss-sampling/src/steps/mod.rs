//! The chain's links, each a pure function.

pub(crate) mod repetition;
pub(crate) mod top_k;
pub(crate) mod top_p;
