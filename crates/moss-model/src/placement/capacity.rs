//! The largest KV cache that fits next to the weights, and the sequences that it is enough for.

use super::{Device, ModelBytes, Request, advice::largest, search::best};
use crate::{CacheShape, MossConfig};

/// The part of the free memory that a filling cache leaves unused, as a divisor: for CUDA graphs,
/// fragmentation, and other processes on the device.
const UNUSED: u64 = 20;

/// Tokens of the KV cache for each concurrent sequence, below which [`capacity`] reduces the number
/// of sequences: a typical conversation without its shared prefix.
const TOKENS_PER_SEQUENCE: usize = 256;

/// Sequences that are never reduced further: the buffers of eight are as large as those of one.
const MIN_SEQUENCES: usize = 8;

/// The KV cache and the sequences that a caller would like to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedCapacity {
    /// The smallest KV cache, in tokens.
    pub positions: usize,
    /// Concurrent sequences.
    pub sequences: usize,
    /// Fewer sequences are possible.
    pub may_reduce: bool,
}

/// A KV cache and a number of concurrent sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tokens of the KV cache, in whole blocks.
    pub positions: usize,
    /// Concurrent sequences.
    pub sequences: usize,
}

/// Returns the largest KV cache that fits the devices: at most the context length for every
/// sequence, and such that a twentieth of the free memory remains unused and no part of the model
/// moves to the host or to the CPU for it. If sequences would share less than 256 tokens each, there
/// are fewer. Without enough memory, or for an invalid request, the result is the smallest cache, which
/// [`super::place`] rejects.
pub fn capacity(request: &Request<'_>, config: &MossConfig, wanted: WantedCapacity) -> Capacity {
    let least = CacheShape::for_positions(wanted.positions).num_blocks;
    let may_reduce = wanted.may_reduce && request.check().is_ok();
    let mut sequences = wanted.sequences.max(1);
    let fewest = MIN_SEQUENCES.min(sequences);
    loop {
        let model = request.model.clone().with_decode_rows(config, sequences);
        let useful = config.context_length.saturating_mul(sequences);
        let most = CacheShape::for_positions(useful).num_blocks.max(least);
        let found = largest_cache(request, &model, least, most);
        let positions = found.unwrap_or(least) * CacheShape::BLOCK_SIZE;
        let supported = found.map_or(sequences / 2, |_| positions / TOKENS_PER_SEQUENCE);
        if !may_reduce || supported >= sequences || sequences <= fewest {
            return Capacity {
                positions,
                sequences,
            };
        }
        let tiles = supported - supported % MIN_SEQUENCES;
        sequences = tiles.clamp(fewest, sequences - 1);
    }
}

/// Returns the most blocks from `least` to `most` that fit; `None` if the least do not.
fn largest_cache(
    request: &Request<'_>,
    model: &ModelBytes,
    least: usize,
    most: usize,
) -> Option<usize> {
    request.check().ok()?;
    let placed = |blocks: usize, devices: &[Device]| {
        let model = &model.with_blocks(blocks);
        best(&Request {
            model,
            devices,
            ..*request
        })
    };
    let base = placed(least, request.devices).ok()?;
    let devices: Vec<Device> = request
        .devices
        .iter()
        .map(|device| Device {
            free: device.free - device.free / UNUSED,
            ..device.clone()
        })
        .collect();
    let fits = |blocks: usize| {
        placed(blocks, &devices).is_ok_and(|placement| {
            placement.layers_on_cpu() == base.layers_on_cpu()
                && (base.embedding_on_host() || !placement.embedding_on_host())
        })
    };
    Some(largest(least, most, fits))
}
