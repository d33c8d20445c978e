//! Choice of the instruction set.

#[cfg(target_arch = "x86_64")]
use super::{
    avx2::{self, Avx2},
    avx512::{self, Avx512},
};
use super::{dot::DotKernel, portable::Portable, simd::Kernel};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(avx512::Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx2::Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable(Portable),
}

/// An instruction set that the processor has: a value of this type is the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

/// Returns the fastest instruction set of the processor.
pub fn cpu_features() -> Isa {
    Isa::available()
        .into_iter()
        .next()
        .unwrap_or(Isa(Kind::Portable(Portable)))
}

impl Isa {
    /// Returns every instruction set that the processor has and this crate has kernels for, the
    /// fastest first. The portable one is always available.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx512::Vnni::detect().map(Kind::Avx512Vnni));
            found.extend(Avx512::detect().map(Kind::Avx512));
            found.extend(avx2::Vnni::detect().map(Kind::AvxVnni));
            found.extend(Avx2::detect().map(Kind::Avx2));
        }
        found.push(Kind::Portable(Portable));
        found.into_iter().map(Self).collect()
    }

    /// Runs a kernel compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(vnni) => vnni.simd().run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(vnni) => vnni.simd().run(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => simd.run(kernel),
            Kind::Portable(simd) => kernel.run(simd),
        }
    }

    /// Runs a kernel that multiplies bytes, compiled for this instruction set.
    pub(crate) fn run_dots<K: DotKernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(vnni) => vnni.run_dots(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(simd) => simd.run_dots(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(vnni) => vnni.run_dots(kernel),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(simd) => simd.run_dots(kernel),
            Kind::Portable(simd) => kernel.run(simd, simd),
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni(_) => "AVX-512-VNNI",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Kind::AvxVnni(_) => "AVX-VNNI + FMA + F16C",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "AVX2 + FMA + F16C",
            Kind::Portable(_) => "portable",
        })
    }
}
