//! Which instruction set the kernels run with.

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

use super::{dot::DotKernel, portable::Portable, simd::Kernel};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// An instruction set that this machine has: a value of this type is the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

/// Whether this processor gives memory fastest when it is asked for as something that is read once.
/// Measured: Zen 5 does; a Xeon gave half the rate that way, and most when asked to fill the
/// second-level cache.
pub(crate) fn reads_past_caches() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // Kept: a virtual machine leaves its processor to answer.
        static IS_AMD: LazyLock<bool> = LazyLock::new(|| {
            // SAFETY: every processor of this architecture has the instruction, and leaf 0.
            #[allow(unused_unsafe, unsafe_code)]
            let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
            [vendor.ebx, vendor.edx, vendor.ecx]
                .map(u32::to_le_bytes)
                .concat()
                == b"AuthenticAMD"
        });
        *IS_AMD
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The best instruction set of this machine.
pub fn cpu_features() -> Isa {
    Isa::available()
        .into_iter()
        .next()
        .unwrap_or(Isa(Kind::Portable))
}

impl Isa {
    /// Every instruction set that this machine has kernels for, the fastest first; the portable one
    /// is always there.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") {
                if has!("avx512vnni") {
                    found.push(Self(Kind::Avx512Vnni));
                }
                found.push(Self(Kind::Avx512));
            }
            if avx2 && has!("avxvnni") {
                found.push(Self(Kind::AvxVnni));
            }
            if avx2 {
                found.push(Self(Kind::Avx2));
            }
        }
        found.push(Self(Kind::Portable));
        found
    }

    /// Runs a kernel compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: `available` made this value after finding every feature that the function is
            // compiled for.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni | Kind::Avx512 => unsafe { super::avx512::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni | Kind::Avx2 => unsafe { super::avx2::run(kernel) },
            // SAFETY: the portable set needs nothing of the machine.
            Kind::Portable => unsafe { kernel.run::<Portable>() },
        }
    }

    /// Runs a kernel that multiplies bytes, compiled for this instruction set.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        // SAFETY (of each arm): as above.
        #[allow(clippy::undocumented_unsafe_blocks)]
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => unsafe { super::avx512::run_vnni(kernel) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { super::avx512::run_dots(kernel) },
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => unsafe { super::avx2::run_vnni(kernel) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { super::avx2::run_dots(kernel) },
            Kind::Portable => unsafe { kernel.run::<Portable, Portable>() },
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "AVX-512-VNNI",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni => "AVX-VNNI + FMA + F16C",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2 + FMA + F16C",
            Kind::Portable => "portable",
        })
    }
}
