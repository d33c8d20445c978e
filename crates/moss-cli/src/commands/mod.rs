//! One file a subcommand.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod serve;
pub(crate) mod tokenize;
pub(crate) mod verify;
