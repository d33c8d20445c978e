//! What nvcc made of `kernels/*.cu`, and which of it a card gets.

use super::GpuCode;

/// One source file, compiled.
pub(super) struct Image {
    pub(super) stem: &'static str,
    cubins: &'static [(u32, &'static [u8])],
    ptx: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// The CUDA version of the compiler, as the driver counts: 1000 x major + 10 x minor.
pub(super) fn cuda_version() -> i32 {
    env!("MOSS_CUDA_VERSION").parse().unwrap_or(0)
}

/// Which code a card of compute capability `capability` (75, 80, 86, …) runs: the newest machine code of its own generation, or else PTX
/// for the oldest, which its driver translates.
pub(super) fn code_for(capability: u32, forced: Option<u32>) -> GpuCode {
    let newest = forced.map_or(capability, |forced| forced.min(capability));
    let fits = |architecture: &u32| *architecture <= newest && architecture / 10 == capability / 10;
    match [90, 80, 75].into_iter().find(fits) {
        Some(architecture) => GpuCode::Machine(architecture),
        None => GpuCode::Ptx(75),
    }
}

impl Image {
    /// The bytes of `code`; PTX ends with a zero.
    pub(super) fn bytes(&self, code: GpuCode) -> Vec<u8> {
        let cubin = match code {
            GpuCode::Machine(architecture) => self.cubins.iter().find(|(other, _)| *other == architecture),
            GpuCode::Ptx(_) => None,
        };
        cubin.map_or_else(|| [self.ptx.as_bytes(), &[0]].concat(), |(_, bytes)| bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_gets_the_newest_code_that_it_runs() {
        for (capability, code) in [(75, 75), (80, 80), (86, 80), (89, 80), (90, 90)] {
            assert_eq!(code_for(capability, None), GpuCode::Machine(code), "capability {capability}");
        }
        assert_eq!(code_for(120, None), GpuCode::Ptx(75));
    }

    #[test]
    fn older_code_can_be_forced_and_newer_cannot() {
        assert_eq!(code_for(90, Some(75)), GpuCode::Ptx(75));
        assert_eq!(code_for(75, Some(90)), GpuCode::Machine(75));
        assert_eq!(code_for(86, Some(80)), GpuCode::Machine(80));
    }
}
