//! Builds a model from the flags.

use moss::{
    Backend, Builder, Chat, ChatOptions, Found, SamplingParams, StoredPrompt, SystemText,
    checkpoint::WeightStorage,
    cpu::{Activations, ops::RopePrecision},
    model::{
        CUDA, ComputeDtype, DeviceSpec, KvCacheType, ModelError, Reference, UnsupportedOption,
    },
    prompt_cache::PromptCache,
    sampling::StopLengthPenalty,
    text::Plugin,
};

use moss_messages::msg;

use crate::{
    args::{
        ActivationsArg, AnswerArgs, Cli, Command, DtypeArg, EngineArg, KvCacheArg, ModelArgs,
        RopeArg,
    },
    errors::{CliError, build_failed},
    memory,
    printer::Printer,
    progress, source,
};

/// Finds the model of the flags, and downloads it if allowed.
pub(crate) fn find(cli: &Cli, printer: &Printer) -> anyhow::Result<Found> {
    let builder = builder(source::model(&cli.model), cli, printer)?;
    find_with(builder, &cli.model, printer)
}

/// Finds the model of a builder, and downloads it if allowed.
pub(crate) fn find_with(
    builder: Builder,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<Found> {
    let found = source::find_or_download(builder, args, printer)?;
    check_room(&found, args)?;
    Ok(found)
}

/// Finds the model of a builder on this machine.
pub(crate) fn find_local(builder: Builder, args: &ModelArgs) -> anyhow::Result<Found> {
    let found = builder.find().map_err(build_failed)?;
    check_room(&found, args)?;
    Ok(found)
}

/// Applies all flags to a builder and shows its progress.
pub(crate) fn builder(builder: Builder, cli: &Cli, printer: &Printer) -> anyhow::Result<Builder> {
    let answer = &cli.answer;
    let plugins = cli
        .plugins
        .plugins
        .iter()
        .map(|name| name.parse::<Plugin>());
    let system = answer.system.clone();
    let builder = placed(builder, &cli.model)?
        .system(system.map_or(SystemText::Published, SystemText::Custom))
        .plugins(plugins.collect::<Result<Vec<_>, _>>()?)
        .chat_options(chat_options(answer)?)
        .deterministic(answer.deterministic)
        .on_event(progress::building(printer));
    #[cfg(debug_assertions)]
    let builder = crate::inject::inject_fault(builder);
    Ok(builder)
}

/// Applies the flags for devices and precision.
pub(crate) fn placed(builder: Builder, args: &ModelArgs) -> anyhow::Result<Builder> {
    let mut builder = builder
        .storage(storage(args))
        .backend(match args.engine {
            EngineArg::Native => Backend::Native,
            EngineArg::Candle => Backend::Candle,
        })
        .devices(devices(args)?)
        .peer_copies(!args.no_peer_copies)
        .speculation(args.speculate)
        .activations(activations(args))
        .kv_cache(kv_cache(args))
        .rope_precision(match args.rope_precision {
            RopeArg::F32 => RopePrecision::F32,
            RopeArg::F16 => RopePrecision::F16,
        });
    if let Some(layers) = &args.layers_per_gpu {
        builder = builder.layers_per_device(layers.clone());
    }
    if let Some(dtype) = args.dtype {
        builder = builder.dtype(compute_dtype(dtype));
    }
    if let Some(threads) = args.threads {
        builder = builder.threads(threads.into());
    }
    Ok(builder)
}

/// Returns the devices of `--gpu`, or the default devices.
pub(crate) fn devices(args: &ModelArgs) -> anyhow::Result<Vec<DeviceSpec>> {
    if let Some(devices) = named_devices(args)? {
        return Ok(devices);
    }
    Ok(match args.engine {
        EngineArg::Native => DeviceSpec::available(args.gpu_code)?,
        EngineArg::Candle => Reference::available()?,
    })
}

/// Returns the devices that `--gpu` names, without a query of the machine.
pub(crate) fn named_devices(args: &ModelArgs) -> anyhow::Result<Option<Vec<DeviceSpec>>> {
    let Some(list) = args.gpu.as_deref() else {
        return Ok(None);
    };
    let devices = DeviceSpec::parse_list(list, args.gpu_code);
    let devices = devices.ok_or_else(|| CliError::new(msg!("gpu-list", list)))?;
    let first_gpu = devices.iter().find(|device| **device != DeviceSpec::Cpu);
    if let (EngineArg::Candle, Some(&device), false) = (args.engine, first_gpu, Reference::CUDA) {
        return Err(ModelError::NoCandleCuda { device }.into());
    }
    if !CUDA && first_gpu.is_some() {
        let what = msg!("gpu-not-compiled", list);
        return Err(CliError::new(what).into());
    }
    Ok(Some(devices))
}

/// Returns an error for `--engine candle` with a command or an option of the native engine.
pub(crate) fn check_engine(cli: &Cli) -> anyhow::Result<()> {
    if cli.model.engine == EngineArg::Native {
        return Ok(());
    }
    let ModelArgs {
        activations,
        kv_cache,
        gpu_code,
        ..
    } = &cli.model;
    let option = match (activations, kv_cache, gpu_code) {
        (ActivationsArg::Int8, ..) => Some(UnsupportedOption::Int8Activations),
        (_, KvCacheArg::Int8, _) => Some(UnsupportedOption::Int8Cache),
        (_, _, Some(_)) => Some(UnsupportedOption::GpuCode),
        _ => None,
    };
    if let Some(option) = option {
        return Err(ModelError::Unsupported { option }.into());
    }
    let command = match &cli.command {
        Some(Command::Bench(_)) => "bench",
        Some(Command::Plan(_)) => "plan",
        Some(Command::Quantize(_)) => "quantize",
        Some(Command::Verify(_)) => "verify",
        _ => return Ok(()),
    };
    Err(CliError::new(msg!("engine-native-only", command)).into())
}

/// Returns true if one of the devices is a GPU.
pub(crate) fn any_gpu(devices: &[DeviceSpec]) -> bool {
    devices.iter().any(|device| *device != DeviceSpec::Cpu)
}

/// Returns the storage of the weights that the flags choose.
pub(crate) fn storage(args: &ModelArgs) -> WeightStorage {
    if args.no_mmap {
        WeightStorage::InMemory
    } else {
        WeightStorage::Mapped
    }
}

/// Returns an error if `--no-mmap` needs more memory than is available. Otherwise the system would
/// kill this program or another one.
pub(crate) fn check_room(found: &Found, args: &ModelArgs) -> Result<(), CliError> {
    // A folder without weights is reported when it is opened.
    let copies = args.engine == EngineArg::Candle && !Reference::CUDA;
    let (true, Ok(needed)) = (args.no_mmap || copies, found.weight_file_bytes()) else {
        return Ok(());
    };
    let Some(free) = memory::available().filter(|free| *free < needed) else {
        return Ok(());
    };
    let [needed, free] = [needed, free].map(|bytes| bytes as f64 / 1e9);
    Err(CliError::new(if args.no_mmap {
        msg!("no-mmap-memory", needed, free)
    } else {
        msg!("candle-memory", needed, free)
    }))
}

/// Returns the prompt cache of `--prompt-cache`; `None` if it is off, or without a cache folder.
pub(crate) fn prompt_cache(args: &ModelArgs) -> Option<PromptCache> {
    let folder = match &args.prompt_cache {
        Some(folder) if folder.as_os_str() == "off" => None,
        Some(folder) if !folder.as_os_str().is_empty() => Some(folder.clone()),
        _ => dirs::cache_dir().map(|cache| cache.join("moss-rs").join("prompts")),
    };
    folder.map(|folder| PromptCache::new(folder, PromptCache::MAX_BYTES))
}

/// Starts a chat, with the prompt cache of the flags.
pub(crate) fn chat(
    found: Found,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<(Chat, Option<StoredPrompt>)> {
    let Some(cache) = prompt_cache(args) else {
        return Ok((found.chat().map_err(build_failed)?, None));
    };
    let (chat, stored) = found.cached_chat(&cache).map_err(build_failed)?;
    if stored.tokens() > 0 {
        let tokens = stored.tokens();
        printer.detail(&printer.text(&msg!("prompt-cache-used", tokens)));
    }
    Ok((chat, Some(stored)))
}

/// Starts the threads of the CPU kernels, for commands that run them without an engine.
pub(crate) fn pool(args: &ModelArgs) -> anyhow::Result<rayon::ThreadPool> {
    let threads = args.threads.map_or(0, usize::from);
    let pool = source::model(args).threads(threads).pool();
    pool.map_err(build_failed)
}

/// Returns the data type of activations and KV cache on these devices.
pub(crate) fn dtype(args: &ModelArgs, devices: &[DeviceSpec]) -> ComputeDtype {
    let default = || ComputeDtype::default_for(devices, activations(args));
    args.dtype.map_or_else(default, compute_dtype)
}

fn compute_dtype(dtype: DtypeArg) -> ComputeDtype {
    match dtype {
        DtypeArg::F32 => ComputeDtype::F32,
        DtypeArg::F16 => ComputeDtype::F16,
        DtypeArg::Bf16 => ComputeDtype::BF16,
    }
}

/// Returns the type of keys and values in the cache.
pub(crate) fn kv_cache(args: &ModelArgs) -> KvCacheType {
    match args.kv_cache {
        KvCacheArg::Native => KvCacheType::Native,
        KvCacheArg::Int8 => KvCacheType::Int8,
    }
}

/// Returns the activations of quantized weights.
pub(crate) fn activations(args: &ModelArgs) -> Activations {
    match args.activations {
        ActivationsArg::Exact => Activations::Exact,
        ActivationsArg::Int8 => Activations::Int8,
    }
}

fn chat_options(args: &AnswerArgs) -> anyhow::Result<ChatOptions> {
    let sampling = sampling(args);
    sampling.check()?;
    Ok(ChatOptions {
        sampling,
        max_new_tokens: args.max_new_tokens,
        time_limit: args.max_time,
    })
}

/// Returns the sampling parameters of the flags.
pub(crate) fn sampling(args: &AnswerArgs) -> SamplingParams {
    let penalty = StopLengthPenalty {
        factor: args.length_penalty,
        after: StopLengthPenalty::AFTER,
        stop_ids: Vec::new(),
    };
    SamplingParams {
        temperature: args.temperature,
        top_k: Some(args.top_k).filter(|k| *k > 0),
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        stop_length_penalty: (args.length_penalty != 1.0).then_some(penalty),
        seed: args.seed,
        ..SamplingParams::CHAT
    }
}
