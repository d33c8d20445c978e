//! A GPU: its stream, its kernels, what it is.

use std::sync::{Arc, OnceLock};

use cudarc::driver::{
    CudaContext, CudaEvent, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits, result,
    sys::{self, CUdevice_attribute as Attribute},
};

#[cfg(doc)]
use super::Graph;
use super::{
    Buffer, During, GpuCode, GpuInfo, Pinned, Recorder, buffer::Memory, cublas::Cublas, fatbin,
    launch::Kernels, virtual_memory::Reserved,
};
use crate::KernelError;

/// One GPU with a stream of its own. Opening the same card twice gives two, each with its own
/// stream.
pub struct Gpu {
    pub(super) cublas: Cublas,
    pub(super) stream: Arc<CudaStream>,
    /// When the last recorded step, or the last copy of its kind of host memory, is over.
    steps: Arc<CudaEvent>,
    pub(super) kernels: Kernels,
    info: GpuInfo,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Returns whether this machine has an NVIDIA driver. Without one every other call of this module
/// returns [`KernelError::NoDriver`].
fn has_driver() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: loads libcuda.so.1, whose initialisers may run on any thread at any time, and lets it
    // go again.
    *PRESENT.get_or_init(|| unsafe { sys::is_culib_present() })
}

/// See [`crate::gpu_count`].
pub(crate) fn gpu_count() -> Result<usize, KernelError> {
    // Before any other call: cudarc panics for a function that the driver lacks.
    let (found, needed) = (driver_cuda()?, fatbin::oldest_driver(GpuCode::Machine(75)));
    if found < needed {
        return Err(KernelError::DriverTooOld { found, needed });
    }
    match CudaContext::device_count() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        count => Ok(usize::try_from(count.during("look for GPUs")?).unwrap_or(0)),
    }
}

/// Version of CUDA that the driver offers: 1000 x major + 10 x minor. The one question that even a
/// driver that does not start answers.
pub(super) fn driver_cuda() -> Result<u32, KernelError> {
    if !has_driver() {
        return Err(KernelError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: the pointer is to a local that outlives the call.
    unsafe { sys::cuDriverGetVersion(&mut version) }
        .result()
        .during("ask for the driver's version")?;
    Ok(version.unsigned_abs())
}

/// Says which card it is that does not open.
fn opened<T>(gpu: usize, result: impl During<T>) -> Result<T, KernelError> {
    result.during("open the GPU").map_err(|error| match error {
        KernelError::Driver { code, message, .. } => KernelError::NotOpened { gpu, code, message },
        error => error,
    })
}

/// See [`crate::list_gpus`].
pub(crate) fn list_gpus(forced: Option<u32>) -> Result<Vec<(GpuInfo, u64)>, KernelError> {
    by_bus()?
        .into_iter()
        .enumerate()
        .map(|(ordinal, driver_ordinal)| {
            let context = opened(ordinal, CudaContext::new(driver_ordinal))?;
            let free = context.mem_get_info().during("ask for free memory")?.0;
            Ok((describe(&context, ordinal, forced)?, free as u64))
        })
        .collect()
}

/// The driver's number of each GPU, in the order of their places on the bus: that of nvidia-smi,
/// while the driver's own begins with the fastest.
fn by_bus() -> Result<Vec<usize>, KernelError> {
    const WHAT: &str = "look for GPUs";
    let place = |ordinal: usize| {
        let device = result::device::get(ordinal as i32).during(WHAT)?;
        let ask = |attribute| {
            // SAFETY: `device` is one of the driver's.
            unsafe { result::device::get_attribute(device, attribute) }.during(WHAT)
        };
        Ok::<_, KernelError>((
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
            ordinal,
        ))
    };
    let mut places = (0..gpu_count()?)
        .map(place)
        .collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    Ok(places.into_iter().map(|(.., ordinal)| ordinal).collect())
}

fn describe(
    context: &CudaContext,
    ordinal: usize,
    forced: Option<u32>,
) -> Result<GpuInfo, KernelError> {
    const WHAT: &str = "ask what the GPU is";
    let ask =
        |attribute| Ok::<_, KernelError>(context.attribute(attribute).during(WHAT)?.unsigned_abs());
    let (major, minor) = context.compute_capability().during(WHAT)?;
    let capability = 10 * major.unsigned_abs() + minor.unsigned_abs();
    Ok(GpuInfo {
        ordinal,
        name: context.name().during(WHAT)?,
        capability,
        code: fatbin::code_for(capability, forced),
        multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        total_memory: context.total_mem().during(WHAT)? as u64,
        l2_bytes: u64::from(ask(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?),
        clock_khz: ask(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
        memory_clock_khz: ask(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
        memory_bus_bits: ask(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
        ecc: ask(Attribute::CU_DEVICE_ATTRIBUTE_ECC_ENABLED)? != 0,
        pci: (
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            ask(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        ),
        driver_cuda: driver_cuda()?,
    })
}

impl Gpu {
    /// Opens GPU `ordinal` and loads the kernels. `forced` is the newest architecture whose code
    /// may run (75 checks a T4's code on a newer card).
    ///
    /// # Errors
    /// [`KernelError::NoDriver`], [`KernelError::DriverTooOld`], [`KernelError::NoSuchGpu`],
    /// [`KernelError::NotOpened`], [`KernelError::Driver`].
    pub fn open(ordinal: usize, forced: Option<u32>) -> Result<Self, KernelError> {
        let gpus = by_bus()?;
        let missing = KernelError::NoSuchGpu {
            ordinal,
            found: gpus.len(),
        };
        let driver_ordinal = gpus.get(ordinal).copied().ok_or(missing)?;
        let context = opened(ordinal, CudaContext::new(driver_ordinal))?;
        let info = describe(&context, ordinal, forced)?;
        let needed = fatbin::oldest_driver(info.code);
        if info.driver_cuda < needed {
            return Err(KernelError::DriverTooOld {
                found: info.driver_cuda,
                needed,
            });
        }
        // SAFETY: every buffer of this module is used on this one stream alone, or synchronised by
        // events of our own; the tracking that is switched off would wait on events from before a
        // capture, which breaks the capture.
        unsafe { context.disable_event_tracking() };
        let stream = opened(ordinal, context.new_stream())?;
        let kernels = Kernels::load(stream.context(), &info)?;
        let steps = Arc::new(stream.context().new_event(None).during("open the GPU")?);
        let cublas = Cublas::new(stream.clone(), info.driver_cuda);
        Ok(Self {
            cublas,
            stream,
            steps,
            kernels,
            info,
        })
    }

    /// Loads the library that products of many rows need, unless the kernels of this binary do
    /// without it: `dense` says whether any weight is not packed.
    ///
    /// # Errors
    /// [`KernelError::LibraryMissing`]; [`KernelError::Driver`].
    pub fn prepare_matmul(&self, dense: bool) -> Result<(), KernelError> {
        if dense || !self.multiplies_packed() {
            self.cublas.prepare()
        } else {
            Ok(())
        }
    }

    /// What the card is.
    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// Bytes of memory that are free now.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn free_memory(&self) -> Result<u64, KernelError> {
        Ok(self
            .stream
            .context()
            .mem_get_info()
            .during("ask for free memory")?
            .0 as u64)
    }

    /// Waits for everything that was started.
    ///
    /// # Errors
    /// [`KernelError::Driver`] when something that was started failed.
    pub fn synchronize(&self) -> Result<(), KernelError> {
        self.stream.synchronize().during("wait for the GPU")
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Buffer<T>, KernelError> {
        let slice = self
            .stream
            .alloc_zeros(len.max(1))
            .map_err(|error| self.out_of_memory(error, len * size_of::<T>()))?;
        Ok(Buffer {
            memory: Memory::Taken(slice),
            len,
        })
    }

    /// Room for `len` zeros, for which [`Gpu::hold`] takes memory; all of it at once where the card
    /// cannot do that by and by.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn reserve<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Buffer<T>, KernelError> {
        let bytes = len * size_of::<T>();
        match Reserved::new(&self.stream, bytes)
            .map_err(|error| self.out_of_memory(error, bytes))?
        {
            Some(reserved) => Ok(Buffer {
                memory: Memory::Reserved(reserved),
                len,
            }),
            None => self.zeros(len),
        }
    }

    /// Takes memory for the first `len` values of a buffer; those that were there stay, at their
    /// addresses.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`], which takes nothing; [`KernelError::Argument`] for more than
    /// the buffer's values.
    pub fn hold<T>(&self, buffer: &mut Buffer<T>, len: usize) -> Result<(), KernelError> {
        super::rule(
            "hold memory",
            "length",
            len,
            len <= buffer.len,
            format!("at most {}", buffer.len),
        )?;
        let bytes = len * size_of::<T>();
        match &mut buffer.memory {
            Memory::Taken(_) => Ok(()),
            Memory::Reserved(reserved) => reserved
                .hold(bytes)
                .map_err(|error| self.out_of_memory(error, bytes)),
        }
    }

    /// A copy of `values`, which the host waits for.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn upload<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        values: &[T],
    ) -> Result<Buffer<T>, KernelError> {
        const WHAT: &str = "copy to the GPU";
        let buffer = self.zeros(values.len())?;
        if !values.is_empty() {
            self.stream.context().bind_to_thread().during(WHAT)?;
            // SAFETY: the buffer holds as many values.
            unsafe { result::memcpy_htod_async(buffer.address(), values, self.stream.cu_stream()) }
                .during(WHAT)?;
            self.synchronize()?; // `values` may go now
        }
        Ok(buffer)
    }

    /// A copy of the first `len` values, which the host waits for.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn download<T: DeviceRepr + ValidAsZeroBits + Default + Clone>(
        &self,
        buffer: &Buffer<T>,
        len: usize,
    ) -> Result<Vec<T>, KernelError> {
        const WHAT: &str = "copy from the GPU";
        let mut values = vec![T::default(); len.min(buffer.len)];
        if !values.is_empty() {
            self.stream.context().bind_to_thread().during(WHAT)?;
            // SAFETY: the buffer holds as many values; the host waits before it looks at them.
            unsafe {
                result::memcpy_dtoh_async(&mut values, buffer.address(), self.stream.cu_stream())
            }
            .during(WHAT)?;
            self.synchronize()?;
        }
        Ok(values)
    }

    /// Host memory that the card copies from and to by itself.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn pinned<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Pinned<T>, KernelError> {
        Pinned::new(&self.stream, len, None)
    }

    /// As [`Gpu::pinned`]; copies from and to it can be part of a [`Graph`]. All such memory of a
    /// card is waited for together.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn pinned_for_steps<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Pinned<T>, KernelError> {
        Pinned::new(&self.stream, len, Some(&self.steps))
    }

    /// For [`Graph::record`].
    pub fn recorder(&self) -> Recorder {
        Recorder {
            stream: self.stream.clone(),
            steps: self.steps.clone(),
        }
    }

    /// Sets every byte to zero.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn clear<T>(&self, buffer: &Buffer<T>) -> Result<(), KernelError> {
        self.set_bytes(buffer, 0)
    }

    /// Sets every byte to `byte`.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn set_bytes<T>(&self, buffer: &Buffer<T>, byte: u8) -> Result<(), KernelError> {
        const WHAT: &str = "set memory";
        self.stream.context().bind_to_thread().during(WHAT)?;
        let bytes = buffer.len * size_of::<T>();
        // SAFETY: the extent is that of the allocation.
        unsafe { result::memset_d8_async(buffer.address(), byte, bytes, self.stream.cu_stream()) }
            .during(WHAT)
    }

    pub(super) fn out_of_memory(&self, error: DriverError, needed: usize) -> KernelError {
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let free = self.free_memory().unwrap_or(0);
            return KernelError::OutOfMemory {
                gpu: self.info.ordinal,
                needed: needed as u64,
                free,
            };
        }
        match Err::<(), _>(error).during("take memory") {
            Err(error) => error,
            Ok(()) => KernelError::OutOfMemory {
                gpu: self.info.ordinal,
                needed: needed as u64,
                free: 0,
            },
        }
    }
}
