//! Flags that choose the model and how it runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moss::{engine::Speculation, model::WeightFormat, weights::GptqBits};

use super::parse::{in_range, speculation};

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
pub(crate) enum KvCacheArg {
    Native,
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

/// Format of random weights, which need no files.
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

/// A hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SourceArg {
    /// huggingface.co, or the mirror that HF_ENDPOINT names
    Huggingface,
    /// modelscope.cn, or the address that MODELSCOPE_ENDPOINT names
    Modelscope,
}

/// Flags of the model.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// Checkpoint: a folder, a hub id, or a short name such as `moss-moon-003-sft-int8`
    ///
    /// A name is searched in ./fnlp/NAME, ./NAME and the hub's cache, in this order. If a chat or
    /// another command needs the weights of a published model that is in none of them, the program
    /// asks whether to download it.
    #[arg(long, global = true, alias = "model_name", env = "MOSS_MODEL", value_name = "PATH|ID", default_value = moss::hub::DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Read weight files into memory instead of mapping them
    ///
    /// Needs as much free memory as the size of the files, and starts more slowly. Mapped files
    /// must not be changed in place while the program runs: replace them by rename. If a file is
    /// truncated, the program ends with status 74.
    #[arg(long, global = true)]
    pub(crate) no_mmap: bool,
    /// Use the small demo model that is part of this program
    #[arg(long, global = true, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "int4")]
    pub(crate) demo: Option<DemoArg>,
    /// Download without asking
    #[arg(long, global = true)]
    pub(crate) yes: bool,
    /// Do not open network connections
    #[arg(long, global = true, env = "HF_HUB_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) offline: bool,
    /// Hub to download from
    #[arg(long, global = true, value_name = "HUB", default_value = "huggingface")]
    pub(crate) source: SourceArg,
    /// URL of the hub, for a mirror or your own server [default: HF_ENDPOINT, or
    /// MODELSCOPE_ENDPOINT with `--source modelscope`]
    #[arg(long, global = true, value_name = "URL", hide_short_help = true)]
    pub(crate) endpoint: Option<String>,
    /// Implementation that runs the model
    #[arg(long, global = true, value_name = "ENGINE", default_value = "native")]
    pub(crate) engine: EngineArg,
    /// Threads of the CPU kernels [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = in_range::<u16>(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Data type of values between operations [default: f32 on the CPU, f16 on a GPU]; sums are
    /// always f32
    #[arg(long, global = true, value_name = "TYPE")]
    pub(crate) dtype: Option<DtypeArg>,
    /// Inputs of int4 and int8 weights: exact, or rounded to 8 bits, which is faster but less
    /// accurate, CPU only, and makes f16 the default of --dtype
    #[arg(long, global = true, value_name = "TYPE", default_value = "exact")]
    pub(crate) activations: ActivationsArg,
    /// Keys and values in the cache: in the type of --dtype, or as 8-bit integers, which need about
    /// half the memory of f16 and change replies slightly
    #[arg(long, global = true, value_name = "TYPE", default_value = "native")]
    pub(crate) kv_cache: KvCacheArg,
    /// Frequencies of the rotary embedding: exact, or rounded as in upstream's quantized models
    #[arg(long, global = true, value_name = "TYPE", default_value = "f32")]
    pub(crate) rope_precision: RopeArg,
    /// Draft tokens per step: `auto`, `off`, or 1 to 7
    ///
    /// Drafts repeat what followed the same text earlier in the conversation, and are verified
    /// together with the next token. They change the speed, never the result. `auto` uses them
    /// while they are measured to be faster.
    #[arg(long, global = true, value_name = "auto|off|N", default_value = "auto", value_parser = speculation)]
    pub(crate) speculate: Speculation,
    /// GPU number, several GPU numbers that share the layers, or `cpu` [default: 0, or `cpu`
    /// without a GPU or in a build without CUDA]
    ///
    /// `--gpu 0,1,2,3` splits the layers over four GPUs, in this order. `cpu` can be one of them,
    /// and a GPU can be listed twice.
    #[arg(long, global = true, value_name = "N[,N…]|cpu")]
    pub(crate) gpu: Option<String>,
    /// Number of layers of each device of `--gpu` [default: balanced]
    #[arg(
        long,
        global = true,
        value_name = "N,N…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(crate) layers_per_gpu: Option<Vec<usize>>,
    /// Transfer between GPUs only through host memory, without peer-to-peer copies
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_peer_copies: bool,
    /// Newest architecture whose GPU code may run; 75 tests the code of a T4 on a newer GPU
    #[arg(long, global = true, value_name = "75|80|90", value_parser = clap::value_parser!(u32).range(75..), hide_short_help = true)]
    pub(crate) gpu_code: Option<u32>,
    /// Folder of computed system prompts, or `off` [default: moss-rs/prompts in the user's cache
    /// folder]
    ///
    /// A chat writes keys and values of its system prompt to a file, and reads them at the next
    /// start, so that the first token needs only the rest of the prompt. Answers do not change. The
    /// files have up to 4 GB together; the least recently used ones are removed. They contain parts
    /// of the prompt, so the folder should be readable by you alone.
    #[arg(
        long,
        global = true,
        value_name = "DIR|off",
        env = "MOSS_PROMPT_CACHE",
        hide_short_help = true
    )]
    pub(crate) prompt_cache: Option<PathBuf>,
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
