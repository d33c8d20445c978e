//! Checkpoint to checkpoint: conversion between containers, quantisation, and the measures that
//! judge it.
//!
//! [`convert()`] copies every tensor bit for bit into another container. [`quantize()`] rounds the
//! linear layers to 4 or 8 bits in the published layout: by GPTQ (arXiv 2210.17323) with
//! calibration text, or to the nearest. [`perplexity()`] and [`agreement()`] say what a checkpoint
//! is worth. A folder that is written appears whole, under its own name, or not at all.
//!
//! GPTQ runs on the CPU or on one card; what is done on the CPU is done in the current rayon pool.

mod calibration;
mod convert;
mod device;
mod error;
mod factor;
mod folder;
mod gptq;
mod grid;
mod hessian;
mod layer;
mod layer_work;
mod matrix;
mod measure;
mod pack;
mod published;
mod quantize;
mod round;
mod samples;
mod shards;

pub use convert::{ConvertEvent, ConvertOptions, convert};
pub use error::{FolderAction, NotReplaceable, QuantizeError, TextSet};
pub use measure::{Agreement, Perplexity, Windows, agreement, perplexity};
pub use quantize::{LinearReport, Method, QuantizeEvent, QuantizeOptions, quantize};
pub use samples::{Sample, built_in_samples, read_samples};

pub use moss_checkpoint::Container;
pub use moss_model::DeviceSpec;
