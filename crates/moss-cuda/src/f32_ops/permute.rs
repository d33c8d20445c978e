//! Permutation of symmetric matrices.

use moss_weights::{KernelError, Rule};

use super::matrix::{F32Matrix, one_thread_per_element};
use crate::{
    args::PermuteUpperF32Args,
    contract::{count, rule},
    device::Gpu,
    kernels::Kernel,
    launch::Call,
};

impl Gpu {
    /// Permutes a symmetric matrix, given as the upper triangle in panels of columns: panel `k` is
    /// `[end, end - start]` for the columns `start..end` from `k * width` on. Row and column `i`
    /// become row and column `place[i]`.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if extents do not match or `place` is not a permutation;
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::OutOfMemory`].
    pub fn f32_permute_upper(
        &self,
        panels: &[F32Matrix],
        width: usize,
        place: &[u32],
    ) -> Result<Vec<F32Matrix>, KernelError> {
        const OP: &str = "permute";
        let n = place.len();
        let mut seen = vec![false; n];
        for to in place {
            let new = seen
                .get_mut(*to as usize)
                .is_some_and(|seen| !std::mem::replace(seen, true));
            rule(OP, "place", *to as usize, new, Rule::BelowOnce(n))?;
        }
        rule(
            OP,
            "panels",
            panels.len(),
            width > 0 && panels.len() == n.div_ceil(width.max(1)),
            Rule::OnePerWidth,
        )?;
        for (panel, start) in panels.iter().zip((0..n).step_by(width)) {
            let end = n.min(start + width);
            let fits = (panel.rows, panel.columns) == (end, end - start);
            rule(OP, "rows of a panel", panel.rows, fits, Rule::Exactly(end))?;
        }
        let targets: Vec<F32Matrix> = panels
            .iter()
            .map(|panel| self.f32_zeros(panel.rows, panel.columns))
            .collect::<Result<_, _>>()?;
        // A permutation keeps every element within the triangle, so the kernel writes only within
        // these panels.
        let addresses: Vec<u64> = targets.iter().map(F32Matrix::address).collect();
        let (addresses, place) = (self.upload(&addresses)?, self.upload(place)?);
        let call = Call::new(self, OP);
        for (panel, start) in panels.iter().zip((0..n).step_by(width)) {
            let args = PermuteUpperF32Args {
                panel: panel.input(&call, "panel")?,
                start: count(OP, "start", start)?,
                width: count(OP, "width", panel.columns)?,
                place: call.input("place", &place, n)?,
                targets: call.input("targets", &addresses, panels.len())?,
                panel_width: count(OP, "width", width)?,
                n: count(OP, "order", n)?,
            };
            let geometry = one_thread_per_element(OP, panel.columns, panel.rows)?;
            call.launch(Kernel::PERMUTE_UPPER, geometry, &args)?;
        }
        self.synchronize()?; // the table of addresses is freed at the end of this function
        Ok(targets)
    }
}
