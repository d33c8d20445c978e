//! The packed words of the published layout: fields of 4 or 8 bits, the first one lowest.

/// `[rows, columns]` fields to the bytes of i32 `[rows / per_word, columns]`: words run down the
/// rows, as `qweight` has them. `row(i)` is row `i`.
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

/// `[rows, columns]` fields to the bytes of i32 `[rows, ceil(columns / per_word)]`: words run along
/// a row, as `qzeros` has them.
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
