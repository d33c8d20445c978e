//! cuBLAS, loaded at run time when a matrix product first needs it.
//!
//! cudarc can load it too, but it supports version 12 and older only, searches by name only, and
//! panics if it finds no library. Four functions are used; their signatures and enum values are the
//! same in versions 12 and 13 (cublas_api.h).

mod baseline;
mod library;
mod matrix;

use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
    sync::{Arc, Mutex, PoisonError},
};

use cudarc::driver::{CudaStream, sys::CUresult};
use moss_weights::{DriverCall, KernelError, Rule};

use self::library::{Api, Handle, Status};
use crate::{contract::During, device_id::DeviceId};

pub(crate) use self::{
    library::{load_cublas, set_library_folders},
    matrix::{Gemm, Matrix, Operand, Values},
};

/// A handle of one stream, created when it is first needed.
pub(crate) struct Cublas {
    handle: Mutex<Option<Open>>, // dropped before the stream that it uses
    stream: Arc<CudaStream>,
    device: DeviceId,
    driver_cuda: u32,
}

struct Open {
    api: &'static Api,
    handle: Handle,
}

// SAFETY: cuBLAS allows calls with a handle from any thread if they do not overlap. The mutex of
// `Cublas` serializes them, and `drop` has exclusive access.
unsafe impl Send for Open {}

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: `cublasCreate_v2` returned the handle, and this value, which is dropped, is its
        // only owner.
        let _ = unsafe { (self.api.destroy)(self.handle) };
    }
}

impl Drop for Cublas {
    fn drop(&mut self) {
        // The handle, which is dropped next, must be destroyed in its context. After an error the
        // context is lost, and with it the memory of the handle.
        let _ = self.stream.context().bind_to_thread();
    }
}

impl Cublas {
    pub(crate) fn new(stream: Arc<CudaStream>, device: DeviceId, driver_cuda: u32) -> Self {
        Self {
            stream,
            device,
            driver_cuda,
            handle: Mutex::new(None),
        }
    }

    /// Loads the library and creates the handle, unless that was done before.
    pub(crate) fn prepare(&self) -> Result<(), KernelError> {
        self.with_handle(|_| 0, DriverCall::PrepareCublas)
    }

    /// Enqueues a product on the stream.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if a buffer is too short; [`KernelError::WrongDevice`];
    /// [`KernelError::WrongStream`]; [`KernelError::LibraryMissing`]; [`KernelError::Driver`].
    pub(crate) fn gemm(&self, op: &'static str, gemm: &Gemm<'_>) -> Result<(), KernelError> {
        let Gemm { a, b, y, .. } = gemm;
        let stored = |operand: &Operand<'_>, (rows, columns)| {
            if operand.transposed {
                (columns, rows)
            } else {
                (rows, columns)
            }
        };
        let a_extents = stored(a, (gemm.m, gemm.k));
        let b_extents = stored(b, (gemm.k, gemm.n));
        let a_start = a.matrix.address(op, "a", self.device, a_extents)?;
        let b_start = b.matrix.address(op, "b", self.device, b_extents)?;
        let y_start = y.address(op, "y", self.device, (gemm.m, gemm.n))?;
        let int = |arg, n: usize| {
            i32::try_from(n).map_err(|_| KernelError::Argument {
                op,
                arg,
                found: n,
                rule: Rule::Below(1 << 31),
            })
        };
        // cuBLAS is column-major: it computes y^T = op(b)^T op(a)^T, and a row-major matrix is its
        // transpose there.
        let (m, n, k) = (
            int("columns", gemm.n)?,
            int("rows", gemm.m)?,
            int("inner extent", gemm.k)?,
        );
        let [ldb, lda] = [
            int("stride of b", b.matrix.stride)?,
            int("stride of a", a.matrix.stride)?,
        ];
        let ldy = int("output stride", y.stride)?;
        const COMPUTE_32F: c_int = 68;
        const DEFAULT_ALGORITHM: c_int = -1;
        let run = |open: &Open| {
            // SAFETY: the handle is open, and `with_handle` has made its context current. `address`
            // checked that each matrix is in memory of this stream and that all its elements are
            // within its buffer. alpha and beta are host values that outlive the call, which copies
            // them. The product is in stream order, and memory is freed in stream order.
            unsafe {
                (open.api.gemm_ex)(
                    open.handle,
                    c_int::from(b.transposed),
                    c_int::from(a.transposed),
                    m,
                    n,
                    k,
                    (&raw const gemm.alpha).cast(),
                    b_start as *const c_void,
                    b.matrix.values.data_type(),
                    ldb,
                    a_start as *const c_void,
                    a.matrix.values.data_type(),
                    lda,
                    (&raw const gemm.beta).cast(),
                    y_start as *mut c_void,
                    y.values.data_type(),
                    ldy,
                    COMPUTE_32F,
                    DEFAULT_ALGORITHM,
                )
            }
        };
        self.with_handle(run, DriverCall::Gemm)
    }

    fn with_handle(
        &self,
        run: impl FnOnce(&Open) -> Status,
        what: DriverCall,
    ) -> Result<(), KernelError> {
        self.stream.context().bind_to_thread().during(what)?;
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match handle.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let status = run(handle.insert(open));
        check(status, what)
    }

    fn open(&self) -> Result<Open, KernelError> {
        const CALL: DriverCall = DriverCall::PrepareCublas;
        let api = Api::get(self.driver_cuda)?;
        let mut handle = null_mut();
        // SAFETY: the pointer is to a local that outlives the call, and `with_handle`, the only
        // caller, has made the context current.
        check(unsafe { (api.create)(&mut handle) }, CALL)?;
        let open = Open { api, handle };
        let stream = self.stream.cu_stream().cast();
        // SAFETY: the handle was created above in the current context, which is that of the stream,
        // and the `Arc` of `Cublas` keeps the stream alive as long as the handle.
        check(unsafe { (api.set_stream)(handle, stream) }, CALL)?;
        Ok(open)
    }
}

/// Converts a status of cublas_api.h to an error with its name.
fn check(status: Status, what: DriverCall) -> Result<(), KernelError> {
    let (name, code) = match status {
        0 => return Ok(()),
        1 => ("CUBLAS_STATUS_NOT_INITIALIZED", 0),
        3 => (
            "CUBLAS_STATUS_ALLOC_FAILED",
            CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32,
        ),
        7 => ("CUBLAS_STATUS_INVALID_VALUE", 0),
        8 => ("CUBLAS_STATUS_ARCH_MISMATCH", 0),
        11 => ("CUBLAS_STATUS_MAPPING_ERROR", 0),
        13 => ("CUBLAS_STATUS_EXECUTION_FAILED", 0),
        14 => ("CUBLAS_STATUS_INTERNAL_ERROR", 0),
        15 => ("CUBLAS_STATUS_NOT_SUPPORTED", 0),
        _ => ("cuBLAS status", 0),
    };
    Err(KernelError::Driver {
        what,
        code,
        message: format!("{name} ({status})"),
    })
}
