//! The median of repeated measurements.

use moss_weights::KernelError;

/// Measurements of which the median is reported.
const SAMPLES: usize = 9;

/// Returns the median of several measurements, after two warm-up runs.
pub(super) fn median(
    mut measure: impl FnMut() -> Result<f64, KernelError>,
) -> Result<f64, KernelError> {
    measure()?;
    measure()?;
    let mut times = (0..SAMPLES)
        .map(|_| measure())
        .collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times.get(SAMPLES / 2).copied().unwrap_or(f64::NAN))
}
