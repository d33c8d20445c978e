//! A GPU with its stream, its kernels, and its memory.

use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaEvent, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits, sys,
};
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    buffer::{Buffer, Memory},
    contract::{During, bytes_of, rule},
    copy,
    cublas::Cublas,
    device_id::DeviceId,
    driver::{by_pci_address, describe, opened},
    fatbin,
    gpu_info::{GpuCode, GpuInfo},
    graph::GraphCapture,
    kernels::Kernels,
    pinned::Pinned,
    virtual_memory::Reservation,
};

/// A GPU with one stream. If the same GPU is opened twice, each `Gpu` has a separate stream.
pub struct Gpu {
    pub(crate) cublas: Cublas,
    pub(crate) stream: Arc<CudaStream>,
    /// Recorded after each CUDA graph, and after each copy of the host memory for graphs.
    last_graph: Arc<CudaEvent>,
    pub(crate) kernels: Kernels,
    pub(crate) id: DeviceId,
    info: GpuInfo,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Gpu {
    /// Opens GPU `ordinal` and loads the kernels. `forced` is the newest architecture whose code
    /// may run: 75 runs the code of a T4 on a newer GPU.
    ///
    /// # Errors
    /// [`KernelError::NoDriver`], [`KernelError::DriverTooOld`], [`KernelError::NoSuchGpu`],
    /// [`KernelError::NotOpened`], [`KernelError::Driver`].
    pub fn open(ordinal: usize, forced: Option<u32>) -> Result<Self, KernelError> {
        let gpus = by_pci_address()?;
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
        // SAFETY: cudarc's events order the uses of a buffer on several streams. Here a buffer is
        // used on one stream only, which `DeviceId::check` enforces for launches, copies and
        // cuBLAS; a `StageTransfer` between two streams orders its copies by its events. The events
        // of cudarc would break a capture, because they were recorded before it.
        unsafe { context.disable_event_tracking() };
        let stream = opened(ordinal, context.new_stream())?;
        let kernels = Kernels::load(stream.context(), &info)?;
        let last_graph = stream.context().new_event(None);
        let last_graph = Arc::new(last_graph.during(DriverCall::OpenGpu)?);
        let id = DeviceId::new_stream(ordinal);
        let cublas = Cublas::new(stream.clone(), id, info.driver_cuda);
        Ok(Self {
            cublas,
            stream,
            last_graph,
            kernels,
            id,
            info,
        })
    }

    /// Returns whether the GPU runs sm_90a code, which has kernels for `wgmma` and bulk tensor
    /// copies.
    pub(crate) fn has_wgmma(&self) -> bool {
        self.info.code == GpuCode::Machine(90)
    }

    /// Checks that so many clusters of each kernel of `kernels/STEM.cu` run at the same time. Only
    /// sm_90 has kernels with clusters.
    ///
    /// # Errors
    /// [`KernelError::FewClusters`]; [`KernelError::Driver`].
    pub(crate) fn check_clusters(&self, stem: &str, expected: usize) -> Result<(), KernelError> {
        if !self.has_wgmma() {
            return Ok(());
        }
        for (kernel, found) in self.kernels.active_clusters(stem, &self.stream)? {
            if found < expected {
                return Err(KernelError::FewClusters {
                    gpu: self.info.ordinal,
                    kernel,
                    found,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Loads cuBLAS, which the products of [`crate::F32Matrix`] need.
    ///
    /// # Errors
    /// [`KernelError::LibraryMissing`]; [`KernelError::Driver`].
    pub fn prepare_cublas(&self) -> Result<(), KernelError> {
        self.cublas.prepare()
    }

    /// Returns the properties of the GPU.
    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    /// Describes the code that computes on this GPU: two GPUs with equal descriptions compute equal
    /// bits. It is that of the kernels in this binary and, for PTX, of the driver that compiled it.
    pub fn code_description(&self) -> String {
        let (code, kernels) = (self.info.code, fatbin::digest());
        let compiled = match code {
            GpuCode::Machine(_) => String::new(),
            GpuCode::Ptx(_) => {
                let GpuInfo {
                    capability,
                    driver_cuda,
                    ..
                } = self.info;
                format!(" for {capability} by driver {driver_cuda}")
            }
        };
        format!("{code}{compiled}, kernels {kernels:016x}")
    }

    /// Returns the bytes of free memory.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn free_memory(&self) -> Result<u64, KernelError> {
        let memory = self.stream.context().mem_get_info();
        Ok(memory.during(DriverCall::FreeMemory)?.0 as u64)
    }

    /// Waits until the stream is idle.
    ///
    /// # Errors
    /// [`KernelError::Driver`], also for an error of an earlier launch.
    pub fn synchronize(&self) -> Result<(), KernelError> {
        self.stream.synchronize().during(DriverCall::Synchronize)
    }

    /// Allocates `len` zeros.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Buffer<T>, KernelError> {
        let bytes = bytes_of::<T>("allocation", len)?;
        let slice = self
            .stream
            .alloc_zeros(len.max(1))
            .map_err(|error| self.allocation_error(error, bytes))?;
        Ok(Buffer {
            memory: Memory::Allocated(slice),
            len,
            device: self.id,
        })
    }

    /// Reserves addresses for `len` values, which [`Gpu::ensure_mapped`] maps to memory. GPUs
    /// without virtual memory management allocate all of it.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn reserve<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Buffer<T>, KernelError> {
        let bytes = bytes_of::<T>("allocation", len)?;
        let reservation = Reservation::new(&self.stream, bytes);
        match reservation.map_err(|error| self.allocation_error(error, bytes))? {
            Some(reservation) => Ok(Buffer {
                memory: Memory::Reserved(reservation),
                len,
                device: self.id,
            }),
            None => self.zeros(len),
        }
    }

    /// Maps the first `len` values of a buffer to memory. New values are zero; others keep their
    /// addresses and values.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`], which changes nothing; [`KernelError::Argument`] if the buffer
    /// has fewer values.
    pub fn ensure_mapped<T>(&self, buffer: &mut Buffer<T>, len: usize) -> Result<(), KernelError> {
        rule(
            "map memory",
            "length",
            len,
            len <= buffer.len,
            Rule::AtMost(buffer.len),
        )?;
        let bytes = len * size_of::<T>();
        match &mut buffer.memory {
            Memory::Allocated(_) => Ok(()),
            Memory::Reserved(reservation) => reservation
                .ensure_mapped(bytes)
                .map_err(|error| self.allocation_error(error, bytes)),
        }
    }

    /// Copies `values` to a new buffer and waits for the copy.
    ///
    /// # Errors
    /// [`KernelError::OutOfMemory`].
    pub fn upload<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        values: &[T],
    ) -> Result<Buffer<T>, KernelError> {
        let buffer = self.zeros(values.len())?;
        copy::to_device(&self.stream, values, buffer.all())?;
        Ok(buffer)
    }

    /// Copies the first `len` values to the host and waits for the copy.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn download<T: DeviceRepr + ValidAsZeroBits + Default + Clone>(
        &self,
        buffer: &Buffer<T>,
        len: usize,
    ) -> Result<Vec<T>, KernelError> {
        self.id
            .check("copy from the GPU", "buffer", buffer.device)?;
        let mut values = vec![T::default(); len.min(buffer.len)];
        copy::from_device(&self.stream, buffer.all(), &mut values)?;
        Ok(values)
    }

    /// Copies the values of `buffer` from `start` on over `values` and waits for the copy.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if the buffer ends before them; as for [`Gpu::download`].
    pub(crate) fn download_part<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        buffer: &Buffer<T>,
        start: usize,
        values: &mut [T],
    ) -> Result<(), KernelError> {
        self.id
            .check("copy from the GPU", "buffer", buffer.device)?;
        let from = buffer.view(start, values.len())?;
        copy::from_device(&self.stream, from, values)
    }

    /// Copies `values` over those of `buffer` from `start` on and waits for the copy.
    ///
    /// # Errors
    /// As for [`Gpu::download_part`].
    pub(crate) fn upload_part<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        values: &[T],
        buffer: &Buffer<T>,
        start: usize,
    ) -> Result<(), KernelError> {
        self.id.check("copy to the GPU", "buffer", buffer.device)?;
        let to = buffer.view(start, values.len())?;
        copy::to_device(&self.stream, values, to)
    }

    /// Allocates page-locked host memory.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn pinned<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Pinned<T>, KernelError> {
        Pinned::new(&self.stream, self.id, len, None)
    }

    /// As [`Gpu::pinned`], for copies that may be captured in a [`crate::Graph`]. A wait for this
    /// memory waits for every copy of such memory of this GPU.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub fn pinned_for_graphs<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        len: usize,
    ) -> Result<Pinned<T>, KernelError> {
        Pinned::new(&self.stream, self.id, len, Some(&self.last_graph))
    }

    /// Returns the stream for [`crate::Graph::capture`].
    pub fn graph_capture(&self) -> GraphCapture {
        GraphCapture {
            stream: self.stream.clone(),
            last_graph: self.last_graph.clone(),
        }
    }

    /// Sets every byte to zero.
    ///
    /// # Errors
    /// As for [`Gpu::set_bytes`].
    pub fn clear<T>(&self, buffer: &Buffer<T>) -> Result<(), KernelError> {
        self.set_bytes(buffer, 0)
    }

    /// Sets every byte to `byte`.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Driver`].
    pub fn set_bytes<T>(&self, buffer: &Buffer<T>, byte: u8) -> Result<(), KernelError> {
        self.id.check("set memory", "buffer", buffer.device)?;
        copy::set_bytes(&self.stream, buffer.all(), byte)
    }

    /// Converts an error of an allocation of `needed` bytes.
    fn allocation_error(&self, error: DriverError, needed: usize) -> KernelError {
        let free = self.free_memory().unwrap_or(0);
        let out_of_memory = KernelError::OutOfMemory {
            gpu: self.info.ordinal,
            needed: needed as u64,
            free,
        };
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return out_of_memory;
        }
        let error = Err::<(), _>(error).during(DriverCall::Allocate);
        error.err().unwrap_or(out_of_memory)
    }
}
