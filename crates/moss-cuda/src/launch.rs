//! The one way to launch a kernel.

use std::marker::PhantomData;

use cudarc::driver::sys::{self, CUlaunchAttributeID};
use moss_weights::{DriverCall, KernelError, Rule};

use crate::{
    address::{In, Out},
    args::Arguments,
    buffer::View,
    contract::{During, rule},
    device::Gpu,
    kernels::Kernel,
};

/// The launch geometry of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Thread blocks.
    pub(crate) grid: (u32, u32, u32),
    /// Threads of a block.
    pub(crate) block: u32,
}

/// The launches of an op. Every address that a kernel gets is made here, which checks that the
/// buffer belongs to the GPU and has the values that the kernel accesses.
pub(crate) struct Call<'a> {
    gpu: &'a Gpu,
    op: &'static str,
    /// Makes `'a` invariant: it cannot be shortened between an argument and the launch.
    borrowed: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(gpu: &'a Gpu, op: &'static str) -> Self {
        Self {
            gpu,
            op,
            borrowed: PhantomData,
        }
    }

    /// Returns the address of argument `arg`, of which the kernel reads up to `needed` values.
    ///
    /// # Errors
    /// [`KernelError::WrongDevice`]; [`KernelError::WrongStream`]; [`KernelError::Argument`] for
    /// fewer values.
    pub(crate) fn input<T: 'a>(
        &self,
        arg: &'static str,
        values: impl Into<View<'a, T>>,
        needed: usize,
    ) -> Result<In<T>, KernelError> {
        self.address(arg, values.into(), needed).map(In::checked)
    }

    /// Returns the address of argument `arg`, of which the kernel writes up to `needed` values.
    ///
    /// # Errors
    /// As for [`Call::input`].
    pub(crate) fn output<T: 'a>(
        &self,
        arg: &'static str,
        values: impl Into<View<'a, T>>,
        needed: usize,
    ) -> Result<Out<T>, KernelError> {
        self.address(arg, values.into(), needed).map(Out::checked)
    }

    /// As [`Call::input`], for an argument that may be null.
    pub(crate) fn optional_input<T: 'a, V: Into<View<'a, T>>>(
        &self,
        arg: &'static str,
        values: Option<V>,
        needed: usize,
    ) -> Result<In<T>, KernelError> {
        values.map_or(Ok(In::NULL), |values| self.input(arg, values, needed))
    }

    fn address<T>(
        &self,
        arg: &'static str,
        values: View<'a, T>,
        needed: usize,
    ) -> Result<u64, KernelError> {
        self.gpu.id.check(self.op, arg, values.device())?;
        let found = values.len();
        rule(self.op, arg, found, found >= needed, Rule::AtLeast(needed))?;
        Ok(values.address())
    }

    /// Enqueues `kernel` on the stream. Launches nothing if the grid is empty.
    ///
    /// # Errors
    /// [`KernelError::Driver`].
    pub(crate) fn launch<A: Arguments>(
        &self,
        kernel: Kernel<A>,
        geometry: Geometry,
        args: &A,
    ) -> Result<(), KernelError> {
        let Geometry { grid, block } = geometry;
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 {
            return Ok(());
        }
        let (stream, call) = (&self.gpu.stream, DriverCall::Kernel(kernel.name()));
        let loaded = self.gpu.kernels.get(kernel.name())?;
        let is_dependent = self.gpu.kernels.next_is_dependent();
        let mut attribute = sys::CUlaunchAttribute {
            id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: grid.0,
            gridDimY: grid.1,
            gridDimZ: grid.2,
            blockDimX: block,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: loaded.shared_memory,
            hStream: stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(is_dependent),
        };
        stream.context().bind_to_thread().during(call)?;
        let function = loaded.function.cu_function();
        args.with_addresses(|parameters| {
            debug_assert_eq!(parameters.len(), A::PARAMETERS.len());
            // SAFETY:
            // - `parameters` are as many and as large as the kernel's: `Kernel<A>` is only made by
            //   the registry, whose tests compare `A::PARAMETERS` with the PTX, and
            //   `static_assert`s in the kernels compare the fields of structs. The driver copies
            //   them before it returns, and `with_addresses` keeps them valid until then; so are
            //   `config` and `attribute`, which are locals.
            // - Every address is null or an `In` or `Out`, which `address` and `CopyRun` make. They
            //   check that the memory belongs to this stream and holds what the op says that the
            //   kernel accesses, after the contract at the head of its file. `'a` keeps the buffers
            //   borrowed until here. Later they are freed in stream order, after the kernel.
            // - Accesses of several launches are in stream order: each kernel waits for the
            //   preceding one (`griddepcontrol.wait`) before it touches memory that is in use.
            //   There are two exceptions: the input of fc_out, which the type `CompleteInput`
            //   covers, and positions and block tables, after whose copy `batched_memcpy`
            //   serializes the next launch.
            unsafe {
                sys::cuLaunchKernelEx(
                    &config,
                    function,
                    parameters.as_mut_ptr(),
                    std::ptr::null_mut(),
                )
            }
        })
        .result()
        .during(call)
    }
}
