//! The candle reference as a second oracle: its logits and those of the native CPU kernels, for
//! every fixture and both demo models, and its cache.
#![allow(clippy::unwrap_used)]

use std::{cell::Cell, path::PathBuf};

use moss_checkpoint::{Checkpoint, CheckpointError};
use moss_cpu::{Activations, ops::RopePrecision};
use moss_model::{
    BlockPool, BlockTable, ComputeDtype, DeviceSpec, KvCacheType, LanguageModel, LoadOptions,
    LogitRows, ModelError, Moss, MossConfig, Reference, SequenceChunk, TokenKind,
    UnsupportedOption, WeightSource, placement::PlacementError,
};

/// The engines add in another order, and the packed kernels multiply a group's sum by its scale
/// where the reference rounds each dequantized weight: 5.5e-5 at most on these checkpoints.
const F32_TOLERANCE: f32 = 1.5e-4;
/// The reference rounds what the native kernels leave in f32: dequantized weights, and outputs of
/// linear layers, logits included. Logits between 16 and 32 have steps of 0.016 in f16 and 0.125 in
/// bf16. The largest differences found are 0.08 and 0.22.
const F16_TOLERANCE: f32 = 0.15;
const BF16_TOLERANCE: f32 = 0.5;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Both demo models and every fixture with weights.
fn checkpoints() -> Vec<Checkpoint> {
    let fixtures = std::fs::read_dir(repository("tests/fixtures")).unwrap();
    let mut folders: Vec<_> = fixtures.map(|entry| entry.unwrap().path()).collect();
    folders
        .extend(["moss-demo", "moss-demo-int4"].map(|name| repository("examples/demo").join(name)));
    let opened: Vec<_> = folders
        .iter()
        .filter_map(|folder| Checkpoint::open(folder).ok())
        .filter(|checkpoint| WeightSource::config(checkpoint).is_ok())
        .collect();
    assert!(opened.len() >= 9, "found {}", opened.len());
    opened
}

fn demo() -> Checkpoint {
    Checkpoint::open(repository("examples/demo/moss-demo-int4")).unwrap()
}

fn options(dtype: ComputeDtype) -> LoadOptions {
    LoadOptions {
        dtype,
        ..LoadOptions::cpu(512)
    }
}

fn native(checkpoint: &Checkpoint, options: &LoadOptions) -> Moss {
    Moss::load(checkpoint, options, &mut |_| {}).unwrap()
}

fn reference(checkpoint: &Checkpoint, options: &LoadOptions) -> Reference {
    Reference::load(checkpoint, options, &mut |_| {}).unwrap()
}

fn refused(checkpoint: &Checkpoint, options: &LoadOptions) -> ModelError {
    Reference::load(checkpoint, options, &mut |_| {}).unwrap_err()
}

/// A prompt from all over the vocabulary.
fn prompt(config: &MossConfig, len: usize, seed: usize) -> Vec<u32> {
    let id = |index: usize| ((index + seed) * 2_654_435_761 % config.vocab_size) as u32;
    (1..=len).map(id).collect()
}

fn table(model: &dyn LanguageModel, positions: usize) -> BlockTable {
    let mut table = BlockTable::default();
    BlockPool::new(model.cache_shape())
        .grow(&mut table, positions)
        .unwrap();
    table
}

fn chunk<'a>(token_ids: &'a [u32], start_pos: usize, blocks: &'a BlockTable) -> SequenceChunk<'a> {
    SequenceChunk {
        token_ids,
        kind: TokenKind::Prompt,
        start_pos,
        blocks,
        logits: LogitRows::All,
    }
}

/// Logits of a prompt in two chunks, and of three decode steps behind it.
fn logits(model: &mut dyn LanguageModel, ids: &[u32]) -> Vec<f32> {
    let blocks = table(model, ids.len());
    let prompt = ids.len() - 3;
    let parts = [0..prompt / 3, prompt / 3..prompt];
    let steps = (prompt..ids.len()).map(|at| at..at + 1);
    let mut logits = Vec::new();
    for part in parts.into_iter().chain(steps) {
        let kind = if part.start < prompt {
            TokenKind::Prompt
        } else {
            TokenKind::Generated
        };
        let chunk = SequenceChunk {
            kind,
            ..chunk(&ids[part.clone()], part.start, &blocks)
        };
        logits.extend_from_slice(model.forward(&[chunk], &|| false).unwrap()[0].values());
    }
    logits
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

fn compare(options: &LoadOptions, tolerance: f32) {
    for checkpoint in checkpoints() {
        let name = checkpoint.folder().display().to_string();
        let config = WeightSource::config(&checkpoint).unwrap();
        let ids = prompt(&config, 45, 1);
        let expected = logits(&mut reference(&checkpoint, options), &ids);
        let found = logits(&mut native(&checkpoint, options), &ids);
        let spread = found.iter().fold(0f32, |max, logit| max.max(logit.abs()));
        assert!(spread > 4.0 * tolerance, "{name}: logits up to {spread}");
        let difference = difference(&found, &expected);
        assert!(
            difference <= tolerance,
            "{name}: logits differ by {difference}"
        );
    }
}

#[test]
fn native_f32_logits_are_those_of_the_reference() {
    compare(&options(ComputeDtype::F32), F32_TOLERANCE);
}

#[test]
fn rounded_rotary_frequencies_are_those_of_the_reference() {
    let rounded = LoadOptions {
        rope_precision: RopePrecision::F16,
        ..options(ComputeDtype::F32)
    };
    compare(&rounded, F32_TOLERANCE);
    let config = WeightSource::config(&demo()).unwrap();
    let ids = prompt(&config, 45, 1);
    let exact = logits(&mut reference(&demo(), &options(ComputeDtype::F32)), &ids);
    let found = logits(&mut reference(&demo(), &rounded), &ids);
    assert!(difference(&exact, &found) > F32_TOLERANCE);
}

#[test]
fn native_16_bit_logits_are_near_those_of_the_reference() {
    compare(&options(ComputeDtype::F16), F16_TOLERANCE);
    compare(&options(ComputeDtype::BF16), BF16_TOLERANCE);
}

#[test]
fn layers_on_two_devices_give_the_same_bits() {
    for layers_per_device in [None, Some(vec![7, 1])] {
        let split = LoadOptions {
            devices: vec![DeviceSpec::Cpu; 2],
            layers_per_device,
            ..options(ComputeDtype::F32)
        };
        let config = WeightSource::config(&demo()).unwrap();
        let ids = prompt(&config, 20, 1);
        let whole = logits(&mut reference(&demo(), &options(ComputeDtype::F32)), &ids);
        assert!(logits(&mut reference(&demo(), &split), &ids) == whole);
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_a_batch() {
    let mut model = reference(&demo(), &options(ComputeDtype::F32));
    let prompts: Vec<_> = (1..4)
        .map(|seed| prompt(model.config(), 9 * seed, seed))
        .collect();
    let alone = prompts.iter().map(|ids| logits(&mut model, ids));
    let alone: Vec<_> = alone.collect();
    let mut pool = BlockPool::new(model.cache_shape());
    let mut tables = [(); 3].map(|()| BlockTable::default());
    for (table, ids) in tables.iter_mut().zip(&prompts) {
        pool.grow(table, ids.len()).unwrap();
    }
    // As `logits` divides them.
    let steps = prompts.iter().map(|ids| {
        let prompt = ids.len() - 3;
        [0, prompt / 3, prompt, prompt + 1, prompt + 2, prompt + 3]
    });
    let steps: Vec<_> = steps.collect();
    let mut together = vec![Vec::new(); 3];
    for step in 0..5 {
        let batch = prompts.iter().zip(&tables).zip(&steps);
        let batch =
            batch.map(|((ids, table), at)| chunk(&ids[at[step]..at[step + 1]], at[step], table));
        let batch: Vec<_> = batch.collect();
        let found = model.forward(&batch, &|| false).unwrap();
        for (together, found) in together.iter_mut().zip(found) {
            together.extend_from_slice(found.values());
        }
    }
    assert!(together == alone);
}

#[test]
fn caches_follow_their_block_tables() {
    let mut model = reference(&demo(), &options(ComputeDtype::F32));
    let ids = prompt(model.config(), 40, 1);
    let mut pool = BlockPool::new(model.cache_shape());
    let (mut first, mut second) = (BlockTable::default(), BlockTable::default());
    pool.grow(&mut first, 40).unwrap();
    pool.grow(&mut second, 40).unwrap();
    let run = |model: &mut Reference, start: usize, end: usize, blocks: &BlockTable| {
        let chunk = chunk(&ids[start..end], start, blocks);
        model.forward(&[chunk], &|| false).unwrap().remove(0)
    };
    let whole = run(&mut model, 0, 40, &first);
    run(&mut model, 0, 30, &second);
    assert_eq!(model.cached_positions(), 70);
    // The next turn of a conversation continues after a part of the prompt.
    let again = run(&mut model, 25, 40, &first);
    let vocab = model.config().vocab_size;
    let off = difference(again.values(), &whole.values()[25 * vocab..]);
    assert!(off <= F32_TOLERANCE, "{off}");
    pool.release(first);
    run(&mut model, 30, 31, &second);
    assert_eq!(model.cached_positions(), 31);
    // A new sequence gets the blocks of the old one, not its cache.
    let mut third = BlockTable::default();
    pool.grow(&mut third, 40).unwrap();
    let missing = model.forward(&[chunk(&ids[25..], 25, &third)], &|| false);
    let missing = missing.unwrap_err();
    assert!(
        matches!(
            missing,
            ModelError::PositionsMissing {
                sequence: 0,
                found: 0,
                expected: 25
            }
        ),
        "{missing}"
    );
    // Nor did the refused batch extend the sequence before it.
    let batch = [
        chunk(&ids[31..40], 31, &second),
        chunk(&ids[25..], 25, &third),
    ];
    let missing = model.forward(&batch, &|| false).unwrap_err();
    assert!(
        matches!(missing, ModelError::PositionsMissing { sequence: 1, .. }),
        "{missing}"
    );
    assert_eq!(model.cached_positions(), 31);
    assert!(run(&mut model, 0, 40, &third) == whole);
}

#[test]
fn an_interrupted_pass_stops_between_layers_and_can_be_repeated() {
    let mut model = reference(&demo(), &options(ComputeDtype::F32));
    let ids = prompt(model.config(), 20, 1);
    let blocks = table(&model, ids.len());
    let expected = logits(&mut model, &ids);
    let mut parts = |interrupt: bool| {
        let mut logits = Vec::new();
        for (start, end) in [(0, 5), (5, 17), (17, 18), (18, 19), (19, 20)] {
            let chunk = chunk(&ids[start..end], start, &blocks);
            if interrupt {
                let calls = Cell::new(0);
                let stop = || calls.replace(calls.get() + 1) == 3;
                let error = model.forward(&[chunk], &stop).unwrap_err();
                assert!(matches!(error, ModelError::Interrupted), "{error}");
                assert_eq!((calls.get(), model.cached_positions()), (4, start));
            }
            logits.extend_from_slice(model.forward(&[chunk], &|| false).unwrap()[0].values());
        }
        logits
    };
    assert!(parts(true) == expected);
    assert!(parts(false) == expected);
}

#[test]
fn only_the_requested_rows_have_logits() {
    let mut model = reference(&demo(), &options(ComputeDtype::F32));
    let ids = prompt(model.config(), 20, 1);
    let blocks = table(&model, ids.len());
    let all = chunk(&ids, 0, &blocks);
    let mut rows = |logits| {
        let chunk = SequenceChunk { logits, ..all };
        model.forward(&[chunk], &|| false).unwrap().remove(0)
    };
    let whole = rows(LogitRows::All);
    assert_eq!(rows(LogitRows::None).rows(), 0);
    assert_eq!(rows(LogitRows::Last).rows(), 1);
    let off = difference(rows(LogitRows::Last).values(), whole.row(19).unwrap());
    assert!(off <= F32_TOLERANCE, "{off}");
}

#[test]
fn a_batch_that_cannot_run_is_refused() {
    let mut model = reference(&demo(), &LoadOptions::cpu(64));
    let context_length = model.config().context_length;
    let ids = prompt(model.config(), context_length + 1, 1);
    let blocks = table(&model, 64);
    let mut error = |chunk: SequenceChunk<'_>| model.forward(&[chunk], &|| false).unwrap_err();
    let long = error(chunk(&ids, 0, &blocks));
    assert!(matches!(long, ModelError::WindowFull { .. }), "{long}");
    let full = error(chunk(&ids[..65], 0, &blocks));
    assert!(matches!(full, ModelError::BlocksMissing { .. }), "{full}");
    let unknown = error(chunk(&[u32::MAX], 0, &blocks));
    assert!(
        matches!(unknown, ModelError::UnknownToken { .. }),
        "{unknown}"
    );
}

#[test]
fn options_without_an_implementation_are_errors() {
    let plain = || options(ComputeDtype::F32);
    let gpu = |newest_code| DeviceSpec::Gpu {
        ordinal: 0,
        newest_code,
    };
    let unsupported = [
        (
            UnsupportedOption::Int8Activations,
            LoadOptions {
                activations: Activations::Int8,
                ..options(ComputeDtype::F16)
            },
        ),
        (
            UnsupportedOption::Int8Cache,
            LoadOptions {
                kv_cache: KvCacheType::Int8,
                ..plain()
            },
        ),
        (
            UnsupportedOption::GpuCode,
            LoadOptions {
                devices: vec![gpu(Some(75))],
                ..plain()
            },
        ),
    ];
    for (expected, options) in unsupported {
        let error = refused(&demo(), &options);
        assert!(
            matches!(error, ModelError::Unsupported { option } if option == expected),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
    let layers = refused(
        &demo(),
        &LoadOptions {
            devices: vec![DeviceSpec::Cpu; 2],
            layers_per_device: Some(vec![1, 2]),
            ..plain()
        },
    );
    assert!(
        matches!(
            layers,
            ModelError::Placement(PlacementError::Layers { devices: 2, .. })
        ),
        "{layers}"
    );
    if !Reference::CUDA {
        let devices = vec![DeviceSpec::Cpu, gpu(None)];
        let error = refused(&demo(), &LoadOptions { devices, ..plain() });
        assert!(
            matches!(error, ModelError::NoCandleCuda { device } if device == gpu(None)),
            "{error}"
        );
    }
}

/// The demo model without one of its tensors.
struct Without(Checkpoint, &'static str);

impl WeightSource for Without {
    fn config(&self) -> Result<MossConfig, ModelError> {
        WeightSource::config(&self.0)
    }

    fn linear(
        &self,
        name: &str,
        shape: moss_model::LinearShape,
    ) -> Result<moss_model::LinearParts, ModelError> {
        WeightSource::linear(&self.0, name, shape)
    }

    fn matrix(
        &self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Option<moss_cpu::DenseWeight>, ModelError> {
        if name == self.1 {
            return Ok(None);
        }
        WeightSource::matrix(&self.0, name, rows, cols)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, ModelError> {
        if name == self.1 {
            return Ok(None);
        }
        WeightSource::vector(&self.0, name, len)
    }

    fn release(&self, _: &str) {}

    fn stored_bytes(&self, prefix: &str, scales: bool) -> u64 {
        WeightSource::stored_bytes(&self.0, prefix, scales)
    }

    fn missing(&self, name: &str) -> ModelError {
        WeightSource::missing(&self.0, name)
    }
}

#[test]
fn a_missing_tensor_is_the_error_of_the_checkpoint() {
    for missing in [
        "transformer.wte.weight",
        "transformer.h.3.ln_1.bias",
        "transformer.ln_f.weight",
    ] {
        let source = Without(demo(), missing);
        let error = Reference::load(&source, &options(ComputeDtype::F32), &mut |_| {});
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ModelError::Checkpoint(CheckpointError::MissingTensor { name, .. })
                if name == missing),
            "{error}"
        );
    }
}
