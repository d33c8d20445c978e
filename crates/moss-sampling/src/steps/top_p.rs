//! Nucleus sampling. Source: arXiv 1904.09751.

/// How many of `weights`, sorted from the largest down, make up the smallest set whose share of `total` reaches `top_p`; at least one.
/// `None` when all of them together do not reach it, or all are asked for.
pub(crate) fn nucleus(weights: &[f64], total: f64, top_p: f64) -> Option<usize> {
    if top_p >= 1.0 {
        return None; // rounding must not drop a token of next to no mass
    }
    let mut mass = 0.0;
    for (index, weight) in weights.iter().enumerate() {
        mass += weight;
        if mass >= top_p * total {
            return Some(index + 1);
        }
    }
    None
}
