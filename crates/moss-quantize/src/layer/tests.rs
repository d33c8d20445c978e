//! Compares layers that run one at a time with the whole network.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use moss_checkpoint::Checkpoint;
use moss_cpu::Linear;
use moss_model::{
    BlockPool, BlockTable, HiddenPoint, LanguageModel, LoadOptions, LogitRows, Moss, SequenceChunk,
    TokenKind,
};

use super::*;

/// Heads of 16 to 256 lanes, rotated in part or completely; different inner widths; packed and
/// permuted weights.
const FIXTURES: [&str; 6] = [
    "tiny-fp16-bin",
    "mini-fp16-safetensors",
    "mini-int4-act-order",
    "mini-int8",
    "wide-int4",
    "tiny-int4",
];

/// The two compute sums of up to some thousand f32 terms in different orders, in every layer.
/// Relative to the largest value.
const TOLERANCE: f32 = 3e-5;

fn fixture(name: &str) -> (Checkpoint, MossConfig) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name);
    let checkpoint = Checkpoint::open(folder).unwrap();
    let config = MossConfig::try_from(checkpoint.config()).unwrap();
    (checkpoint, config)
}

/// Returns a linear layer in the format of [`Layer`]: its outputs for the unit vectors.
fn widened(
    source: &dyn WeightSource,
    config: &MossConfig,
    layer: usize,
    kind: LinearKind,
) -> Matrix {
    let shape = config.block().linear(kind);
    let (inputs, outputs) = (shape.in_features, shape.out_features);
    let weight = source.linear(&kind.name(layer), shape).unwrap().weight;
    let cpu = candle_core::Device::Cpu;
    let units = Tensor::eye(inputs, DType::F32, &cpu).unwrap();
    let weight = Linear::new(weight, None, &cpu)
        .unwrap()
        .forward(&units)
        .unwrap();
    Matrix::new(
        &Device::Cpu,
        &weight.flatten_all().unwrap().to_vec1().unwrap(),
        outputs,
    )
    .unwrap()
}

#[test]
fn layers_that_run_one_by_one_compute_what_the_network_computes() {
    for name in FIXTURES {
        let (checkpoint, config) = fixture(name);
        let ids: Vec<u32> = (0..50)
            .map(|at| at * 37 % config.vocab_size as u32)
            .collect();

        let mut model = Moss::load(&checkpoint, &LoadOptions::cpu(64), &mut |_| {}).unwrap();
        let mut blocks = BlockTable::default();
        BlockPool::new(model.cache_shape())
            .grow(&mut blocks, ids.len())
            .unwrap();
        let chunk = SequenceChunk {
            token_ids: &ids,
            kind: TokenKind::Prompt,
            start_pos: 0,
            blocks: &blocks,
            logits: LogitRows::None,
        };
        let mut seen = Vec::new();
        let mut tap = |point, values: &[f32]| seen.push((point, values.to_vec()));
        model
            .forward_traced(&[chunk], &|| false, Some(&mut tap))
            .unwrap();

        let hidden = embed(&checkpoint, &ids).unwrap();
        assert_eq!(seen[0], (HiddenPoint::Embedding, hidden.clone()));
        let width = config.hidden_size;
        let mut x = hidden;
        for layer in 0..config.num_layers {
            let mut one =
                Layer::load(&checkpoint, &config, layer, ids.len(), &Device::Cpu).unwrap();
            let weight = |kind| widened(&checkpoint, &config, layer, kind);
            // Fifty tokens as two sequences. The second continues after the first twenty positions of
            // the first.
            let again = [&x[..33 * width], &x[20 * width..]].concat();
            let mut y = Matrix::new(&Device::Cpu, &again, width).unwrap();
            let spans = [
                SequenceSpan {
                    rows: 33,
                    start_pos: 0,
                },
                SequenceSpan {
                    rows: 30,
                    start_pos: 20,
                },
            ];
            let h = one.normed(&y).unwrap();
            let attended = one
                .attended(&h, &weight(LinearKind::QkvProj), &spans)
                .unwrap();
            let activated = one.activated(&h, &weight(LinearKind::FcIn)).unwrap();
            let (out_proj, fc_out) = (weight(LinearKind::OutProj), weight(LinearKind::FcOut));
            one.add(&mut y, (&attended, &out_proj), (&activated, &fc_out))
                .unwrap();
            x = [y.to_host(0..20).unwrap(), y.to_host(33..63).unwrap()].concat();
            let (point, expected) = &seen[layer + 1];
            assert_eq!(*point, HiddenPoint::Block(layer));
            let largest = expected
                .iter()
                .fold(0.0f32, |largest, value| largest.max(value.abs()));
            let error = x
                .iter()
                .zip(expected)
                .fold(0.0f32, |error, (a, b)| error.max((a - b).abs()));
            assert!(
                error <= TOLERANCE * largest,
                "{name}, layer {layer}: {error} of {largest}"
            );
        }
        let mut short = Layer::load(&checkpoint, &config, 0, 16, &Device::Cpu).unwrap();
        let spans = [SequenceSpan {
            rows: 50,
            start_pos: 0,
        }];
        let h = short
            .normed(&Matrix::new(&Device::Cpu, &x, width).unwrap())
            .unwrap();
        let error = short
            .attended(
                &h,
                &widened(&checkpoint, &config, 0, LinearKind::QkvProj),
                &spans,
            )
            .unwrap_err();
        assert!(
            matches!(
                error,
                ModelError::Kernel {
                    op: "attention",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_start_position_beyond_the_previous_sequence_is_an_error() {
    let (checkpoint, config) = fixture(FIXTURES[0]);
    let mut layer = Layer::load(&checkpoint, &config, 0, 8, &Device::Cpu).unwrap();
    let weight = widened(&checkpoint, &config, 0, LinearKind::QkvProj);
    let h = Matrix::zeros(&Device::Cpu, 4, config.hidden_size).unwrap();
    let mut run = |spans: &[SequenceSpan]| layer.attended(&h, &weight, spans);
    let (whole, after_two) = (
        SequenceSpan {
            rows: 2,
            start_pos: 0,
        },
        SequenceSpan {
            rows: 2,
            start_pos: 2,
        },
    );
    let error = run(&[after_two, whole]).unwrap_err();
    let ModelError::Kernel { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        matches!(
            source,
            KernelError::Argument {
                arg: "start_pos",
                found: 2,
                ..
            }
        ),
        "{source}"
    );
    assert!(
        run(&[
            whole,
            SequenceSpan {
                rows: 2,
                start_pos: 3
            }
        ])
        .is_err(),
        "the one before has two"
    );
    assert!(run(&[whole, after_two]).is_ok());
}
