//! One file a subcommand.

pub(crate) mod bench;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod convert;
pub(crate) mod doctor;
pub(crate) mod download;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod plugins;
pub(crate) mod quantize;
pub(crate) mod serve;
pub(crate) mod tokenize;
pub(crate) mod verify;
