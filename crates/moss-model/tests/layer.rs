//! Layers run one at a time.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use moss_checkpoint::Checkpoint;
use moss_kernels::{KernelError, Linear};
use moss_model::{
    BlockPool, BlockTable, DeviceSpec, HiddenPoint, LanguageModel, Layer, LinearKind, LoadOptions, LogitRows,
    ModelError, Moss, MossConfig, SequenceChunk, SequenceSpan, TensorDevice, WeightSource, embed,
};

/// Heads of 16 to 256 lanes, rotated in part or whole; an inner width of its own; packed and permuted weights.
const FIXTURES: [&str; 6] =
    ["tiny-fp16-bin", "mini-fp16-safetensors", "mini-int4-act-order", "mini-int8", "wide-int4", "tiny-int4"];

/// Sums of up to some thousand terms in f32, in two orders, over the layers so far; relative to the largest value.
const TOLERANCE: f32 = 3e-5;

fn fixture(name: &str) -> (Checkpoint, MossConfig) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    let checkpoint = Checkpoint::open(folder).unwrap();
    let config = MossConfig::try_from(checkpoint.config()).unwrap();
    (checkpoint, config)
}

/// A linear layer as [`Layer`] takes it: what it makes of the unit vectors.
fn widened(source: &dyn WeightSource, config: &MossConfig, layer: usize, kind: LinearKind) -> Tensor {
    let (inputs, outputs, has_bias) = kind.extents(config);
    let weight = source.linear(&kind.stem(layer), inputs, outputs, has_bias).unwrap().weight;
    let units = Tensor::eye(inputs, DType::F32, &Device::Cpu).unwrap();
    Linear::new(weight, None, &Device::Cpu).unwrap().forward(&units).unwrap()
}

#[test]
fn layers_run_one_by_one_give_what_the_whole_network_gives() {
    for name in FIXTURES {
        let (checkpoint, config) = fixture(name);
        let ids: Vec<u32> = (0..50).map(|at| at * 37 % config.vocab_size as u32).collect();

        let mut model = Moss::load(&checkpoint, &LoadOptions::cpu(64), &mut |_| {}).unwrap();
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape()).grow(&mut blocks, ids.len()).unwrap();
        let chunk = SequenceChunk { token_ids: &ids, start_pos: 0, blocks: &blocks, logits: LogitRows::None };
        let mut seen = Vec::new();
        let mut tap = |point, values: &[f32]| seen.push((point, values.to_vec()));
        model.forward_traced(&[chunk], &|| false, Some(&mut tap)).unwrap();

        let device = TensorDevice::open(DeviceSpec::Cpu).unwrap();
        let hidden = embed(&checkpoint, &ids).unwrap();
        assert_eq!(seen[0], (HiddenPoint::Embedding, hidden.clone()));
        let mut x = Tensor::from_vec(hidden, (50, config.hidden_size), device.device()).unwrap();
        for layer in 0..config.num_layers {
            let mut one = Layer::load(&checkpoint, &config, layer, ids.len(), device.device()).unwrap();
            let weight = |kind| widened(&checkpoint, &config, layer, kind);
            // Fifty rows as two sequences, the second of which goes on behind the first twenty positions of the first.
            let again =
                Tensor::cat(&[&x.narrow(0, 0, 33).unwrap(), &x.narrow(0, 20, 30).unwrap()], 0).unwrap();
            let spans = [SequenceSpan { rows: 33, start_pos: 0 }, SequenceSpan { rows: 30, start_pos: 20 }];
            let h = one.normed(&again).unwrap();
            let attended = one.attended(&h, &weight(LinearKind::QkvProj), &spans).unwrap();
            let activated = one.activated(&h, &weight(LinearKind::FcIn)).unwrap();
            let y = one
                .added(
                    &again,
                    (&attended, &weight(LinearKind::OutProj)),
                    (&activated, &weight(LinearKind::FcOut)),
                )
                .unwrap();
            x = Tensor::cat(&[&y.narrow(0, 0, 20).unwrap(), &y.narrow(0, 33, 30).unwrap()], 0).unwrap();
            let (point, expected) = &seen[layer + 1];
            assert_eq!(*point, HiddenPoint::Block(layer));
            let found: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
            let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let error = found.iter().zip(expected).fold(0.0f32, |error, (a, b)| error.max((a - b).abs()));
            assert!(error <= TOLERANCE * largest, "{name}, layer {layer}: {error} of {largest}");
        }
        let mut short = Layer::load(&checkpoint, &config, 0, 16, device.device()).unwrap();
        let spans = [SequenceSpan { rows: 50, start_pos: 0 }];
        let h = short.normed(&x).unwrap();
        let error =
            short.attended(&h, &widened(&checkpoint, &config, 0, LinearKind::QkvProj), &spans).unwrap_err();
        assert!(matches!(error, ModelError::Kernel { op: "attention", .. }), "{error}");
    }
}

#[test]
fn rows_that_go_on_from_a_sequence_that_was_not_there_are_refused() {
    let (checkpoint, config) = fixture(FIXTURES[0]);
    let mut layer = Layer::load(&checkpoint, &config, 0, 8, &Device::Cpu).unwrap();
    let weight = widened(&checkpoint, &config, 0, LinearKind::QkvProj);
    let h = Tensor::zeros((4, config.hidden_size), DType::F32, &Device::Cpu).unwrap();
    let mut run = |spans: &[SequenceSpan]| layer.attended(&h, &weight, spans);
    let (whole, after_two) = (SequenceSpan { rows: 2, start_pos: 0 }, SequenceSpan { rows: 2, start_pos: 2 });
    let error = run(&[after_two, whole]).unwrap_err();
    let ModelError::Kernel { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(source, KernelError::Argument { arg: "start_pos", found: 2, .. }), "{source}");
    assert!(run(&[whole, SequenceSpan { rows: 2, start_pos: 3 }]).is_err(), "the one before has two");
    assert!(run(&[whole, after_two]).is_ok());
}
