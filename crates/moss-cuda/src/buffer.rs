//! Memory of a card.

use std::marker::PhantomData;

use cudarc::driver::{CudaSlice, DevicePtr};

use super::virtual_memory::Reserved;
use crate::KernelError;

/// `len` values on a card. Freed, in the order of its stream, when dropped.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(super) memory: Memory<T>,
    pub(super) len: usize,
}

/// Where the values of a [`Buffer`] lie.
#[derive(Debug)]
pub(super) enum Memory<T> {
    Taken(CudaSlice<T>),
    /// There is memory for the first of them alone.
    Reserved(Reserved),
}

impl<T> Buffer<T> {
    /// Values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes.
    pub fn bytes(&self) -> u64 {
        (self.len * size_of::<T>()) as u64
    }

    /// `len` values from `at` on.
    ///
    /// # Errors
    /// [`KernelError::Argument`] where there are fewer.
    pub fn view(&self, at: usize, len: usize) -> Result<View<'_, T>, KernelError> {
        let room = self.len.saturating_sub(at);
        super::rule(
            "view of GPU memory",
            "length",
            len,
            len <= room,
            format!("at most {room}"),
        )?;
        Ok(View {
            address: self.address() + (at * size_of::<T>()) as u64,
            len,
            buffer: PhantomData,
        })
    }

    /// All values.
    pub fn all(&self) -> View<'_, T> {
        View {
            address: self.address(),
            len: self.len,
            buffer: PhantomData,
        }
    }

    pub(super) fn address(&self) -> u64 {
        match &self.memory {
            Memory::Taken(slice) => slice.device_ptr(slice.stream()).0,
            Memory::Reserved(reserved) => reserved.address,
        }
    }

    pub(super) fn ptr(&self) -> *const T {
        self.address() as *const T
    }

    pub(super) fn ptr_mut(&self) -> *mut T {
        self.address() as *mut T
    }
}

/// A run of values within a [`Buffer`].
#[derive(Debug)]
pub struct View<'a, T> {
    address: u64,
    pub(super) len: usize,
    buffer: PhantomData<&'a Buffer<T>>,
}

impl<T> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// The values that the bytes of `buffer` are.
    pub(super) fn of_bytes(buffer: &'a Buffer<u8>) -> Self {
        Self {
            address: buffer.address(),
            len: buffer.len / size_of::<T>(),
            buffer: PhantomData,
        }
    }

    pub(super) fn ptr(&self) -> *const T {
        self.address as *const T
    }

    pub(super) fn ptr_mut(&self) -> *mut T {
        self.address as *mut T
    }
}
