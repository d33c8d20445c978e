//! The compiled kernels in this binary, and the choice among them for a GPU.

mod parse;

use moss_weights::{DriverCall, KernelError};

use self::parse::FatbinImage;
use crate::gpu_info::GpuCode;

/// The fat binary of one source file.
pub(crate) struct Image {
    pub(crate) stem: &'static str,
    /// The build script has checked that it has an image for every target.
    fatbin: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/fatbins.rs"));

/// Returns the CUDA version of the compiler, as drivers count: 1000 x major + 10 x minor.
pub(crate) fn compiler_version() -> u32 {
    COMPILER_VERSION
}

/// Returns a digest of all kernels.
pub(crate) fn digest() -> u64 {
    DIGEST
}

/// Returns the CUDA version of the oldest driver that runs `code`. Machine code runs on every
/// driver of the compiler's major version, if it has the functions that this crate calls; PTX needs
/// a driver as new as the compiler.
pub(crate) fn oldest_driver(code: GpuCode) -> u32 {
    match code {
        GpuCode::Machine(_) => (compiler_version() / 1000 * 1000).max(OLDEST_BINDINGS),
        GpuCode::Ptx(_) => compiler_version().max(OLDEST_BINDINGS),
    }
}

/// The first driver version with all functions that this crate calls. `scripts/check-driver` runs
/// the binary with a stand-in that has no others.
pub(crate) const OLDEST_BINDINGS: u32 = 12_000;

/// Returns the code that a GPU of compute capability `capability` (75, 80, 86, …) runs: the newest
/// machine code of its major version, or else PTX, which its driver translates.
pub(crate) fn code_for(capability: u32, forced: Option<u32>) -> GpuCode {
    let newest = forced.map_or(capability, |forced| forced.min(capability));
    let fits = |architecture: &u32| *architecture <= newest && architecture / 10 == capability / 10;
    match [90, 80, 75].into_iter().find(fits) {
        Some(architecture) => GpuCode::Machine(architecture),
        None => GpuCode::Ptx(75),
    }
}

impl Image {
    /// Returns the bytes of `code`, as the driver takes them: PTX ends with a zero.
    pub(crate) fn bytes(&self, code: GpuCode) -> Result<Vec<u8>, KernelError> {
        let incomplete = |message| KernelError::Driver {
            what: DriverCall::LoadKernels,
            code: 0,
            message,
        };
        let images = parse::read(self.fatbin).map_err(incomplete)?;
        let found = images.into_iter().find_map(|image| match (image, code) {
            (FatbinImage::Machine { architecture, code }, GpuCode::Machine(wanted))
                if architecture == wanted =>
            {
                Some(code.to_vec())
            }
            (
                FatbinImage::Ptx {
                    architecture, text, ..
                },
                GpuCode::Ptx(wanted),
            ) if architecture == wanted => Some([text, &[0]].concat()),
            _ => None,
        });
        found.ok_or_else(|| incomplete(format!("this binary has no {code} for `{}`", self.stem)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_gpu_gets_the_newest_code_that_it_runs() {
        for (capability, code) in [(75, 75), (80, 80), (86, 80), (89, 80), (90, 90)] {
            assert_eq!(
                code_for(capability, None),
                GpuCode::Machine(code),
                "capability {capability}"
            );
        }
        assert_eq!(code_for(120, None), GpuCode::Ptx(75));
    }

    #[test]
    fn older_code_can_be_forced_and_newer_cannot() {
        assert_eq!(code_for(90, Some(75)), GpuCode::Ptx(75));
        assert_eq!(code_for(75, Some(90)), GpuCode::Machine(75));
        assert_eq!(code_for(86, Some(80)), GpuCode::Machine(80));
    }

    #[test]
    fn every_kernel_has_code_for_every_target() {
        for image in IMAGES {
            for code in [
                GpuCode::Machine(75),
                GpuCode::Machine(80),
                GpuCode::Machine(90),
            ] {
                assert!(
                    image.bytes(code).unwrap().starts_with(b"\x7fELF"),
                    "{}, {code}",
                    image.stem
                );
            }
            let ptx = image.bytes(GpuCode::Ptx(75)).unwrap();
            assert!(
                ptx.windows(9).any(|text| text == b".version ") && ptx.ends_with(&[0]),
                "{}",
                image.stem
            );
        }
        assert!(compiler_version() >= 12_020, "{}", compiler_version());
    }
}
