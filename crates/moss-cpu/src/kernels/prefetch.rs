//! Prefetch of cache lines.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_NTA, _MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// Returns whether weights are prefetched past the caches (non-temporal) on this processor, instead
/// of into the second-level cache. Measured: the non-temporal hint gave the highest read rate on a
/// Zen 5, and half the rate on a Xeon, where prefetches into the second level were the fastest.
pub(crate) fn reads_past_caches() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // Cached, because `cpuid` traps to the hypervisor in a virtual machine.
        static IS_AMD: LazyLock<bool> = LazyLock::new(|| {
            #[allow(unused_unsafe)] // a safe function since Rust 1.94
            // SAFETY: every x86-64 processor has the instruction `cpuid` and its leaf 0.
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

/// Prefetches the cache line of `address`, which may be any address, into all cache levels.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    with_hint::<_MM_HINT_T0, T>(address);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Prefetches a cache line that is read once: past the caches if `PAST`, otherwise into the second
/// level. See [`reads_past_caches`].
#[inline(always)]
pub(crate) fn prefetch_once<const PAST: bool, T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    if PAST {
        with_hint::<_MM_HINT_NTA, T>(address);
    } else {
        with_hint::<_MM_HINT_T1, T>(address);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn with_hint<const HINT: i32, T>(address: *const T) {
    // SAFETY: a prefetch is a hint: it accesses no memory that the program can observe and does not
    // fault at an invalid address. Every x86-64 processor has the instruction.
    unsafe { _mm_prefetch::<HINT>(address.cast()) }
}
