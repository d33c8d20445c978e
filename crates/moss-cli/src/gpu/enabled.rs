//! A build with CUDA.

use moss::kernels::cuda::{
    Gpu, list_gpus,
    parity::{Lab, cases},
    timing::{Times, Timing},
};

use super::{Answer, Comparison, KernelCard, KernelTime, Measured, Timed, Whole};

/// The cards that the driver shows, with their bandwidth, measured now.
pub(crate) fn cards(newest_code: Option<u32>) -> Answer<Vec<KernelCard>> {
    let card = |(info, free): (moss::kernels::cuda::GpuInfo, u64)| {
        let bandwidth = Gpu::open(info.ordinal, newest_code).and_then(|gpu| gpu.copy_bandwidth());
        KernelCard {
            ordinal: info.ordinal,
            capability: info.capability,
            code: info.code.to_string(),
            driver_cuda: info.driver_cuda,
            total: info.total_memory,
            free,
            ecc: info.ecc,
            clocks: [info.clock_khz / 1000, info.memory_clock_khz / 1000],
            bandwidth,
            name: info.name,
        }
    };
    Ok(list_gpus(newest_code)?.into_iter().map(card).collect())
}

/// Loads cuBLAS, as the first product that needs it would.
pub(crate) fn load_cublas() -> Answer<()> {
    moss::kernels::cuda::load_cublas()
}

/// Every parity case on one card whose kernel's name contains `only`, told one by one.
pub(crate) fn compare(
    ordinal: usize,
    newest_code: Option<u32>,
    only: &str,
    each: &mut dyn FnMut(Comparison),
) -> Answer<()> {
    let gpu = Gpu::open(ordinal, newest_code)?;
    let lab = Lab::new(&gpu)?;
    for case in cases().iter().filter(|case| case.kernel().contains(only)) {
        let found = lab.check(case)?;
        each(Comparison {
            passed: found.passed(),
            kernel: found.kernel.to_owned(),
            shape: found.shape,
            max_error: found.max_error,
            allowed: found.allowed,
            reason: found.reason.to_owned(),
            repeats: found.repeats,
        });
    }
    Ok(())
}

/// The kernels of a decode step and of a prompt.
pub(crate) fn times(ordinal: usize, newest_code: Option<u32>, timed: Timed) -> Answer<Measured> {
    let gpu = Gpu::open(ordinal, newest_code)?;
    let bandwidth = gpu.copy_bandwidth()?;
    let timing = Timing::new(
        &gpu,
        timed.bits,
        timed.layers,
        timed.context.max(timed.prompt),
    )?;
    Ok(Measured {
        card: format!("{}, {}", gpu.info().name, gpu.info().code),
        bandwidth,
        step: whole(timing.step(timed.context)?),
        prompt: whole(timing.prompt(timed.prompt)?),
    })
}

fn whole(times: Times) -> Whole {
    let kernel = |time: moss::kernels::cuda::timing::KernelTime| KernelTime {
        kernel: time.kernel,
        calls: time.calls,
        bytes: time.bytes,
        operations: time.operations,
        seconds: time.seconds,
    };
    Whole {
        seconds: times.whole,
        kernels: times.kernels.into_iter().map(kernel).collect(),
    }
}
