//! The 8-bit KV cache: its contents have the bits of the CPU's, and attention reads them. Positions
//! that no sequence has written have the scale NaN.

use candle_core::{Device, Tensor};
use half::f16;
use moss_cpu::ops::{KvLayer, kv_write};
use moss_cuda::{BLOCK_POSITIONS, Buffer, HeadLayout, KvBlocks, KvFormat, NO_SLOT};
use moss_weights::{KernelError, synthetic::halves};

use super::{
    attention::{DECODE, HEADS, listed, mixed_contexts, tiles, words},
    harness::{Case, ParityHarness, Prepared},
    paged::{DecodeTokens, Paged, PagedOnGpu, padded},
    tolerance::{HALF_STEP, Tolerance},
    weights::Stored,
};

const PREFILL: Tolerance = Tolerance {
    allowed: 12.0 * HALF_STEP,
    reason: "keys, values and weights are rounded to f16, half a step of 2^-10 of the values, which are several times the usual output; outputs are rounded too",
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for heads in HEADS.into_iter().chain([(24, 256)]) {
        cases.push(contents(heads));
        for sequences in [
            vec![(1, 1), (16, 1), (17, 1)],
            vec![(511, 1)],
            vec![(2047, 1)],
            vec![(66, 4), (1, 1), (33, 3), (700, 8)],
        ] {
            cases.push(decode(heads, sequences));
        }
        cases.push(decode_of_any_size(heads, mixed_contexts(40)));
        for sequences in [
            vec![(1, 1)],
            vec![(65, 65), (1, 1), (100, 64), (40, 3)],
            vec![(300, 257), (130, 1)],
        ] {
            cases.push(prefill(heads, sequences));
        }
        cases.push(tiles_of_any_size(heads));
    }
    cases.push(decode((2, 256), sequences_of(mixed_contexts(256))));
    cases.push(prefill((24, 256), vec![(512, 512)]));
    cases
}

fn sequences_of(contexts: Vec<usize>) -> Vec<(usize, usize)> {
    contexts.into_iter().map(|context| (context, 1)).collect()
}

fn shape(heads: (usize, usize), sequences: &[(usize, usize)]) -> String {
    let words = words(heads, Stored::F16);
    format!("{words}, 8-bit cache, tokens {}", listed(sequences))
}

/// Returns an empty 8-bit cache on the CPU.
fn empty(layout: HeadLayout, blocks: usize) -> Result<KvLayer, KernelError> {
    let (heads, head_dim) = (layout.num_heads, layout.head_dim);
    KvLayer::int8(blocks, heads, BLOCK_POSITIONS, head_dim, &Device::Cpu)
}

/// Writes `[rows, heads, head_dim]` keys and values to the cache.
fn write(
    layout: HeadLayout,
    cache: &KvLayer,
    [keys, values]: [&[f32]; 2],
    slots: &[u32],
) -> Result<(), KernelError> {
    let shape = (slots.len(), layout.num_heads, layout.head_dim);
    let tensor = |values: &[f32]| Tensor::from_slice(values, shape, &Device::Cpu);
    kv_write(cache, &tensor(keys)?, &tensor(values)?, slots)
}

/// Returns the blocks of a CPU cache with heads padded to the stride, as a GPU has them. `used` are
/// the slots whose scales are not replaced by NaN.
fn as_on_gpu(layout: HeadLayout, stored: &Tensor, used: &[bool]) -> Result<Vec<u8>, KernelError> {
    let (lines, head_dim) = (layout.num_heads * BLOCK_POSITIONS, layout.head_dim);
    let bytes = stored.flatten_all()?.to_vec1::<u8>()?;
    let mut out = Vec::new();
    let blocks = bytes.chunks_exact(lines * (head_dim + 2));
    for (block, used) in blocks.zip(used.chunks_exact(BLOCK_POSITIONS)) {
        let (integers, scales) = block.split_at(lines * head_dim);
        for line in integers.chunks_exact(head_dim) {
            out.extend(line);
            out.resize(out.len() + layout.stride() - head_dim, 128);
        }
        for (line, scale) in scales.chunks_exact(2).enumerate() {
            let nan = f16::NAN.to_le_bytes();
            out.extend(if used[line % BLOCK_POSITIONS] {
                scale
            } else {
                &nan
            });
        }
    }
    Ok(out)
}

/// Returns bytes as an 8-bit cache stores them.
fn upload(harness: &ParityHarness<'_>, bytes: &[u8]) -> Result<Buffer<f16>, KernelError> {
    let pairs = bytes.chunks_exact(2);
    let pairs: Vec<f16> = pairs
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    harness.gpu.upload(&pairs)
}

/// The keys and values of tokens have the bytes that the CPU stores, in the order of their slots.
fn contents(heads: (usize, usize)) -> Case {
    const BLOCKS: usize = 3;
    let shape = format!("{}, any magnitudes", words(heads, Stored::F16));
    Case::new("kv_quantize", shape, Tolerance::NONE, move |harness| {
        let gpu = harness.gpu;
        let layout = Paged::new(heads, vec![(1, 1)]).layout;
        let (width, tokens) = (heads.0 * heads.1, BLOCKS * BLOCK_POSITIONS);
        // The magnitudes of f16, with subnormal numbers, zeros, and an infinity.
        let rows = |seed| {
            let mut rows = halves(tokens * width, 1.0, seed);
            for (token, row) in rows.chunks_exact_mut(width).enumerate() {
                let factor = 2f32.powi(token as i32 - 30);
                row.iter_mut()
                    .for_each(|value| *value = f16::from_f32(*value * factor).to_f32());
            }
            rows[7 * width..9 * width].fill(0.0);
            rows[20 * width + seed as usize % width] = f32::INFINITY;
            rows
        };
        let (keys, values) = (rows(61), rows(62));
        let mut slots: Vec<u32> = (0..tokens as u32).map(|i| i * 29 % tokens as u32).collect();
        let expected = empty(layout, BLOCKS)?;
        write(layout, &expected, [&keys, &values], &slots)?;
        let used = vec![true; tokens];
        let [of_keys, of_values] = expected.contents();
        let expected = [
            as_on_gpu(layout, of_keys, &used)?,
            as_on_gpu(layout, of_values, &used)?,
        ]
        .concat();
        // Two more tokens without slots.
        slots.extend([NO_SLOT; 2]);
        let staged = |values: &[f32]| -> Result<Buffer<f16>, KernelError> {
            let stride = layout.stride();
            let wide = padded(layout, values);
            let blocks = slots.len().div_ceil(BLOCK_POSITIONS);
            let mut staged = vec![0.0; blocks * BLOCK_POSITIONS * heads.0 * stride];
            for (at, line) in wide.chunks_exact(stride).enumerate() {
                let (token, head) = (at / heads.0, at % heads.0);
                let block = token / BLOCK_POSITIONS * heads.0 + head;
                let place = block * BLOCK_POSITIONS + token % BLOCK_POSITIONS;
                staged[place * stride..][..stride].copy_from_slice(line);
            }
            harness.halves(&staged)
        };
        let blocks = slots.len().div_ceil(BLOCK_POSITIONS);
        let mut from = KvBlocks::new(gpu, blocks, BLOCK_POSITIONS, layout, KvFormat::F16)?;
        from.set_contents(staged(&keys)?, staged(&values)?)?;
        let mut cache = KvBlocks::new(gpu, BLOCKS, BLOCK_POSITIONS, layout, KvFormat::Int8)?;
        cache.ensure_mapped(gpu, BLOCKS)?;
        let on_gpu = gpu.upload(&slots)?;
        let run = move || {
            gpu.kv_quantize(&from, &cache, on_gpu.all(), slots.len())?;
            let mut found = Vec::new();
            for buffer in [cache.keys(), cache.values()] {
                let pairs = gpu.download(buffer, buffer.len())?;
                found.extend(
                    pairs
                        .iter()
                        .flat_map(|pair| pair.to_le_bytes())
                        .map(f32::from),
                );
            }
            Ok(found)
        };
        Ok(Prepared {
            expected: expected.into_iter().map(f32::from).collect(),
            run: Box::new(run),
        })
    })
}

/// Returns the 8-bit cache of `paged` on the CPU and on the GPU.
fn caches(harness: &ParityHarness<'_>, paged: &Paged) -> Result<(KvLayer, KvBlocks), KernelError> {
    let (gpu, layout) = (harness.gpu, paged.layout);
    let on_cpu = empty(layout, paged.blocks)?;
    let slots: Vec<u32> = (0..(paged.blocks * BLOCK_POSITIONS) as u32).collect();
    write(layout, &on_cpu, [&paged.keys(), &paged.values()], &slots)?;
    let used = paged.used_slots();
    let [keys, values] = on_cpu.contents();
    let mut on_gpu = KvBlocks::new(gpu, paged.blocks, BLOCK_POSITIONS, layout, KvFormat::Int8)?;
    on_gpu.set_contents(
        upload(harness, &as_on_gpu(layout, keys, &used)?)?,
        upload(harness, &as_on_gpu(layout, values, &used)?)?,
    )?;
    Ok((on_cpu, on_gpu))
}

/// Sequences of `(positions, tokens)`, each token with the block table of its sequence.
fn decode(heads: (usize, usize), sequences: Vec<(usize, usize)>) -> Case {
    let shape = shape(heads, &sequences);
    Case::new("attention_decode", shape, DECODE, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 54);
        let (on_cpu, on_gpu) = caches(harness, &paged)?;
        let expected = paged.attend(&on_cpu, &out_proj)?;
        let device = PagedOnGpu::with_cache(harness, &paged, &out_proj, on_gpu)?;
        let tokens = DecodeTokens::new(harness.gpu, &paged)?;
        let run = move || device.decode(&tokens, &device.q);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// A token has the same bits alone and with others.
fn decode_of_any_size(heads: (usize, usize), contexts: Vec<usize>) -> Case {
    let sequences = sequences_of(contexts);
    let shape = format!(
        "{}, 8-bit cache, {} sequences at once and alone",
        words(heads, Stored::F16),
        sequences.len()
    );
    Case::new("attention_decode", shape, Tolerance::NONE, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 57);
        let (_, on_gpu) = caches(harness, &paged)?;
        let device = PagedOnGpu::with_cache(harness, &paged, &out_proj, on_gpu)?;
        let all = DecodeTokens::new(harness.gpu, &paged)?;
        let queries = padded(paged.layout, &paged.queries());
        let stride = queries.len() / paged.rows();
        let mut expected = Vec::new();
        for (token, query) in queries.chunks_exact(stride).enumerate() {
            let alone = DecodeTokens::one(harness.gpu, &paged, token)?;
            let out = device.decode(&alone, &harness.halves(query)?)?;
            expected.extend(&out[..out.len() / paged.rows()]);
        }
        let run = move || device.decode(&all, &device.q);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Sequences of `(positions, tokens)`; the tokens are at the last positions.
fn prefill(heads: (usize, usize), sequences: Vec<(usize, usize)>) -> Case {
    let shape = shape(heads, &sequences);
    Case::new("attention_prefill", shape, PREFILL, move |harness| {
        let paged = Paged::new(heads, sequences.clone());
        let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 55);
        let (on_cpu, on_gpu) = caches(harness, &paged)?;
        let expected = paged.attend(&on_cpu, &out_proj)?;
        let (gpu, n) = (harness.gpu, paged.rows());
        let device = PagedOnGpu::with_cache(harness, &paged, &out_proj, on_gpu)?;
        let tiles = tiles(&sequences, gpu.prefill_tile());
        let run = move || device.prefill(&tiles, n);
        Ok(Prepared {
            expected,
            run: Box::new(run),
        })
    })
}

/// Tokens have the same bits in tiles of any size.
fn tiles_of_any_size(heads: (usize, usize)) -> Case {
    const SIZES: [usize; 4] = [1, 7, 33, 64];
    let shape = format!(
        "{}, 8-bit cache, tiles of {SIZES:?} tokens",
        words(heads, Stored::F16)
    );
    Case::new(
        "attention_prefill",
        shape,
        Tolerance::NONE,
        move |harness| {
            let sequences = vec![(300, 300), (130, 1), (212, 129)];
            let paged = Paged::new(heads, sequences.clone());
            let out_proj = Stored::F16.weight(heads.0 * heads.1, 16, 56);
            let (_, on_gpu) = caches(harness, &paged)?;
            let (gpu, n) = (harness.gpu, paged.rows());
            let device = PagedOnGpu::with_cache(harness, &paged, &out_proj, on_gpu)?;
            let mut expected = Vec::new();
            for size in SIZES {
                expected.extend(device.prefill(&tiles(&sequences, size), n)?);
            }
            let largest = tiles(&sequences, gpu.prefill_tile());
            let run = move || Ok(device.prefill(&largest, n)?.repeat(SIZES.len()));
            Ok(Prepared {
                expected,
                run: Box::new(run),
            })
        },
    )
}
