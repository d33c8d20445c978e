//! From flags to a model: which folder, how it is placed, how it answers.

use std::path::{Path, PathBuf};

use moss::{
    ChatOptions, Checkpoint, Engine, EngineOptions, LoadOptions, Moss, PromptBuilder,
    SamplingParams, SystemText, Tokenizer,
    checkpoint::WeightStorage,
    hub::{DemoFormat, ResolvedModel, SearchPlaces, resolve, unpack_demo},
    kernels::{Activations, ops::RopePrecision},
    model::{CUDA, ComputeDtype, DeviceSpec, LanguageModel, MossConfig, has_gpu},
    sampling::StopLengthPenalty,
    text::{Plugin, PluginSwitches, TextError},
};

use crate::{
    args::{ActivationsArg, AnswerArgs, Cli, DemoArg, DtypeArg, ModelArgs, RopeArg},
    errors::{Failed, OrFail},
    fetch, memory,
    messages::Words,
    printer::Printer,
    progress,
};

/// Prompt tokens that a GPU takes at a time: enough for its tensor cores.
const GPU_PREFILL: usize = 512;

/// The folder that the flags name.
pub(crate) fn find(args: &ModelArgs) -> anyhow::Result<ResolvedModel> {
    if let Some(demo) = args.demo {
        let cache = dirs::cache_dir().unwrap_or_else(std::env::temp_dir);
        let format = match demo {
            DemoArg::Int4 => DemoFormat::Int4,
            DemoArg::Fp16 => DemoFormat::Fp16,
        };
        let folder = unpack_demo(format, &cache)?;
        return Ok(ResolvedModel {
            name: moss::hub::DEMO_NAME.to_owned(),
            folder,
        });
    }
    Ok(resolve(&args.model, &places(args))?)
}

/// A path as it is; a hub id or a short name as `--model` would find it.
pub(crate) fn folder(name: &Path, args: &ModelArgs) -> anyhow::Result<PathBuf> {
    if name.exists() {
        return Ok(name.to_owned());
    }
    let model = name.display().to_string();
    Ok(find(&ModelArgs {
        model,
        demo: None,
        ..args.clone()
    })?
    .folder)
}

/// Where models are looked for.
pub(crate) fn places(args: &ModelArgs) -> SearchPlaces {
    SearchPlaces {
        current_dir: PathBuf::from("."),
        hub_cache: fetch::hub_cache(args),
    }
}

/// Returns the devices that the model runs on, a stage on each: those of `--gpu`, or else the first
/// GPU, or the CPU of a machine without one.
pub(crate) fn devices(args: &ModelArgs) -> anyhow::Result<Vec<DeviceSpec>> {
    if let Some(devices) = named_devices(args)? {
        return Ok(devices);
    }
    let first = DeviceSpec::Gpu {
        ordinal: 0,
        newest_code: args.gpu_code,
    };
    Ok(vec![if has_gpu()? { first } else { DeviceSpec::Cpu }])
}

/// Returns the devices that `--gpu` names. Does not look at the machine.
pub(crate) fn named_devices(args: &ModelArgs) -> anyhow::Result<Option<Vec<DeviceSpec>>> {
    let gpu = |ordinal| DeviceSpec::Gpu {
        ordinal,
        newest_code: args.gpu_code,
    };
    let Some(list) = args.gpu.as_deref() else {
        return Ok(None);
    };
    let device = |name: &str| match name.trim() {
        "cpu" => Some(DeviceSpec::Cpu),
        number => number.parse().ok().map(gpu),
    };
    let devices: Option<Vec<_>> = list.split(',').map(device).collect();
    let devices = devices.ok_or_else(|| {
        Failed::new((
            format!("`--gpu {list}`: expected numbers or `cpu`, with commas between"),
            format!("`--gpu {list}`：应为编号或 `cpu`，以逗号分隔"),
        ))
        .hint((
            "`--gpu 0` is the first card, `--gpu 0,1,2,3` shares the layers out over four",
            "`--gpu 0` 为第一张卡，`--gpu 0,1,2,3` 由四张卡分摊各层",
        ))
    })?;
    if !CUDA && devices.iter().any(|device| *device != DeviceSpec::Cpu) {
        let what = (
            format!("`--gpu {list}`: this build has kernels for the CPU alone"),
            format!("`--gpu {list}`：此构建只含 CPU 内核"),
        );
        let hint = (
            "build with `cargo build --release --features cuda` for GPUs; `--gpu cpu` runs here",
            "使用 GPU 请以 `cargo build --release --features cuda` 构建；`--gpu cpu` 可在此运行",
        );
        return Err(Failed::new(what).hint(hint).into());
    }
    Ok(Some(devices))
}

/// Whether a stage of them runs on a card.
pub(crate) fn any_gpu(devices: &[DeviceSpec]) -> bool {
    devices.iter().any(|device| *device != DeviceSpec::Cpu)
}

/// Where the flags say that weights are.
pub(crate) fn storage(args: &ModelArgs) -> WeightStorage {
    if args.no_mmap {
        WeightStorage::InMemory
    } else {
        WeightStorage::Mapped
    }
}

/// Refuses to read more weights into memory than it has room for: the system would end this
/// program, or another.
pub(crate) fn check_room(folder: &Path, args: &ModelArgs) -> Result<(), Failed> {
    // A folder without weights is reported when it is opened.
    let (true, Ok(needed)) = (args.no_mmap, Checkpoint::weight_file_bytes(folder)) else {
        return Ok(());
    };
    let Some(free) = memory::available().filter(|free| *free < needed) else {
        return Ok(());
    };
    let [needed, free] = [needed, free].map(|bytes| bytes as f64 / 1e9);
    let what = (
        format!(
            "`--no-mmap`: the weight files have {needed:.1} GB, {free:.1} GB of memory are available"
        ),
        format!("`--no-mmap`：权重文件共 {needed:.1} GB，可用内存 {free:.1} GB"),
    );
    Err(Failed::new(what).hint(("leave out `--no-mmap`", "请去掉 `--no-mmap`")))
}

/// Opens a checkpoint and says what is odd about it.
pub(crate) fn checkpoint(
    folder: &Path,
    args: &ModelArgs,
    printer: &Printer,
) -> anyhow::Result<Checkpoint> {
    check_room(folder, args)?;
    let checkpoint = Checkpoint::open_with(folder, storage(args))
        .or_fail("cannot open the checkpoint", "无法打开检查点")?;
    for warning in checkpoint.warnings() {
        printer.warning(&Words::from((warning.to_string(), warning.zh())));
    }
    Ok(checkpoint)
}

/// The pool that kernels run in, for commands that drive a model themselves.
pub(crate) fn pool(args: &ModelArgs) -> anyhow::Result<rayon::ThreadPool> {
    let threads = args.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    Ok(pool.or_fail("cannot start the kernel threads", "无法启动内核线程")?)
}

/// What values are rounded to, on these devices.
pub(crate) fn dtype(args: &ModelArgs, devices: &[DeviceSpec]) -> ComputeDtype {
    match args.dtype {
        Some(DtypeArg::F32) => ComputeDtype::F32,
        Some(DtypeArg::F16) => ComputeDtype::F16,
        Some(DtypeArg::Bf16) => ComputeDtype::BF16,
        None if any_gpu(devices) || args.activations == ActivationsArg::Int8 => ComputeDtype::F16,
        None => ComputeDtype::F32,
    }
}

/// What packed weights are multiplied with.
pub(crate) fn activations(args: &ModelArgs) -> Activations {
    match args.activations {
        ActivationsArg::Exact => Activations::Exact,
        ActivationsArg::Int8 => Activations::Int8,
    }
}

/// How a model is placed, with a cache for `positions`.
pub(crate) fn load_options(args: &ModelArgs, positions: usize) -> anyhow::Result<LoadOptions> {
    let devices = devices(args)?;
    Ok(LoadOptions {
        dtype: dtype(args, &devices),
        activations: activations(args),
        rope_precision: match args.rope_precision {
            RopeArg::F32 => RopePrecision::F32,
            RopeArg::F16 => RopePrecision::F16,
        },
        devices,
        layers_per_device: args.layers_per_gpu.clone(),
        peer_copies: !args.no_peer_copies,
        ..LoadOptions::cpu(positions)
    })
}

/// A model at work.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) model: ResolvedModel,
}

/// How much an engine takes on.
pub(crate) struct Capacity {
    /// Tokens that the cache holds.
    pub(crate) positions: usize,
    pub(crate) max_sequences: usize,
    pub(crate) queue_limit: usize,
}

/// Loads the model that the flags name and starts an engine on it, for one conversation.
pub(crate) fn engine(cli: &Cli, printer: &Printer) -> anyhow::Result<Opened> {
    let model = fetch::find_or_fetch(&cli.model, printer)?;
    start(model, cli, printer, None)
}

/// The same for a model that has been found.
pub(crate) fn engine_on(
    model: ResolvedModel,
    cli: &Cli,
    printer: &Printer,
) -> anyhow::Result<Opened> {
    start(model, cli, printer, None)
}

/// The same, for many at once.
pub(crate) fn engine_for(
    cli: &Cli,
    printer: &Printer,
    capacity: Capacity,
) -> anyhow::Result<Opened> {
    let model = fetch::find_or_fetch(&cli.model, printer)?;
    start(model, cli, printer, Some(capacity))
}

fn start(
    model: ResolvedModel,
    cli: &Cli,
    printer: &Printer,
    capacity: Option<Capacity>,
) -> anyhow::Result<Opened> {
    let folder = model.folder.display();
    printer.detail(
        &printer
            .language
            .pick(format!("model: {folder}"), format!("模型：{folder}")),
    );
    let checkpoint = checkpoint(&model.folder, &cli.model, printer)?;
    let config = MossConfig::try_from(checkpoint.config())?;
    let positions = capacity
        .as_ref()
        .map_or(config.context_length, |capacity| capacity.positions);
    let options = load_options(&cli.model, positions)?;
    let loaded = Moss::load(
        &checkpoint,
        &options,
        &mut progress::bar(printer, &model.name),
    )
    .or_fail("cannot load the model", "无法加载模型")?;
    let tokenizer = match Tokenizer::is_present(&model.folder) {
        true => Some(Tokenizer::from_folder(&model.folder)?),
        false => None,
    };
    let threads = cli.model.threads.map(usize::from);
    let mut default = EngineOptions::default();
    if let Some(capacity) = capacity {
        (default.max_sequences, default.queue_limit) =
            (capacity.max_sequences, capacity.queue_limit);
    }
    let prefill_chunk = match (any_gpu(&options.devices), options.devices.len()) {
        (false, _) => default.prefill_chunk,
        (true, 1) => GPU_PREFILL,
        // Stages overlap within what they are given at once.
        (true, stages) => GPU_PREFILL * stages.min(4),
    };
    // A device that is slow may take long; one CPU stage makes the whole pipeline slow.
    let stall_time = match options.devices.contains(&DeviceSpec::Cpu) {
        true => EngineOptions::CPU_STALL_TIME,
        false => EngineOptions::GPU_STALL_TIME,
    };
    let options = EngineOptions {
        threads,
        prefill_chunk,
        stall_time,
        ..default
    };
    let loaded: Box<dyn LanguageModel> = Box::new(loaded);
    #[cfg(debug_assertions)]
    let (loaded, options) = with_injected_fault(loaded, options);
    Ok(Opened {
        engine: Engine::start(loaded, tokenizer, options)?,
        model,
    })
}

/// The same model, in which something goes wrong if a test asks for it.
#[cfg(debug_assertions)]
fn with_injected_fault(
    model: Box<dyn LanguageModel>,
    options: EngineOptions,
) -> (Box<dyn LanguageModel>, EngineOptions) {
    use crate::inject::{Faulty, Injected, STALL_TIME};
    match Injected::read() {
        None => (model, options),
        Some(fault) => {
            let stall_time = match fault {
                Injected::Stall(_) => STALL_TIME,
                _ => options.stall_time,
            };
            (
                Box::new(Faulty {
                    model,
                    fault,
                    passes: 0,
                }),
                EngineOptions {
                    stall_time,
                    ..options
                },
            )
        }
    }
}

/// The folder's tokenizer, for commands that need text.
pub(crate) fn tokenizer(opened: &Opened) -> anyhow::Result<Tokenizer> {
    opened.engine.tokenizer().cloned().ok_or_else(|| {
        // A folder may hold a tokenizer in a form that is not read; that error says more.
        if let Err(error @ TextError::TokenizerJson { .. }) =
            Tokenizer::from_folder(&opened.model.folder)
        {
            return error.into();
        }
        let folder = opened.model.folder.display();
        let what = (
            format!("`{folder}` holds no tokenizer (vocab.json, merges.txt)"),
            format!("`{folder}` 中没有分词器（vocab.json、merges.txt）"),
        );
        let hint = (
            "put the published tokenizer files there, or work with `generate --ids`",
            "请将发布的分词器文件放入其中，或改用 `generate --ids`",
        );
        Failed::new(what).hint(hint).into()
    })
}

/// What makes prompts of conversations.
pub(crate) fn prompt_builder(cli: &Cli, opened: &Opened) -> anyhow::Result<PromptBuilder> {
    let system = cli
        .answer
        .system
        .clone()
        .map_or(SystemText::Published, SystemText::Custom);
    Ok(PromptBuilder::new(
        tokenizer(opened)?,
        system,
        plugins(&cli.answer, &opened.model)?,
    )?)
}

/// How answers are made.
pub(crate) fn chat_options(args: &AnswerArgs, stop_ids: Vec<u32>) -> anyhow::Result<ChatOptions> {
    let sampling = sampling(args, stop_ids);
    sampling.check()?;
    Ok(ChatOptions {
        sampling,
        max_new_tokens: args.max_new_tokens,
        time_limit: args.max_time,
    })
}

pub(crate) fn sampling(args: &AnswerArgs, stop_ids: Vec<u32>) -> SamplingParams {
    let penalty = StopLengthPenalty {
        factor: args.length_penalty,
        after: StopLengthPenalty::AFTER,
        stop_ids,
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

/// The plugin switches: none for models that were not trained with plugins.
fn plugins(args: &AnswerArgs, model: &ResolvedModel) -> anyhow::Result<Option<PluginSwitches>> {
    let enabled = args
        .plugins
        .iter()
        .map(|name| name.parse::<Plugin>())
        .collect::<Result<Vec<_>, _>>()?;
    match (enabled.is_empty(), model.has_plugins()) {
        (true, false) => Ok(None),
        (_, true) => Ok(Some(PluginSwitches::new(enabled)?)),
        (false, false) => {
            let what = (
                format!("`--plugins`: `{}` was not trained with plugins", model.name),
                format!("`--plugins`：`{}` 未经插件训练", model.name),
            );
            let hint = (
                "use a plugin model, such as `--model moss-moon-003-sft-plugin-int4`",
                "请使用插件模型，例如 `--model moss-moon-003-sft-plugin-int4`",
            );
            Err(Failed::new(what).hint(hint).into())
        }
    }
}
