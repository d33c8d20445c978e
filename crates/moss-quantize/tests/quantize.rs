//! Quantized folders: their contents, rejected requests, and the state after an interrupted run.
#![allow(clippy::unwrap_used)]

mod support;

use std::{cell::Cell, fs, path::Path};

use moss_checkpoint::{Checkpoint, Container, WeightStorage};
use moss_quantize::{
    ConvertOptions, DeviceSpec, Method, QuantizeError, QuantizeEvent, QuantizeOptions, Sample,
    convert, quantize,
};
use moss_testing::fixture;
use moss_weights::{GptqBits, LinearShape, LinearWeight};
use support::logits;

const SOURCE: &str = "tiny-fp16-bin";

fn nearest(bits: GptqBits) -> QuantizeOptions {
    QuantizeOptions {
        bits,
        group_size: Some(32),
        method: Method::Nearest,
        device: DeviceSpec::Cpu,
        container: Container::Safetensors,
        max_shard_bytes: u64::MAX,
        storage: WeightStorage::Mapped,
        replace: false,
    }
}

fn gptq(act_order: bool) -> QuantizeOptions {
    let sample = |seed: u32| {
        let ids: Vec<u32> = (0..100)
            .map(|at| (at * at * 31 + seed * 97) % 1500)
            .collect();
        Sample {
            scored: vec![true; ids.len()],
            ids,
        }
    };
    let samples = (0..8).map(sample).collect();
    QuantizeOptions {
        method: Method::Gptq {
            samples,
            act_order,
            dampening: 0.01,
        },
        ..nearest(GptqBits::Four)
    }
}

fn refusal(source: &Path, target: &Path, options: &QuantizeOptions) -> QuantizeError {
    quantize(source, target, options, &|| false, &mut |_| {}).unwrap_err()
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_quantized_folder_has_the_published_form() {
    for (bits, wide) in [(GptqBits::Four, 4), (GptqBits::Eight, 8)] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let events = Cell::new(0);
        let options = QuantizeOptions {
            container: Container::Torch,
            ..nearest(bits)
        };
        let reports = quantize(
            &fixture(SOURCE),
            &target,
            &options,
            &|| false,
            &mut |event| {
                events.set(events.get() + usize::from(matches!(event, QuantizeEvent::Linear(_))));
            },
        )
        .unwrap();
        assert_eq!((reports.len(), events.get()), (12, 12));
        assert!(
            reports
                .iter()
                .all(|report| report.weight_error > 0.0 && report.weight_error < 0.03)
        );
        let (before, after) = (
            Checkpoint::open(fixture(SOURCE)).unwrap(),
            Checkpoint::open(&target).unwrap(),
        );
        assert!(after.warnings().is_empty(), "{:?}", after.warnings());
        let found = after.quantization().unwrap();
        assert_eq!((found.bits, found.group_size), (bits, 32));
        let config: serde_json::Value =
            serde_json::from_slice(&read(&target, "config.json")).unwrap();
        assert_eq!(
            (&config["wbits"], &config["groupsize"]),
            (&wide.into(), &32.into())
        );
        let shape = LinearShape {
            in_features: 128,
            out_features: 512,
            has_bias: true,
        };
        let linear = after.linear("transformer.h.1.mlp.fc_in", shape).unwrap();
        assert!(matches!(linear.weight, LinearWeight::Gptq(_)));
        for info in before
            .tensor_infos()
            .filter(|info| after.contains(&info.name))
        {
            assert_eq!(
                before.tensor(&info.name).unwrap().data,
                after.tensor(&info.name).unwrap().data
            );
        }
        assert_eq!(logits(&target).len(), logits(&fixture(SOURCE)).len());
    }
}

#[test]
fn conversion_of_a_quantized_folder_keeps_its_logits() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    quantize(&fixture(SOURCE), &one, &gptq(true), &|| false, &mut |_| {}).unwrap();
    let options = ConvertOptions {
        container: Container::Torch,
        max_shard_bytes: 200_000,
        replace: false,
    };
    convert(&one, &other, options, &|| false, &mut |_| {}).unwrap();
    assert_eq!(logits(&one), logits(&other));
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let on = |threads: usize| {
        let target = folder.path().join(threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            quantize(
                &fixture(SOURCE),
                &target,
                &gptq(false),
                &|| false,
                &mut |_| {},
            )
        })
        .unwrap();
        read(&target, "model.safetensors")
    };
    assert!(on(1) == on(3));
}

#[test]
fn invalid_requests_are_rejected_before_writing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let four = nearest(GptqBits::Four);
    let error = refusal(&fixture("mini-int8"), &target, &four);
    assert!(
        matches!(error, QuantizeError::AlreadyQuantized { bits: 8, .. }),
        "{error}"
    );
    for size in [0, 7, 100] {
        let options = QuantizeOptions {
            group_size: Some(size),
            ..four.clone()
        };
        let error = refusal(&fixture(SOURCE), &target, &options);
        assert!(
            matches!(error, QuantizeError::GroupSize { found, .. } if found == size),
            "{error}"
        );
    }
    let method = Method::Gptq {
        samples: vec![],
        act_order: false,
        dampening: 0.01,
    };
    let error = refusal(
        &fixture(SOURCE),
        &target,
        &QuantizeOptions {
            method,
            ..four.clone()
        },
    );
    assert!(matches!(error, QuantizeError::NoSamples { .. }), "{error}");
    for taken in [fixture(SOURCE), folder.path().join("..")] {
        let error = refusal(&fixture(SOURCE), &taken, &four);
        assert!(matches!(error, QuantizeError::Exists { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_interrupted_run_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, target) = (folder.path().join("whole"), folder.path().join("target"));
    quantize(
        &fixture(SOURCE),
        &whole,
        &nearest(GptqBits::Four),
        &|| false,
        &mut |_| {},
    )
    .unwrap();
    let small = QuantizeOptions {
        max_shard_bytes: 100_000,
        ..nearest(GptqBits::Eight)
    };
    let (unfinished, saved) = (
        folder.path().join("target.unfinished"),
        folder.path().join("saved"),
    );
    let layers = Cell::new(0);
    let cut = quantize(
        &fixture(SOURCE),
        &target,
        &small,
        &|| layers.get() == 2,
        &mut |event| {
            layers.set(layers.get() + usize::from(matches!(event, QuantizeEvent::Layer { .. })));
            if layers.get() == 2 {
                // The state that a killed process would leave.
                fs::create_dir(&saved).unwrap();
                for (name, bytes) in support::contents(&unfinished) {
                    fs::write(saved.join(name), bytes).unwrap();
                }
            }
        },
    );
    assert!(matches!(cut, Err(QuantizeError::Interrupted)));
    assert!(!target.exists() && !unfinished.exists());
    assert!(fs::read_dir(&saved).unwrap().count() > 3);
    fs::rename(&saved, &unfinished).unwrap();
    quantize(
        &fixture(SOURCE),
        &target,
        &nearest(GptqBits::Four),
        &|| false,
        &mut |_| {},
    )
    .unwrap();
    assert!(support::contents(&target) == support::contents(&whole));
}

#[test]
fn a_run_that_fails_in_a_layer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let mut options = gptq(false);
    if let Method::Gptq { dampening, .. } = &mut options.method {
        *dampening = -1.0;
    }
    let error = refusal(&fixture(SOURCE), &target, &options);
    assert!(
        matches!(error, QuantizeError::NotPositive { .. }),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn logits_of_any_group_size_are_within_the_rounding_error() {
    let expected: Vec<f32> = logits(&fixture(SOURCE))
        .into_iter()
        .map(f32::from_bits)
        .collect();
    let squares = |values: &[f32]| {
        values
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>()
    };
    // Sizes that do not divide a block, larger than a block and than a layer, and one group.
    for group_size in [Some(96), Some(40), Some(136), Some(1000), None] {
        for act_order in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            let options = QuantizeOptions {
                group_size,
                bits: GptqBits::Eight,
                ..gptq(act_order)
            };
            quantize(&fixture(SOURCE), &target, &options, &|| false, &mut |_| {}).unwrap();
            let found: Vec<f32> = logits(&target).into_iter().map(f32::from_bits).collect();
            let errors: Vec<f32> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            // A weight is off by at most 1/256 of its group's range; a wrong group, scale or zero point
            // causes a far larger error.
            let error = (squares(&errors) / squares(&expected)).sqrt();
            assert!(
                error < 0.02,
                "groups of {group_size:?}, act-order {act_order}: {error}"
            );
        }
    }
}
