//! Conversion of checkpoints between containers, quantization, and evaluation.
//!
//! [`convert()`] copies every tensor bit for bit into another container. [`quantize()`] rounds the
//! linear layers to 4 or 8 bits in the published layout: by GPTQ (arXiv 2210.17323) with
//! calibration text, or to nearest. [`perplexity()`] and [`agreement()`] evaluate a checkpoint.
//! A new folder appears under its name when it is complete.
//!
//! GPTQ runs on the CPU or on one GPU. Work on the CPU runs in the current rayon pool.

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
mod options;
mod pack;
mod published;
mod quantize;
mod round;
mod samples;
mod shards;

pub use convert::{ConvertEvent, ConvertOptions, convert};
pub use error::{FolderAction, NotReplaceable, QuantizeError, TextSet};
pub use measure::{Agreement, Perplexity, Windows, agreement, perplexity};
pub use options::{LinearReport, Method, QuantizeEvent, QuantizeOptions};
pub use quantize::quantize;
pub use samples::{Sample, built_in_samples, read_samples};

pub use moss_checkpoint::Container;
pub use moss_model::DeviceSpec;
