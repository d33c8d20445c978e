//! Every error that a library can give has a Chinese text with the same data, and every word that
//! it is made with.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    error::Error,
    fs, io,
    mem::discriminant,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use moss::{
    BuildError,
    checkpoint::{CheckpointError, DType, PickleError, Warning},
    engine::EngineError,
    files::FileError,
    hub::{Fault, HubError},
    model::{
        ComputeDtype, DeviceSpec, ModelError, WeightFormat,
        placement::{Change, PlacementError, Shortfall},
    },
    quantize::QuantizeError,
    sampling::SamplingError,
    server::ServerError,
    text::TextError,
    unicode::DecodeError,
    weights::{DenseDtype, GptqBits, KernelError},
};

fn has_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// What a translation must keep: runs of digits, and names in backticks.
fn data(text: &str) -> HashSet<String> {
    let numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|run| !run.is_empty())
        .map(str::to_owned);
    let names = text
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|name| format!("`{name}`"));
    numbers.chain(names).collect()
}

#[track_caller]
fn same_data(en: &str, zh: &str) {
    assert!(has_chinese(zh), "{en}: {zh}");
    let lost: Vec<_> = data(en)
        .into_iter()
        .filter(|item| !data(zh).contains(item))
        .collect();
    assert!(lost.is_empty(), "{lost:?} of\n  {en}\nnot in\n  {zh}");
}

/// The variants of `enum NAME` in a crate's source, told by their messages.
fn variants(file: &str, name: &str) -> usize {
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap();
    let (_, body) = source.split_once(&format!("enum {name} {{")).unwrap();
    body.split("\n}\n")
        .next()
        .unwrap()
        .matches("#[error(")
        .count()
}

macro_rules! check {
    ($kind:ident of $file:literal, hints: $hints:expr, $errors:expr) => {{
        let errors: Vec<$kind> = $errors;
        let met: HashSet<_> = errors.iter().map(discriminant).collect();
        assert_eq!(met.len(), variants($file, stringify!($kind)), "variants of {} without a case", stringify!($kind));
        let hints: &dyn Fn(&$kind) -> [Option<String>; 2] = &$hints;
        for error in &errors {
            same_data(&error.to_string(), &error.zh());
            match hints(error) {
                [Some(en), Some(zh)] => same_data(&en, &zh),
                [en, zh] => assert_eq!(en, zh, "{error}"),
            }
        }
    }};
    ($kind:ident of $file:literal, $errors:expr) => {
        check!($kind of $file, hints: |error| [error.hint(), error.hint_zh()], $errors)
    };
}

fn json() -> serde_json::Error {
    serde_json::from_str::<u8>("{").unwrap_err()
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn placement() -> PlacementError {
    let shortfall = Shortfall {
        card: 2,
        name: "T4".into(),
        layers: 9,
        needed: 16_120_000_000,
        free: 14_380_000_000,
    };
    let changes = vec![
        Change::Division,
        Change::Context { positions: 768 },
        Change::Format(WeightFormat::Gptq(GptqBits::Eight)),
        Change::MoreCards { count: 3, like: 1 },
        Change::Cpu {
            layers: 7,
            bytes: 5_250_000_000,
        },
    ];
    PlacementError::DoesNotFit {
        shortfalls: vec![shortfall.clone(), shortfall],
        changes,
    }
}

#[test]
#[rustfmt::skip]
fn errors_of_files_keep_their_data() {
    let (name, file, folder) = (String::from("h.7.w"), || "dir/a.bin".into(), || "some/dir".into());
    let name = || name.clone();
    let entry = |found: &str| CheckpointError::ZipEntry { file: file(), entry: "x/data/4".into(), found: found.into() };
    let wrong = |found| CheckpointError::WrongKind { file: file(), found, expected: "a weight file" };
    check!(CheckpointError of "moss-checkpoint/src/error.rs", vec![
        CheckpointError::Read { file: file(), source: full() },
        wrong("a folder"), wrong("an empty file"),
        CheckpointError::NoWeights { folder: folder(), found: "an empty folder".into() },
        CheckpointError::NoWeights { folder: folder(), found: "a1, b2 and 17 more".into() },
        CheckpointError::NotWeights { file: file(), found: "a git-lfs pointer" },
        CheckpointError::NotWeights { file: file(), found: "a web page" },
        CheckpointError::Json { file: file(), what: "shard index", source: json() },
        CheckpointError::ConfigValue { file: file(), key: "n_embd".into(), found: "missing".into(), expected: "a whole number of 0 or more" },
        CheckpointError::ConfigValue { file: file(), key: "quantization_config.quant_method".into(), found: "\"awq7\"".into(), expected: "gptq" },
        CheckpointError::ConfigConflict { key: "bits", first: file(), first_value: "4".into(), second_key: "wbits", second: folder(), second_value: "8".into() },
        CheckpointError::ConfigConflict { key: "bits", first: file(), first_value: "4".into(), second_key: "wbits", second: file(), second_value: "8".into() },
        CheckpointError::ConfigMismatch { key: "n_layer", config_file: file(), config: "34".into(), name: name(), file: folder(), tensors: "33".into() },
        CheckpointError::ConfigMismatch { key: "group_size", config_file: file(), config: "64".into(), name: name(), file: folder(), tensors: "3 groups of 384 inputs".into() },
        CheckpointError::StaleIndex { index: file(), shard: "s-1.bin".into(), missing: 5, complete: "model.safetensors".into() },
        CheckpointError::Underflow { name: name(), file: file(), at: 17, value: 1e-12 },
        CheckpointError::UnexpectedBias { name: name(), file: file(), at: 17, value: 0.25 },
        CheckpointError::GroupAlignment { name: name(), file: file(), group_size: 100, multiple: 8 },
        CheckpointError::Encoding { file: file(), source: DecodeError::Wide { encoding: "UTF-16LE" } },
        CheckpointError::Encoding { file: file(), source: DecodeError::NotUtf8 { offset: 6, line: 2, byte: 0xc4 } },
        CheckpointError::Checksum { file: file(), record: "x/data/4".into(), tensors: vec![name(), "b".into()], found: 7, expected: 8 },
        CheckpointError::Checksum { file: file(), record: "x/data/4".into(), tensors: vec![], found: 7, expected: 8 },
        CheckpointError::ShardName { index: file(), shard: "../up".into() },
        CheckpointError::MissingShard { index: file(), shard: "s-2.bin".into(), tensors: 41 },
        CheckpointError::MisplacedTensor { name: name(), file: file() },
        CheckpointError::DuplicateTensor { name: name(), first: file(), second: folder() },
        CheckpointError::Zip { file: file(), source: zip::result::ZipError::FileNotFound },
        CheckpointError::LegacyTorch { file: file() },
        entry("compressed with Deflated 8"), entry("missing"), entry("past the end of the file"),
        CheckpointError::Pickle { file: file(), source: PickleError::Truncated { at: 3 } },
        CheckpointError::Safetensors { file: file(), source: safetensors::SafeTensorError::HeaderTooLarge },
        CheckpointError::TensorBounds { name: name(), file: file(), needed: 812, found: 604 },
        CheckpointError::Write { file: file(), source: full() },
        CheckpointError::Write { file: file(), source: io::ErrorKind::NotFound.into() },
        CheckpointError::WrongLength { file: file(), excess: -35 },
        CheckpointError::NotAsPlanned { file: file(), name: name() },
        CheckpointError::MissingTensor { name: name(), folder: folder() },
        CheckpointError::Shape { name: name(), file: file(), found: vec![2, 3], expected: vec![4, 5] },
        CheckpointError::Dtype { name: name(), file: file(), found: DType::U8, expected: "f16, bf16 or f32" },
        CheckpointError::UnsupportedDtype { name: name(), file: file(), found: "complex128".into() },
        CheckpointError::NonFinite { name: name(), file: file(), at: 99, value: f32::INFINITY },
        CheckpointError::Group { name: name(), file: file(), at: 21, found: -6, last: 15 },
        CheckpointError::BitWidth { name: name(), file: file(), rows: 33, in_features: 256 },
        CheckpointError::GroupSize { name: name(), file: file(), groups: 13, in_features: 250 },
        CheckpointError::GroupSizeUnstated { name: name(), file: file(), groups: 2, in_features: 512, first: 256, second: 264 },
    ]);
    check!(PickleError of "moss-checkpoint/src/pickle/error.rs", hints: |_| [None, None], vec![
        PickleError::Truncated { at: 17 },
        PickleError::Opcode { opcode: 0x52, at: 18 },
        PickleError::Global { name: "os.system".into(), at: 19 },
        PickleError::Value { expected: "a list", at: 20 },
        PickleError::Limit { what: "values", at: 21 },
        PickleError::Attached { name: "h.7.w".into(), what: "tensor metadata" },
        PickleError::Unreached { count: 3, record: "data/7".into() },
    ]);
    for warning in [
        Warning::BitWidth { config: 4, tensors: 8 },
        Warning::TorchDtype { config: "float32".into(), tensors: "float16".into() },
        Warning::SeveralSets { used: "model.safetensors".into(), ignored: vec![file(), file(), file()] },
        Warning::StaleIndex { index: file(), missing: 3, used: "model.safetensors".into() },
        Warning::GroupSize { config: 64, tensors: 128 },
        Warning::UnusedGroups { name: name(), unused: 3, groups: 48, linears: 136 },
        Warning::Symmetry { name: name(), format: "gptq_v2", expected: 8, found: 5, linears: 17 },
        Warning::GroupSizeAssumed { name: name(), size: 128, linears: 17 },
        Warning::OwnHead,
        Warning::NoHeadBias,
        Warning::UnknownTensors { count: 5, first: name() },
    ] {
        same_data(&warning.to_string(), &warning.zh());
    }
    check!(FileError of "moss-files/src/error.rs", vec![
        FileError::Kind { found: "a named pipe" }, FileError::Kind { found: "a dangling link" },
        FileError::TooLarge { limit: 4096 },
        FileError::Text(DecodeError::NotUtf8 { offset: 17, line: 2, byte: 0xff }),
    ]);
    check!(TextError of "moss-text/src/error.rs", vec![
        TextError::Read { file: file(), source: full() },
        TextError::Json { file: file(), what: "vocabulary", source: json() },
        TextError::Merge { file: file(), line: 31, found: "a b c".into() },
        TextError::Bpe { folder: folder(), reason: "token 77 is out".into() },
        TextError::Read { file: file(), source: io::ErrorKind::NotFound.into() },
        TextError::LineEnd { file: file(), line: 31 },
        TextError::MergePart { file: file(), line: 31, found: "a bc".into(), part: "bc".into() },
        TextError::MergeTwice { file: file(), line: 31, found: "a b".into() },
        TextError::MergeOrder { file: file(), line: 31, id: 290, before: 2600 },
        TextError::NoMerge { file: file(), id: 256, found: "Ġt".into(), count: 2444 },
        TextError::MissingByte { folder: folder(), byte: 228 },
        TextError::AddedTokens { folder: folder(), decoder: ("<eom>".into(), 2740), listed: ("<eoh>".into(), 2739) },
        TextError::Unsupported { file: file(), option: "add_prefix_space", token: None },
        TextError::Unsupported { file: file(), option: "lstrip", token: Some("<eom>".into()) },
        TextError::TokenizerJson { file: file() },
        TextError::UnknownId { position: 3, id: 200_000, tokens: 106_072 },
        TextError::Ids { folder: folder(), id: 71, found: "there twice", last: 73 },
        TextError::Token { folder: folder(), id: 12, found: "\u{1}3".into() },
        TextError::MissingSpecial { folder: folder(), name: "<eom>" },
        TextError::Encode { bytes: 640, reason: "reason 4711".into() },
        TextError::NoPluginApi { plugin: "text-to-speech" },
        TextError::UnknownPlugin { found: "abacus".into(), expected: "web-search 1, calculator 2".into() },
        TextError::TurnTooLong { found: 2049, allowed: 1800 },
        TextError::Conversation { source: json() },
        TextError::ConversationVersion { found: 9, expected: 1 },
    ]);
    check!(DecodeError of "moss-unicode/src/decode.rs", vec![
        DecodeError::Wide { encoding: "UTF-16BE" },
        DecodeError::NotUtf8 { offset: 6, line: 2, byte: 0xc4 },
    ]);
    check!(QuantizeError of "moss-quantize/src/error.rs", vec![
        CheckpointError::LegacyTorch { file: file() }.into(),
        ModelError::UnknownToken { id: 5, vocab_size: 4 }.into(),
        TextError::TurnTooLong { found: 2049, allowed: 1800 }.into(),
        QuantizeError::Io { what: "rename", path: file(), source: full() },
        QuantizeError::Exists { path: folder() },
        QuantizeError::NotReplaced { path: folder(), why: "is not a checkpoint folder" },
        QuantizeError::ForeignFile { path: file() },
        QuantizeError::NotReplaced { path: folder(), why: "holds the checkpoint to read" },
        QuantizeError::Decode { file: file(), source: DecodeError::Wide { encoding: "UTF-16LE" } },
        QuantizeError::Busy { path: folder() },
        QuantizeError::DiskSpace { path: folder(), needed: 17_240_000_000, free: 3_160_000_000 },
        QuantizeError::Damaged { file: file(), found: "ab12".into(), expected: "cd34".into() },
        QuantizeError::AlreadyQuantized { folder: folder(), bits: 8 },
        QuantizeError::GroupSize { found: 100, in_features: 512, bits: 4 },
        QuantizeError::TooWide { linear: "h.3.fc".into() },
        QuantizeError::NotPositive { linear: "h.3.fc".into(), dampening: 0.01 },
        QuantizeError::Kernel { layer: 5, source: KernelError::NotCompiled { op: "norm" } },
        QuantizeError::OutOfMemory {
            layer: 5, device: DeviceSpec::Gpu { ordinal: 2, newest_code: None }, free: 3 << 30, total: 16 << 30,
        },
        QuantizeError::Sample { file: file(), line: 6, source: json() },
        QuantizeError::NoSamples { what: "the calibration texts" },
        QuantizeError::Windows { window: 4096, stride: 3000, context_length: 2048 },
        QuantizeError::Vocabularies { first: 107_008, second: 50_400 },
        QuantizeError::Interrupted,
    ]);
}

#[test]
#[rustfmt::skip]
fn errors_of_running_keep_their_data() {
    let argument = |rule: &str| KernelError::Argument { op: "matmul", arg: "rows", found: 65, rule: rule.into() };
    check!(KernelError of "moss-weights/src/error.rs", vec![
        argument("a multiple of 32"), argument("at least 1"), argument("from 2 to 64"), argument("3 x 5"), argument("even"),
        KernelError::Shape { op: "norm", arg: "x", found: vec![2, 3], expected: "[4, 5]".into() },
        KernelError::Dtype { op: "norm", arg: "x", found: "u8" },
        KernelError::NotPacked { op: "linear", found: DenseDtype::F16 },
        KernelError::NotCompiled { op: "norm" },
        KernelError::NoDriver,
        KernelError::LibraryMissing { library: "cuBLAS", version: 12, reason: "libcublas.so.12: no such file".into() },
        KernelError::NoSuchGpu { ordinal: 4, found: 0 },
        KernelError::NoSuchGpu { ordinal: 4, found: 1 },
        KernelError::NoSuchGpu { ordinal: 4, found: 3 },
        KernelError::DriverTooOld { found: 11_080, needed: 12_020 },
        KernelError::OutOfMemory { gpu: 1, needed: 700 << 20, free: 410 << 20 },
        KernelError::Read { source: full() },
        KernelError::NotOpened { gpu: 2, code: 46, message: "device unavailable 46".into() },
        KernelError::NotOpened { gpu: 2, code: 2, message: "out of memory 2".into() },
        KernelError::NotOpened { gpu: 2, code: 214, message: "ecc 214".into() },
        KernelError::Driver { what: "look for GPUs", code: 803, message: "mismatch 803".into() },
        KernelError::Driver { what: "open the GPU", code: 100, message: "no device (CUDA 100)".into() },
        KernelError::Driver { what: "norm_f16", code: 700, message: "illegal address 0x7".into() },
        candle_core::Error::Msg("shapes 8 and 9".into()).into(),
    ]);
    let config = |found: &str, expected: &str| ModelError::Config { key: "n_head", found: found.into(), expected: expected.into() };
    check!(ModelError of "moss-model/src/error.rs", vec![
        config("0", "a number above 0"), config("7", "a multiple of 4 that divides n_embd = 96"),
        config("9", "an even number up to the head's 64 lanes"), config("65", "at most 64 on a GPU"), config("1025", "at most 1024"), config("400", "below vocab_size = 320"), config("relu", "gelu_new"),
        CheckpointError::LegacyTorch { file: "a.bin".into() }.into(),
        ModelError::Kernel { layer: 33, op: "fc_in", source: argument("even") },
        ModelError::WindowFull { end: 2049, context_length: 2048 },
        ModelError::CacheFull { needed_blocks: 5, free_blocks: 3 },
        ModelError::BlocksMissing { sequence: 2, found: 4, expected: 6 },
        ModelError::EmptyChunk { sequence: 8 },
        ModelError::UnknownToken { id: 107_009, vocab_size: 107_008 },
        ModelError::ActivationsNotExact,
        ModelError::ActivationsOffCpu { device: DeviceSpec::Gpu { ordinal: 2, newest_code: None } },
        ModelError::Gpu(KernelError::NoSuchGpu { ordinal: 4, found: 3 }),
        placement().into(),
        ModelError::Stage { stage: 3, device: DeviceSpec::Gpu { ordinal: 2, newest_code: None }, source: Box::new(ModelError::Interrupted) },
        ModelError::NothingHandedOver { layer: 12 },
        ModelError::GpuDtype { found: ComputeDtype::BF16 },
        ModelError::Interrupted,
        ModelError::NonFinite { layer: 21, sequence: 4, position: 77, value: f32::NEG_INFINITY },
    ]);
    let PlacementError::DoesNotFit { shortfalls, changes } = placement() else { unreachable!() };
    check!(PlacementError of "moss-model/src/placement/error.rs", vec![
        PlacementError::NoCards,
        PlacementError::NoLayers,
        PlacementError::TooManyCards { found: 300, expected: 128 },
        PlacementError::Bandwidth { card: "T4".into(), found: 0.5 },
        PlacementError::Counts { found: 3, expected: 4 },
        PlacementError::Empty { card: 6 },
        PlacementError::Sum { found: 33, expected: 34 },
        placement(),
        PlacementError::DoesNotFit { shortfalls: shortfalls.clone(), changes: changes[4..].to_vec() },
        PlacementError::DoesNotFit { shortfalls, changes: vec![] },
    ]);
    check!(SamplingError of "moss-sampling/src/error.rs", vec![
        SamplingError::Parameter { name: "top_p", found: 1.5, expected: "0 to 1" },
        SamplingError::UnknownBias { id: 200_000, tokens: 106_072 },
        SamplingError::BadLogits { step: 3, id: 44, value: f32::INFINITY },
        SamplingError::NothingLeft { step: 5 },
    ]);
    check!(EngineError of "moss-engine/src/error.rs", vec![
        EngineError::EmptyPrompt,
        EngineError::PromptTooLong { found: 3000, allowed: 2047 },
        EngineError::QueueFull { limit: 64 },
        EngineError::UnknownToken { position: 3, id: 200_000, rows: 107_008 },
        EngineError::UnknownStop { id: 200_000, tokens: 106_072 },
        EngineError::NoTokenizer,
        EngineError::TokenizerMismatch { tokens: 106_068, rows: 512 },
        EngineError::Model { step: 4, source: Arc::new(ModelError::WindowFull { end: 9, context_length: 8 }) },
        EngineError::LogitsMissing { step: 2, found: 0, expected: 512 },
        EngineError::StepPanicked { step: 6, message: "index 9".into() },
        SamplingError::NothingLeft { step: 5 }.into(),
        TextError::TurnTooLong { found: 2049, allowed: 1800 }.into(),
        EngineError::Panicked { message: "index 10".into() },
        EngineError::DeviceLost { source: Arc::new(ModelError::WindowFull { end: 9, context_length: 8 }) },
        EngineError::Stalled { seconds: 300, tokens: 256 },
        EngineError::Threads { threads: 16, reason: "error 11".into() },
        EngineError::ShutDown,
        EngineError::NoTurn("no answer to make again"),
        EngineError::NoTurn("no command that waits for results"),
    ]);
    check!(ServerError of "moss-server/src/error.rs", vec![
        ServerError::Tokenizer(None),
        ServerError::Tokenizer(Some(TextError::TurnTooLong { found: 2049, allowed: 1800 })),
        ServerError::AlreadyOpen,
        ServerError::Listen(full()),
    ]);
}

#[test]
#[rustfmt::skip]
fn errors_of_downloads_keep_their_data() {
    let status = |status| Fault::Status { status, retry_after: Some(Duration::from_secs(9)) };
    let faults = || vec![
        status(403), status(404), status(429), status(500),
        Fault::Connection("refused by 10.0.0.1".into()),
        Fault::Connection("cut off 812 bytes before the end".into()),
        Fault::Unreachable { host: "host9".into(), reason: "connection refused".into() },
        Fault::Unreachable { host: "host9 (through the proxy)".into(), reason: "no answer".into() },
        Fault::Tls { host: "host9".into(), reason: "UnknownIssuer7".into() },
        Fault::Stalled { bytes: 5, seconds: 30.5 },
        Fault::Html,
        Fault::Length { found: 7, expected: 8 },
        Fault::Range { expected: "0-9/10".into(), found: "bytes 1-9/10".into() },
        Fault::NoRanges,
        Fault::Changed { found: "ab12".into(), expected: "cd34".into() },
        Fault::Redirect("to `ftp://x`".into()),
        Fault::Redirect("more than 10 times".into()),
    ];
    check!(Fault of "moss-hub/src/fault.rs", hints: |_| [None, None], faults());
    let (id, url) = (|| String::from("fnlp/moss"), || String::from("http://10.1.2.3/"));
    let found = |similar| HubError::NotFound {
        name: "mos".into(), looked: vec![("./fnlp/m3".into(), "is not there"), ("c4".into(), "holds no snapshot")], similar,
    };
    let mut errors = vec![
        found(None), found(Some("moss-moon-003-sft")),
        HubError::Write { path: "c4".into(), source: full() },
        HubError::BadId { id: "a/b/c".into() },
        HubError::Offline { id: id() },
        HubError::BadEndpoint { endpoint: "ftp://x5".into(), reason: "scheme `ftp`, expected http or https".into() },
        HubError::BadProxy { reason: "port 99999".into() },
        HubError::Listing { url: url(), id: id(), reason: "revision `x7`".into() },
        HubError::Incomplete { id: id(), endpoint: url(), missing: "config.json".into() },
        HubError::Hash { file: "f8".into(), url: url(), found: "ab12".into(), expected: "cd34".into() },
        HubError::Space { path: "c4".into(), needed: 900, free: 800, copies: 0 },
        HubError::Space { path: "c4".into(), needed: 900, free: 800, copies: 450 },
        HubError::Disk { path: "c4".into(), source: full() },
    ];
    errors.extend(faults().into_iter().map(|fault| HubError::Transfer { file: "f8".into(), url: url(), attempts: 6, fault }));
    check!(HubError of "moss-hub/src/error.rs", errors);
    let wrapped: [BuildError; 9] = [
        found(None).into(),
        CheckpointError::LegacyTorch { file: "a.bin".into() }.into(),
        ModelError::WindowFull { end: 9, context_length: 8 }.into(),
        TextError::TurnTooLong { found: 2049, allowed: 1800 }.into(),
        EngineError::QueueFull { limit: 64 }.into(),
        ServerError::AlreadyOpen.into(),
        BuildError::Declined { name: "n1".into() },
        BuildError::NoTokenizer { folder: "d2".into() },
        BuildError::NotAPluginModel { name: "n3".into() },
    ];
    for error in wrapped {
        same_data(&error.to_string(), &error.zh());
        assert_eq!(error.hint().is_some(), error.hint_zh().is_some(), "{error}");
    }
}

/// The files of a folder and of those in it, or the file itself.
fn files_below(path: PathBuf) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files_below(entry.unwrap().path()))
        .collect()
}

/// Returns the text literals behind `marker` in a crate's sources, however their lines are broken.
fn literals(sources: &str, marker: &str) -> Vec<&'static str> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(sources);
    let on_one_line = |file: &PathBuf| {
        let source = fs::read_to_string(file).unwrap();
        let words: Vec<&str> = source.split_whitespace().collect();
        words.join(" ").replace("( ", "(")
    };
    let sources: Vec<&'static str> = files_below(path)
        .iter()
        .map(|file| &*on_one_line(file).leak())
        .collect();
    let found: Vec<_> = sources
        .iter()
        .flat_map(|source| source.split(marker).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(
        !found.is_empty(),
        "no `{marker}` any more: look where the words went"
    );
    found
}

#[test]
fn words_that_errors_are_made_with_are_translated_wherever_they_stand() {
    let check = |sources: &str, markers: &[&str], zh: &dyn Fn(&'static str) -> String| {
        for marker in markers {
            for word in literals(sources, marker) {
                let text = zh(word);
                let is_name =
                    !word.contains(' ') && word.contains(|c: char| !c.is_ascii_lowercase());
                assert!(
                    is_name || !text.contains(word),
                    "`{word}` of {sources}: {text}"
                );
            }
        }
    };
    let file = || "f".into();
    check(
        "moss-checkpoint/src/pickle/machine.rs",
        &["expected(\"", "what: \""],
        &|word| {
            PickleError::Value {
                expected: word,
                at: 1,
            }
            .zh()
        },
    );
    let kinds = ["wrong(\"", "found: \"", "expected: \"", "read(path, \""];
    check("moss-checkpoint/src/files.rs", &kinds, &|word| {
        CheckpointError::WrongKind {
            file: file(),
            found: word,
            expected: word,
        }
        .zh()
    });
    check(
        "moss-checkpoint/src/config.rs",
        &["files::read(&file, \""],
        &|word| {
            CheckpointError::WrongKind {
                file: file(),
                found: word,
                expected: word,
            }
            .zh()
        },
    );
    check(
        "moss-checkpoint/src/pickle/machine.rs",
        &["HOOKS: &str = \"", "METADATA: &str = \""],
        &|word| {
            PickleError::Attached {
                name: "w".into(),
                what: word,
            }
            .zh()
        },
    );
    let values = [
        "SIZE: &str = \"",
        "NUMBER: &str = \"",
        "Some(found), \"",
        "typed(key, \"",
    ];
    check("moss-checkpoint/src/config.rs", &values, &|word| {
        CheckpointError::ConfigValue {
            file: file(),
            key: "k".into(),
            found: "1".into(),
            expected: word,
        }
        .zh()
    });
    check(
        "moss-checkpoint/src/declared.rs",
        &["read(&file, \""],
        &|word| {
            CheckpointError::WrongKind {
                file: file(),
                found: word,
                expected: word,
            }
            .zh()
        },
    );
    check(
        "moss-checkpoint/src/map.rs",
        &["expect_file(path, \""],
        &|word| {
            CheckpointError::WrongKind {
                file: file(),
                found: word,
                expected: word,
            }
            .zh()
        },
    );
    check("moss-checkpoint/src", &["wrong_dtype(\""], &|word| {
        CheckpointError::Dtype {
            name: "w".into(),
            file: file(),
            found: DType::U8,
            expected: word,
        }
        .zh()
    });
    let states = [
        "&entry, \"",
        "&pickle_name, \"",
        "entry_error(\"byteorder\", \"",
        "refuse(\"",
    ];
    check("moss-checkpoint/src/torch_zip.rs", &states, &|word| {
        CheckpointError::ZipEntry {
            file: file(),
            entry: "e".into(),
            found: word.into(),
        }
        .zh()
    });
    check(
        "moss-files/src/lib.rs",
        &["return \"", "Kind { found: \"", "{ \""],
        &|word| FileError::Kind { found: word }.zh(),
    );
    check("moss-text/src/vocab.rs", &[".json\"), \""], &|word| {
        TextError::Json {
            file: file(),
            what: word,
            source: json(),
        }
        .zh()
    });
    check(
        "moss-text/src/vocab.rs",
        &["ids_error(id, \"", "ids_error(id as u32, \""],
        &|word| {
            TextError::Ids {
                folder: file(),
                id: 1,
                found: word,
                last: 2,
            }
            .zh()
        },
    );
    check(
        "moss-hub/src/resolve.rs",
        &["(path, \"", "(folder, \"", "Err(\"", "|_| \"", "ok_or(\""],
        &|word| {
            HubError::NotFound {
                name: "m".into(),
                looked: vec![(file(), word)],
                similar: None,
            }
            .zh()
        },
    );
    check("moss-hub/src/http.rs", &["unreachable(\""], &|word| {
        Fault::Unreachable {
            host: "h".into(),
            reason: word.into(),
        }
        .zh()
    });
    check("moss-quantize/src", &["io(\""], &|word| {
        QuantizeError::Io {
            what: word,
            path: file(),
            source: full(),
        }
        .zh()
    });
    check("moss-quantize/src", &["NoSamples { what: \""], &|word| {
        QuantizeError::NoSamples { what: word }.zh()
    });
    check("moss-engine/src/chat/mod.rs", &["NoTurn(\""], &|word| {
        EngineError::NoTurn(word).zh()
    });
    check("moss-sampling/src/params.rs", &[", \""], &|word| {
        SamplingError::Parameter {
            name: "p",
            found: 2.0,
            expected: word,
        }
        .zh()
    });
    check(
        "moss-cuda/src",
        &["during(\"", "WHAT: &str = \""],
        &|word| {
            KernelError::Driver {
                what: word,
                code: 1,
                message: "m".into(),
            }
            .zh()
        },
    );
}

/// Sources of errors are told by whoever prints; the texts here do not repeat them.
#[test]
fn a_cause_is_no_part_of_the_text() {
    let error = CheckpointError::Read {
        file: "f".into(),
        source: full(),
    };
    let cause = error.source().unwrap().to_string();
    assert!(!error.zh().contains(&cause) && !error.to_string().contains(&cause));
}
