//! Every linear layer of MOSS-moon-003 at one row, in every format, against this machine's read
//! bandwidth measured in the same run.
//!
//! `cargo bench -p moss-bench --bench linear`; `-- 128` for 128 rows and GFLOP/s instead; `-- f16
//! fc_in` for some of the lines alone, `-- avx2` for an instruction set other than the best, `--
//! rounded` for 8-bit activations.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use bytes::Bytes;
use candle_core::{DType, Device, Tensor};
use moss_cpu::{Activations, Isa, Linear, cpu_features, read_bandwidth};
use moss_model::{LinearShape, MossConfig};
use moss_weights::{DenseDtype, DenseWeight, GptqBits, GptqWeight, GroupIndex, LinearWeight};
use rayon::prelude::*;

const GROUP_SIZE: usize = 128;
/// Rounds of the baseline and then the kernel, so that both run at the same speed of the machine,
/// which may change from round to round.
const ROUNDS: usize = 5;
/// Runs of a kernel in a round, of which the median counts.
const RUNS: usize = 5;

/// Names and shapes of the model's linear layers.
fn shapes() -> Vec<(&'static str, LinearShape)> {
    let config = MossConfig::moon_003();
    let lm_head = LinearShape {
        in_features: config.hidden_size,
        out_features: config.vocab_size,
        has_bias: true,
    };
    let name = |tail: &'static str| tail.rsplit('.').next().unwrap_or(tail);
    let linears = config.block().linears();
    let linears = linears.map(|(kind, shape)| (name(kind.tail()), shape));
    linears.into_iter().chain([("lm_head", lm_head)]).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The first word of an instruction set's name, as an argument: `avx2`.
fn isa_name(isa: Isa) -> String {
    isa.to_string()
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

fn noise(len: usize) -> Vec<u8> {
    let mix = |i: usize| {
        (i as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
            .wrapping_mul(0xBF58_476D_1CE4_E5B9)
    };
    let mut bytes = vec![0u8; len];
    bytes
        .par_chunks_mut(8)
        .enumerate()
        .for_each(|(i, chunk)| chunk.copy_from_slice(&mix(i).to_le_bytes()[..chunk.len()]));
    bytes
}

/// The bytes at a multiple of 64, as the published pickles keep their storages.
fn aligned(mut bytes: Vec<u8>) -> Bytes {
    let len = bytes.len();
    bytes.resize(len + 64, 0);
    let skip = bytes.as_ptr().align_offset(64);
    bytes.copy_within(..len, skip);
    Bytes::from(bytes).slice(skip..skip + len)
}

fn dense(out_features: usize, in_features: usize) -> LinearWeight {
    let mut data = noise(out_features * in_features * 2);
    // Random sign and mantissa under one small exponent.
    data.par_chunks_exact_mut(2)
        .for_each(|half| half[1] = half[1] & 0x83 | 0x20);
    LinearWeight::Dense(DenseWeight {
        dtype: DenseDtype::F16,
        out_features,
        in_features,
        data: aligned(data),
    })
}

fn packed(bits: GptqBits, out_features: usize, in_features: usize) -> LinearWeight {
    let groups = in_features / GROUP_SIZE;
    LinearWeight::Gptq(GptqWeight {
        bits,
        group_size: GROUP_SIZE,
        in_features,
        out_features,
        qweight: aligned(noise(in_features * out_features * bits.bits() / 8)),
        qzeros: Bytes::from(vec![0x77; groups * out_features * bits.bits() / 8]),
        scales: Bytes::from(
            half::f16::from_f32(0.003)
                .to_le_bytes()
                .repeat(groups * out_features),
        ),
        groups: GroupIndex::Sequential,
    })
}

fn main() {
    // In a worker, as the engine runs its steps: from another thread, two workers may be woken on
    // one core.
    rayon::ThreadPoolBuilder::new()
        .build()
        .unwrap()
        .install(run);
}

fn run() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let rows: usize = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(1);
    let isa = Isa::available()
        .into_iter()
        .find(|isa| args.contains(&isa_name(*isa)))
        .unwrap_or(cpu_features());
    let wanted = |names: &[&str], name: &str| {
        let mut named = args
            .iter()
            .filter(|arg| names.contains(&arg.as_str()))
            .peekable();
        named.peek().is_none() || named.any(|arg| arg == name)
    };
    let activations = match args.iter().any(|arg| arg == "rounded") {
        true => Activations::Int8,
        false => Activations::Exact,
    };
    println!(
        "{} threads, {isa}, {rows} row(s), activations {activations:?}",
        rayon::current_num_threads()
    );
    let shapes = shapes();
    let names: Vec<&str> = shapes.iter().map(|(name, _)| *name).collect();
    for (format, bits) in [
        ("f16", None),
        ("int8", Some(GptqBits::Eight)),
        ("int4", Some(GptqBits::Four)),
    ] {
        for &(name, shape) in &shapes {
            let (in_features, out_features) = (shape.in_features, shape.out_features);
            let is_wanted = wanted(&["f16", "int8", "int4"], format) && wanted(&names, name);
            // The head is never quantised, and rounded inputs have no kernel for dense weights.
            if !is_wanted
                || bits.is_some() && name == "lm_head"
                || bits.is_none() && activations == Activations::Int8
            {
                continue;
            }
            let weight = match bits {
                None => dense(out_features, in_features),
                Some(bits) => packed(bits, out_features, in_features),
            };
            let linear = Linear::new(weight, None, &Device::Cpu)
                .unwrap()
                .with_activations(activations)
                .unwrap();
            let x = Tensor::rand(-1f32, 1f32, (rows, in_features), &Device::Cpu)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            let (mut times, mut shares) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let bandwidth = read_bandwidth();
                let pass = || {
                    let start = Instant::now();
                    linear.forward_on(&x, isa).unwrap();
                    start.elapsed().as_secs_f64()
                };
                let time = median((0..RUNS).map(|_| pass()).collect());
                times.push(time);
                shares.push(linear.weight_bytes() as f64 / time / bandwidth);
            }
            shares.sort_by(f64::total_cmp);
            let time = median(times);
            let rate = linear.weight_bytes() as f64 / time;
            let flops = 2.0 * (rows * out_features * in_features) as f64 / time;
            println!(
                "{format:<5} {name:<9} {out_features:>6} x {in_features:<6} {:>8.2} ms {:>6.1} GB/s  share {:.2} ({:.2} to {:.2})  {:>6.1} GFLOP/s",
                time * 1e3,
                rate / 1e9,
                shares[ROUNDS / 2],
                shares[0],
                shares[ROUNDS - 1],
                flops / 1e9
            );
        }
    }
}
