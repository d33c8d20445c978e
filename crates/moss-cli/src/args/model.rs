//! Flags that choose the model and how it runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moss::{model::WeightFormat, weights::GptqBits};

use super::parse::in_range;

/// An implementation of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// The kernels of this program
    Native,
    /// The reference in candle: slower, copies the weights, for comparisons
    Candle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeArg {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ActivationsArg {
    Exact,
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RopeArg {
    F32,
    F16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoArg {
    Int4,
    Fp16,
}

/// Format of weights that need no files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    Fp16,
    Int8,
    Int4,
}

impl FormatArg {
    pub(crate) fn format(self) -> WeightFormat {
        match self {
            Self::Fp16 => WeightFormat::F16,
            Self::Int8 => WeightFormat::Gptq(GptqBits::Eight),
            Self::Int4 => WeightFormat::Gptq(GptqBits::Four),
        }
    }
}

/// A hub that models come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceArg {
    /// huggingface.co, or the mirror that HF_ENDPOINT names
    Huggingface,
    /// modelscope.cn, or the address that MODELSCOPE_ENDPOINT names
    Modelscope,
}

/// Which model, and how it runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Checkpoint: a folder, a hub id, or a short name such as `moss-moon-003-sft-int8`
    ///
    /// A name is looked for in ./fnlp/NAME, ./NAME and the hub's cache, in this order. To chat, or
    /// where a command needs weights, a published model that is in none of them is downloaded,
    /// after a question.
    #[arg(long, global = true, alias = "model_name", env = "MOSS_MODEL", value_name = "PATH|ID", default_value = moss::hub::DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Read weight files into memory instead of mapping them
    ///
    /// Takes as much free memory as the files have bytes, and starts slower. Mapped files must not
    /// be changed in place while the program runs: replace them by rename. A file that is truncated
    /// nevertheless ends the program with status 74.
    #[arg(long, global = true)]
    pub(crate) no_mmap: bool,
    /// Talk with the tiny demo model that comes with this program
    #[arg(long, global = true, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "int4")]
    pub(crate) demo: Option<DemoArg>,
    /// Download without asking
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Open no connection
    #[arg(long, global = true, env = "HF_HUB_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) offline: bool,
    /// Where downloads come from
    #[arg(long, global = true, value_name = "HUB", default_value = "huggingface")]
    pub(crate) source: SourceArg,
    /// Address of the hub, for a mirror or a server of your own [default: HF_ENDPOINT, with
    /// `--source modelscope` MODELSCOPE_ENDPOINT]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub(crate) endpoint: Option<String>,
    /// Implementation that runs the model
    #[arg(long, global = true, value_name = "ENGINE", default_value = "native")]
    pub(crate) engine: EngineArg,
    /// Threads of the CPU kernels [default: one a core]
    #[arg(long, global = true, value_name = "N", value_parser = in_range::<u16>(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// What values between operations are rounded to [default: f32 on the CPU, f16 on a GPU]; sums
    /// are always f32
    #[arg(long, global = true, value_name = "TYPE")]
    pub(crate) dtype: Option<DtypeArg>,
    /// What int4 and int8 weights are multiplied with: values as they are, or rounded to 8 bits,
    /// which is faster, less exact, on the CPU alone, and makes f16 the default of --dtype
    #[arg(long, global = true, value_name = "TYPE", default_value = "exact")]
    pub(crate) activations: ActivationsArg,
    /// Rotary frequencies: exact, or rounded as upstream's quantised models have them
    #[arg(long, global = true, value_name = "TYPE", default_value = "f32")]
    pub(crate) rope_precision: RopeArg,
    /// GPU number, or several that share the layers out, or `cpu` [default: 0, or `cpu` on a
    /// machine without a GPU or in a build without CUDA]
    ///
    /// `--gpu 0,1,2,3` runs a quarter of the layers on each card, in this order; `cpu` may be one
    /// of them, and a card may stand there twice.
    #[arg(long, global = true, value_name = "N[,N…]|cpu")]
    pub(crate) gpu: Option<String>,
    /// Layers of each device of `--gpu` [default: what balances them]
    #[arg(
        long,
        global = true,
        value_name = "N,N…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(crate) layers_per_gpu: Option<Vec<usize>>,
    /// Let cards hand over to each other through host memory alone
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_peer_copies: bool,
    /// Newest architecture whose GPU code may run: 75 checks a T4's code on a newer card
    #[arg(long, global = true, value_name = "75|80|90", value_parser = clap::value_parser!(u32).range(75..), hide_short_help = true)]
    pub(crate) gpu_code: Option<u32>,
    /// The hub's cache of models
    #[arg(
        long,
        global = true,
        env = "HF_HUB_CACHE",
        value_name = "DIR",
        hide = true
    )]
    pub(crate) hub_cache: Option<PathBuf>,
    /// The hub's folder, which holds its cache
    #[arg(long, global = true, env = "HF_HOME", value_name = "DIR", hide = true)]
    pub(crate) hub_home: Option<PathBuf>,
}
