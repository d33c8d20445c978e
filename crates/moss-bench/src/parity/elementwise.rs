//! `layer_norm`, `embedding`, batched memcpy, and the check of devices.

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};
use half::f16;
use moss_cpu::ops;
use moss_cuda::{Buffer, Gpu, InputOrder, LinearInput};
use moss_model::BlockSpec;
use moss_weights::{
    KernelError, LinearWeight,
    synthetic::{Grouping, dense, noise},
};

use super::{
    harness::{Case, Prepared, widened},
    tolerance::{HALF_STEP, Tolerance},
    weights::{Stored, permuted},
};
use crate::fixture::{norm, norm_values};

/// The tolerance of a norm.
const NORM: Tolerance = Tolerance {
    allowed: HALF_STEP + 1.0 / 65_536.0,
    reason: "rounded to f16 once, half a step of 2^-10, after f32 sums where the CPU has f64",
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (hidden, n) in [
        (128, 1),
        (128, 9),
        (1024, 3),
        (80, 2),
        (2, 1),
        (1026, 5),
        (6144, 1),
        (6144, 7),
        (8200, 2),
    ] {
        cases.push(layer_norm(hidden, n, [Stored::F16, Stored::F16]));
    }
    let act_order = |size| Stored::Int4(Grouping::Permuted(size));
    cases.push(layer_norm(384, 3, [act_order(128), act_order(64)]));
    cases.push(layer_norm(384, 3, [Stored::F16, act_order(96)]));
    cases.push(norm_of_rows());
    for (hidden, n) in [(128, 1), (1024, 65), (80, 3), (6144, 5)] {
        cases.push(embedding(hidden, n));
    }
    cases.extend([1, 5, 1024, 70_001].map(batched_memcpy));
    cases.push(other_stream());
    cases
}

/// Returns values near 1 with a few lanes that are hundreds of times larger, as in the residual
/// stream of the published model.
fn stream(n: usize, hidden: usize) -> Vec<f32> {
    let mut values = noise(n * hidden, 1.0, 21);
    for row in values.chunks_exact_mut(hidden) {
        row[hidden / 2] *= 300.0;
        row[hidden - 1] += 3.0;
    }
    values
}

fn on_cpu(x: &[f32], hidden: usize) -> Result<Vec<f32>, KernelError> {
    let (weight, bias) = norm_values(hidden);
    let epsilon = BlockSpec::MOON_003.layer_norm_epsilon;
    let x = Tensor::from_slice(x, (x.len() / hidden, hidden), &Device::Cpu)?;
    Ok(ops::layer_norm(&x, &weight, &bias, epsilon, DType::F32)?
        .flatten_all()?
        .to_vec1()?)
}

/// A norm into the inputs of two weights.
fn layer_norm(hidden: usize, n: usize, to: [Stored; 2]) -> Case {
    let shape = format!("{n} row(s) of {hidden}, for {} and {}", to[0], to[1]);
    Case::new("layer_norm", shape, NORM, move |harness| {
        let x = stream(n, hidden);
        let weights = [to[0].weight(hidden, 16, 22), to[1].weight(hidden, 16, 23)];
        let normed = on_cpu(&x, hidden)?;
        let expected = [
            permuted(&weights[0], &normed),
            permuted(&weights[1], &normed),
        ]
        .concat();
        let (gpu, x, norm) = (
            harness.gpu,
            harness.gpu.upload(&x)?,
            norm(harness.gpu, hidden)?,
        );
        let linears = [
            harness.load(&weights[0], None)?,
            harness.load(&weights[1], None)?,
        ];
        let run = move || {
            let out = [
                gpu.zeros(n * linears[0].input_stride())?,
                gpu.zeros(n * linears[1].input_stride())?,
            ];
            let target = |at: usize| {
                (
                    LinearInput {
                        values: &out[at],
                        stride: linears[at].input_stride(),
                        order: InputOrder::Columns,
                    },
                    &linears[at],
                )
            };
            gpu.layer_norm(&x, None, n, &norm, &[target(0), target(1)])?;
            Ok([widened(gpu, &out[0])?, widened(gpu, &out[1])?].concat())
        };
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// A norm of some tokens of a stream into the input of one weight: the final norm.
fn norm_of_rows() -> Case {
    const HIDDEN: usize = 1024;
    Case::new(
        "layer_norm",
        "3 of 70 tokens of 1024, for f16",
        NORM,
        |harness| {
            let x = stream(70, HIDDEN);
            let rows = [69u32, 0, 33];
            let picked: Vec<f32> = rows
                .iter()
                .flat_map(|row| &x[*row as usize * HIDDEN..][..HIDDEN])
                .copied()
                .collect();
            let expected = on_cpu(&picked, HIDDEN)?;
            let (gpu, x, norm) = (
                harness.gpu,
                harness.gpu.upload(&x)?,
                norm(harness.gpu, HIDDEN)?,
            );
            let (rows, linear) = (
                gpu.upload(&rows)?,
                harness.load(&Stored::F16.weight(HIDDEN, 16, 24), None)?,
            );
            let run = move || {
                let out = gpu.zeros(3 * HIDDEN)?;
                let target = (
                    LinearInput {
                        values: &out,
                        stride: HIDDEN,
                        order: InputOrder::Columns,
                    },
                    &linear,
                );
                gpu.layer_norm(&x, Some(rows.all()), 3, &norm, &[target])?;
                widened(gpu, &out)
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

/// Rows of a table with padding, and the reset of the flag.
fn embedding(hidden: usize, n: usize) -> Case {
    const VOCABULARY: usize = 300;
    Case::new(
        "embedding",
        format!("{n} row(s) of {hidden}"),
        Tolerance::NONE,
        move |harness| {
            let table = dense(hidden, VOCABULARY, 25);
            let ids: Vec<u32> = (0..n as u32)
                .map(|row| (row * 131 + 299) % VOCABULARY as u32)
                .collect();
            let rows = ops::Embedding::new(table.clone())?.lookup(&ids, &Device::Cpu)?;
            let mut expected: Vec<f32> = rows.flatten_all()?.to_vec1()?;
            expected.push(1.0);
            let (gpu, ids) = (harness.gpu, harness.gpu.upload(&ids)?);
            let table = harness.load(&LinearWeight::Dense(table), None)?;
            let run = move || {
                let (stream, flag) = (
                    gpu.upload(&vec![f32::NAN; n * hidden])?,
                    gpu.upload(&[5u64])?,
                );
                gpu.embedding(
                    table.dense_rows()?,
                    ids.all(),
                    hidden,
                    n,
                    &stream,
                    Some(&flag),
                )?;
                let mut found = gpu.download(&stream, n * hidden)?;
                found.push(f32::from(u8::from(gpu.download(&flag, 1)? == [u64::MAX])));
                Ok(found)
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

/// Copies to the GPU and back. Values next to the destination keep their contents.
fn batched_memcpy(len: usize) -> Case {
    Case::new(
        "batched memcpy",
        format!("{len} and 3 values"),
        Tolerance::NONE,
        move |harness| {
            let (values, few) = (noise(len, 1.0, 5), noise(3, 1.0, 6));
            let (long_buffer, short_buffer) = (
                harness.gpu.zeros::<f32>(len + 2)?,
                harness.gpu.zeros::<f32>(3)?,
            );
            let mut pinned = [
                harness.gpu.pinned::<f32>(len + 2)?,
                harness.gpu.pinned(3)?,
                harness.gpu.pinned(3)?,
            ];
            pinned[0].as_mut_slice()?[..len].copy_from_slice(&values);
            pinned[1].as_mut_slice()?.copy_from_slice(&few);
            let expected = [0.0]
                .iter()
                .chain(&values)
                .chain(&[0.0])
                .chain(&few)
                .copied()
                .collect();
            let (gpu, pinned) = (harness.gpu, RefCell::new(pinned));
            let run = move || {
                let [long, short, back] = &mut *pinned.borrow_mut();
                gpu.batched_memcpy(&[
                    long.run_to(&long_buffer, 1, len)?,
                    short.run_to(&short_buffer, 0, 3)?,
                ])?;
                gpu.batched_memcpy(&[back.run_from(&short_buffer, 0, 3)?])?;
                Ok([
                    gpu.download(&long_buffer, len + 2)?,
                    back.as_slice()?.to_vec(),
                ]
                .concat())
            };
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}

/// A buffer of another stream is rejected, and one of the same stream is not.
fn other_stream() -> Case {
    Case::new(
        "embedding",
        "a table of another stream of the GPU: rejected",
        Tolerance::NONE,
        |harness| {
            let gpu = harness.gpu;
            let other = Gpu::open(gpu.info().ordinal, None)?;
            let tables = [gpu.zeros::<f16>(64)?, other.zeros::<f16>(64)?];
            let (ids, stream) = (gpu.zeros::<u32>(1)?, gpu.zeros::<f32>(64)?);
            let run = move || {
                let is_rejected = |table: &Buffer<f16>| {
                    let result = gpu.embedding((table.all(), 64), ids.all(), 64, 1, &stream, None);
                    match result {
                        Ok(()) => Ok(0.0),
                        Err(KernelError::WrongStream { .. }) => Ok(1.0),
                        Err(error) => Err(error),
                    }
                };
                tables.iter().map(is_rejected).collect()
            };
            Ok(Prepared {
                expected: vec![0.0, 1.0],
                run: Box::new(run),
            })
        },
    )
}
