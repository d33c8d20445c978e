//! Queries of the driver: its version, and the GPUs and their properties.

use std::sync::OnceLock;

use cudarc::driver::{
    CudaContext, DriverError, result,
    sys::{self, CUdevice_attribute as Attribute},
};
use moss_weights::{DriverCall, KernelError};

use crate::{
    contract::During,
    fatbin,
    gpu_info::{GpuCode, GpuInfo},
};

/// Returns whether this machine has an NVIDIA driver. Without one, every other function of this
/// module returns [`KernelError::NoDriver`].
fn has_driver() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // Not `sys::is_culib_present`: cudarc lacks it where candle has it link libcuda.
    let is_present = |name| {
        // SAFETY: the call loads the library and unloads it. NVIDIA's driver supports that its
        // initializers run on any thread at any time.
        unsafe { libloading::Library::new(name) }.is_ok()
    };
    *PRESENT.get_or_init(|| ["libcuda.so.1", "libcuda.so"].into_iter().any(is_present))
}

/// See [`crate::gpu_count`].
pub(crate) fn gpu_count() -> Result<usize, KernelError> {
    // Before any other call, because cudarc panics if the driver lacks a function.
    let (found, needed) = (driver_cuda()?, fatbin::oldest_driver(GpuCode::Machine(75)));
    if found < needed {
        return Err(KernelError::DriverTooOld { found, needed });
    }
    match CudaContext::device_count() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        count => Ok(usize::try_from(count.during(DriverCall::ListGpus)?).unwrap_or(0)),
    }
}

/// Returns the version of CUDA that the driver supports: 1000 x major + 10 x minor. A driver that
/// cannot be initialized reports it too.
pub(crate) fn driver_cuda() -> Result<u32, KernelError> {
    if !has_driver() {
        return Err(KernelError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the library was found above, and the pointer is to a local that outlives the call.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .during(DriverCall::DriverVersion)?;
    Ok(version.unsigned_abs())
}

/// Adds the number of the GPU to an error of opening it.
pub(crate) fn opened<T>(gpu: usize, result: impl During<T>) -> Result<T, KernelError> {
    result
        .during(DriverCall::OpenGpu)
        .map_err(|error| match error {
            KernelError::Driver { code, message, .. } => {
                KernelError::NotOpened { gpu, code, message }
            }
            error => error,
        })
}

/// See [`crate::list_gpus`].
pub(crate) fn list_gpus(forced: Option<u32>) -> Result<Vec<(GpuInfo, u64)>, KernelError> {
    by_pci_address()?
        .into_iter()
        .enumerate()
        .map(|(ordinal, driver_ordinal)| {
            let context = opened(ordinal, CudaContext::new(driver_ordinal))?;
            let free = context.mem_get_info().during(DriverCall::FreeMemory)?.0;
            Ok((describe(&context, ordinal, forced)?, free as u64))
        })
        .collect()
}

/// Returns the driver's number of each GPU, in the order of their PCI addresses, as nvidia-smi
/// numbers them. The driver numbers the fastest GPU first.
pub(crate) fn by_pci_address() -> Result<Vec<usize>, KernelError> {
    const CALL: DriverCall = DriverCall::ListGpus;
    let numbered = |ordinal: usize| {
        let device = result::device::get(ordinal as i32).during(CALL)?;
        let attribute = |attribute| {
            // SAFETY: the driver returned `device` in the line above.
            unsafe { result::device::get_attribute(device, attribute) }.during(CALL)
        };
        let address = [
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        ];
        Ok::<_, KernelError>((address, ordinal))
    };
    let mut gpus = (0..gpu_count()?)
        .map(numbered)
        .collect::<Result<Vec<_>, _>>()?;
    gpus.sort_unstable();
    Ok(gpus.into_iter().map(|(_, ordinal)| ordinal).collect())
}

/// Returns the properties of a GPU. `forced` is the newest architecture whose code may run.
pub(crate) fn describe(
    context: &CudaContext,
    ordinal: usize,
    forced: Option<u32>,
) -> Result<GpuInfo, KernelError> {
    const CALL: DriverCall = DriverCall::Describe;
    let attribute =
        |attribute| Ok::<_, KernelError>(context.attribute(attribute).during(CALL)?.unsigned_abs());
    let (major, minor) = context.compute_capability().during(CALL)?;
    let capability = 10 * major.unsigned_abs() + minor.unsigned_abs();
    Ok(GpuInfo {
        ordinal,
        name: context.name().during(CALL)?,
        capability,
        code: fatbin::code_for(capability, forced),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        total_memory: context.total_mem().during(CALL)? as u64,
        l2_bytes: u64::from(attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        clock_khz: attribute(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
        memory_clock_khz: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
        memory_bus_bits: attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
        ecc: attribute(Attribute::CU_DEVICE_ATTRIBUTE_ECC_ENABLED)? != 0,
        pci: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        ),
        driver_cuda: driver_cuda()?,
    })
}
