//! Quantized layers in the published layout: words of 4-bit or 8-bit fields, lowest bits first.

/// A quantized linear layer: the bytes of its tensors, and its rounding errors.
#[derive(Debug)]
pub(crate) struct Quantized {
    pub(crate) qweight: Vec<u8>,
    pub(crate) qzeros: Vec<u8>,
    pub(crate) scales: Vec<u8>,
    /// Group of each input.
    pub(crate) g_idx: Vec<u32>,
    /// `|W - W'|^2 / |W|^2`
    pub(crate) weight_error: f64,
    /// The same for the outputs, on the calibration inputs: `trace(D H D^T) / trace(W H W^T)`, with
    /// `D = W - W'` and `H` dampened.
    pub(crate) output_error: Option<f64>,
}

/// Packs fields `[rows, columns]` into the bytes of i32 `[rows / per_word, columns]`, as in
/// `qweight`: a word contains consecutive rows of a column. `row(i)` returns row `i`.
pub(crate) fn pack_rows<'a>(
    rows: usize,
    columns: usize,
    bits: u32,
    row: impl Fn(usize) -> &'a [u8],
) -> Vec<u8> {
    let per_word = (32 / bits) as usize;
    let mut out = Vec::with_capacity(rows / per_word * columns * 4);
    let mut words = vec![0u32; columns];
    for first in (0..rows).step_by(per_word) {
        words.fill(0);
        for field in 0..per_word.min(rows - first) {
            for (word, value) in words.iter_mut().zip(row(first + field)) {
                *word |= u32::from(*value) << (field as u32 * bits);
            }
        }
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    }
    out
}

/// Packs fields `[rows, columns]` into the bytes of i32 `[rows, ceil(columns / per_word)]`, as in
/// `qzeros`: a word contains consecutive columns of a row.
pub(crate) fn pack_columns(fields: &[u8], columns: usize, bits: u32) -> Vec<u8> {
    let word = |fields: &[u8]| {
        fields.iter().enumerate().fold(0, |word, (at, value)| {
            word | u32::from(*value) << (at as u32 * bits)
        })
    };
    let rows = fields.chunks_exact(columns.max(1));
    rows.flat_map(|row| row.chunks((32 / bits) as usize))
        .flat_map(|part| word(part).to_le_bytes())
        .collect()
}
