//! Device memory.

use std::{fmt, marker::PhantomData};

use cudarc::driver::{CudaSlice, DevicePtr};
use moss_weights::{KernelError, Rule};

use crate::{contract::rule, device_id::DeviceId, virtual_memory::Reservation};

/// `len` values in the memory of a GPU. They are freed in stream order when the buffer is dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(crate) memory: Memory<T>,
    pub(crate) len: usize,
    pub(crate) device: DeviceId,
}

/// The memory of a [`Buffer`].
#[derive(Debug)]
pub(crate) enum Memory<T> {
    Allocated(CudaSlice<T>),
    /// Only the first values are mapped to memory.
    Reserved(Reservation),
}

impl<T> Buffer<T> {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if the buffer has no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the size in bytes.
    pub fn bytes(&self) -> u64 {
        (self.len * size_of::<T>()) as u64
    }

    /// Returns the `len` values from `start` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if the buffer ends before them.
    pub fn view(&self, start: usize, len: usize) -> Result<View<'_, T>, KernelError> {
        self.all().part("view of GPU memory", start, len)
    }

    /// Returns all values.
    pub fn all(&self) -> View<'_, T> {
        View {
            address: self.address(),
            len: self.len,
            device: self.device,
            buffer: PhantomData,
        }
    }

    fn address(&self) -> u64 {
        match &self.memory {
            Memory::Allocated(slice) => slice.device_ptr(slice.stream()).0,
            Memory::Reserved(reservation) => reservation.address(),
        }
    }
}

/// Consecutive values of a [`Buffer`].
pub struct View<'a, T> {
    address: u64,
    len: usize,
    device: DeviceId,
    buffer: PhantomData<&'a Buffer<T>>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<T> fmt::Debug for View<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("len", &self.len)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl<'a, T> From<&'a Buffer<T>> for View<'a, T> {
    fn from(buffer: &'a Buffer<T>) -> Self {
        buffer.all()
    }
}

impl<'a, T> View<'a, T> {
    /// Returns the bytes of `buffer` as values of `T`.
    pub(crate) fn of_bytes(buffer: &'a Buffer<u8>) -> Self {
        let bytes = buffer.all();
        Self {
            address: bytes.address,
            len: bytes.len / size_of::<T>(),
            device: bytes.device,
            buffer: PhantomData,
        }
    }

    /// Returns the number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the device that the memory belongs to.
    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    /// Returns the address of the first value.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Returns the `len` values from `start` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] if the view ends before them.
    pub(crate) fn part(
        self,
        op: &'static str,
        start: usize,
        len: usize,
    ) -> Result<Self, KernelError> {
        let room = self.len.saturating_sub(start);
        rule(op, "length", len, len <= room, Rule::AtMost(room))?;
        Ok(Self {
            address: self.address + (start * size_of::<T>()) as u64,
            len,
            ..self
        })
    }
}
