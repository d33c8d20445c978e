//! The matrix products of prefill (GEMM): shapes that are not multiples of a tile, and numbers of
//! tokens around those at which another tile or another kernel begins.

use moss_model::BlockSpec;
use moss_weights::synthetic::{Grouping, halves, noise};

use super::{
    fused::{ACT_ORDER, SHAPES, heads, layer, mixed_formats, residual},
    harness::{Case, Prepared},
    path::Path,
    residual_sum::ResidualSum,
    tolerance::Tolerance,
    weights::Stored,
};

const TOKENS: [usize; 15] = [
    1, 2, 7, 15, 16, 17, 63, 64, 65, 127, 128, 129, 192, 257, 512,
];
const OUTPUTS: [usize; 5] = [16, 48, 176, 192, 208];
const INPUTS: [usize; 4] = [64, 104, 192, 320];

/// Numbers of heads and their sizes: 48, 144, 192, 240 and 576 outputs of qkv_proj.
const HEADS: [(usize, usize); 5] = [(4, 4), (4, 12), (4, 16), (4, 20), (12, 16)];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for stored in Stored::PUBLISHED {
        for (i, n) in TOKENS.into_iter().enumerate() {
            for (j, outputs) in OUTPUTS.into_iter().enumerate() {
                // 4 and 5 are coprime, so that every pair of extents occurs.
                let number = i * OUTPUTS.len() + j;
                let inputs = [0, 1].map(|shift| INPUTS[(number + shift) % INPUTS.len()]);
                cases.push(product_sum(inputs, outputs, [stored; 2], n));
                let spec = spec_of(HEADS[(i + j) % HEADS.len()], outputs);
                cases.push(product_heads(spec, inputs[0], [stored; 3], n));
            }
        }
        // The published extents, alone and together.
        for (inputs, outputs, n) in [
            ([6144, 24_576], 208, 17),
            ([64, 320], 6144, 257),
            ([6144, 24_576], 6144, 65),
        ] {
            cases.push(product_sum(inputs, outputs, [stored; 2], n));
        }
        for (inputs, inner, n) in [(24_576, 176, 129), (320, 6144, 65)] {
            let spec = spec_of((4, 20), inner);
            cases.push(product_heads(spec, inputs, [stored; 3], n));
        }
        cases.extend(layer(
            Path::Prefill,
            "moon",
            BlockSpec::MOON_003,
            [stored; 4],
            129,
        ));
        cases.push(reports(stored));
    }
    for grouping in [
        Grouping::Runs(32),
        Grouping::Runs(64),
        Grouping::Runs(96),
        Grouping::Permuted(32),
        Grouping::Permuted(128),
        Grouping::Uneven(128),
    ] {
        for stored in [Stored::Int8(grouping), Stored::Int4(grouping)] {
            cases.push(product_sum([384, 1000], 70, [stored; 2], 65));
            cases.push(product_heads(spec_of((4, 20), 104), 1000, [stored; 3], 65));
        }
    }
    for (name, spec) in SHAPES {
        for stored in Stored::PUBLISHED.into_iter().chain(ACT_ORDER) {
            for n in [1, 7, 130] {
                cases.extend(layer(Path::Prefill, name, spec, [stored; 4], n));
            }
        }
    }
    for mixed in mixed_formats() {
        for n in [1, 17, 129, 300] {
            cases.extend(layer(Path::Prefill, SHAPES[0].0, SHAPES[0].1, mixed, n));
        }
    }
    cases
}

/// Returns a block with these heads.
pub(super) fn spec_of((num_heads, head_dim): (usize, usize), inner_size: usize) -> BlockSpec {
    BlockSpec {
        num_heads,
        head_dim,
        inner_size,
        rotary_dim: head_dim / 4 * 2,
        context_length: 600,
        ..BlockSpec::MOON_003
    }
}

fn product_sum(inputs: [usize; 2], outputs: usize, stored: [Stored; 2], n: usize) -> Case {
    let name = format!("{} and {} to {outputs}", inputs[0], inputs[1]);
    residual(Path::Prefill, &name, (inputs, outputs), stored, n)
}

fn product_heads(spec: BlockSpec, inputs: usize, stored: [Stored; 3], n: usize) -> Case {
    let name = format!(
        "{inputs} to 3 * {} and {}",
        spec.hidden_size(),
        spec.inner_size
    );
    heads(Path::Prefill, &name, spec, inputs, stored, n)
}

/// The first token with a non-finite value is reported, with its layer.
fn reports(stored: Stored) -> Case {
    const N: usize = 300;
    let shape = format!("[out_proj | fc_out] of {stored}, three inputs not finite: layer, token");
    Case::new(stored.gemm(), shape, Tolerance::NONE, move |harness| {
        let inputs = [192, 320];
        let sum = ResidualSum::new(harness, Path::Prefill, (inputs, 208), [stored; 2], N)?;
        let mut x = inputs.map(|inputs| halves(N * inputs, 1.0, 44));
        x[1][131 * inputs[1] + 7] = f32::NAN;
        x[0][133 * inputs[0]] = f32::INFINITY;
        x[1][299 * inputs[1] + 319] = f32::NEG_INFINITY;
        let x = sum.inputs(harness, [&x[0], &x[1]])?;
        let stream = noise(N * 208, 1.0, 45);
        let run = move || {
            sum.run(&x, &stream, N)?;
            let flag = sum.gpu.download(&sum.flag, 1)?;
            let flag = flag.first().copied().unwrap_or(u64::MAX);
            Ok(vec![(flag >> 48) as f32, (flag >> 32 & 0xFFFF) as f32])
        };
        Ok(Prepared {
            expected: vec![3.0, 131.0],
            run: Box::new(run),
        })
    })
}
