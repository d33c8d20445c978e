//! Numbers of rows of decode steps, lm_head and their buffers.

/// Most generated tokens of a micro-batch: the most sequences that decode together.
pub const MAX_DECODE_ROWS: usize = moss_cuda::MAX_DECODE_TOKENS;

/// Rows that pass through lm_head together, if decode steps do not have more. Texts under
/// evaluation need the logits of all their tokens: fewer rows would read lm_head more often.
const HEAD_ROWS: usize = 64;

/// Most runs of lm_head for one micro-batch of `max_tokens`.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
pub(crate) const fn max_head_runs(max_tokens: usize) -> usize {
    max_tokens.div_ceil(HEAD_ROWS)
}

/// Returns the number of rows of the CUDA graph for a step of `n` tokens.
///
/// The matrix products cost the same for 8 k - 7 to 8 k rows, and a padding row attends to one
/// position, so padding to a multiple of eight costs almost nothing. Up to eight rows are exact,
/// because one conversation needs no padding. A stage for 256 rows has up to 39 graphs, a stage for
/// one row has one; 39 graphs of the published network take 14 MB of GPU memory. A graph is captured
/// when its size first occurs, which takes about as long as a kernel-by-kernel launch: 1 to 2 ms.
pub(crate) const fn captured_rows(n: usize) -> usize {
    if n <= 8 { n } else { n.next_multiple_of(8) }
}

/// Returns the rows of the buffers for steps of up to `wanted` tokens.
pub(crate) fn decode_rows(wanted: usize) -> usize {
    captured_rows(wanted.clamp(1, MAX_DECODE_ROWS))
}

/// Returns the rows that pass through lm_head together, with steps of up to `decode_rows`.
pub(crate) fn head_rows(decode_rows: usize) -> usize {
    HEAD_ROWS.max(decode_rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_captured_step_holds_its_tokens_and_computes_no_tile_of_products_more() {
        const TILE: usize = 8; // columns of mma.sync
        let mut last = 0;
        for n in 1..=MAX_DECODE_ROWS {
            let rows = captured_rows(n);
            assert!(rows >= n && rows >= last && rows <= MAX_DECODE_ROWS, "{n}");
            assert_eq!(rows.div_ceil(TILE), n.div_ceil(TILE), "{n}");
            assert_eq!(captured_rows(rows), rows, "{n}");
            last = rows;
        }
        assert_eq!(last, MAX_DECODE_ROWS);
        assert!((1..=8).all(|n| captured_rows(n) == n));
    }

    #[test]
    fn the_number_of_graphs_is_bounded() {
        let sizes = |max| (1..=max).map(captured_rows).collect::<BTreeSet<_>>().len();
        assert_eq!([1, 8, 32, 256].map(sizes), [1, 8, 11, 39]);
    }

    #[test]
    fn buffers_hold_every_step_of_their_stage() {
        for wanted in [0, 1, 9, 16, 33, 255, 256, 257, usize::MAX] {
            let rows = decode_rows(wanted);
            let steps = 1..=wanted.clamp(1, MAX_DECODE_ROWS);
            assert!(
                steps.into_iter().all(|n| captured_rows(n) <= rows),
                "{wanted}"
            );
            assert!(
                rows <= MAX_DECODE_ROWS && head_rows(rows) >= rows,
                "{wanted}"
            );
        }
    }
}
