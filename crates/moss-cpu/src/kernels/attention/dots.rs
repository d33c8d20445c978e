//! Dot products of queries and keys.

use crate::kernels::{
    element::{Element, vectors},
    simd::{Chunk, Simd},
};

/// Keys that are multiplied together: an addition waits for the previous one to the same sum.
pub(super) const KEYS: usize = 4;

/// Returns the dot products of `Q` queries with some keys of the same length.
#[inline(always)]
pub(super) fn dots<S: Simd, T: Element, const Q: usize>(
    simd: S,
    queries: [&[f32]; Q],
    keys: [&[T]; KEYS],
) -> [[f32; KEYS]; Q] {
    let head_dim = keys[0].len();
    let whole = head_dim / S::LANES;
    let mut query_vectors = [&[][..]; Q];
    for (to, query) in query_vectors.iter_mut().zip(queries) {
        *to = &S::Floats::split(query)[..whole];
    }
    let mut key_vectors = [&[][..]; KEYS];
    for (to, key) in key_vectors.iter_mut().zip(keys) {
        *to = &vectors::<S, T>(key)[..whole];
    }
    let mut sums = [[simd.splat(0.0); KEYS]; Q];
    for at in 0..whole {
        let mut loaded = [simd.splat(0.0); KEYS];
        for (to, key) in loaded.iter_mut().zip(key_vectors) {
            *to = T::load(simd, &key[at]);
        }
        for (sums, query) in sums.iter_mut().zip(query_vectors) {
            let query = simd.load(&query[at]);
            for (sum, key) in sums.iter_mut().zip(loaded) {
                *sum = simd.fma(query, key, *sum);
            }
        }
    }
    let mut totals = [[0.0; KEYS]; Q];
    for ((totals, sums), query) in totals.iter_mut().zip(sums).zip(queries) {
        simd.add_sums(totals, sums);
        for (total, key) in totals.iter_mut().zip(keys) {
            for at in whole * S::LANES..head_dim {
                *total = simd.fma_one(query[at], key[at].widen(), *total);
            }
        }
    }
    totals
}
