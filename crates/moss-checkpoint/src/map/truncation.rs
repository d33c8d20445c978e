//! The SIGBUS handler that reports which weight file was truncated.

use std::{io, ptr, sync::OnceLock};

use super::registry;

/// The data of the handler, prepared at installation because the handler must not allocate.
struct Report {
    status: libc::c_int,
    before: Vec<u8>,
    after: Vec<u8>,
    previous: libc::sigaction,
}

static REPORT: OnceLock<Report> = OnceLock::new();

pub(super) fn install(status: u8, message: &str) -> io::Result<()> {
    let (before, after) = message.split_once("{file}").unwrap_or((message, ""));
    let (before, after) = (before.as_bytes().to_vec(), after.as_bytes().to_vec());
    // SAFETY: `sigaction` is plain data, and all zeros are a valid value: the default action, an
    // empty mask and no flags.
    let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null action only queries, and `previous` is valid for writes.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let report = Report {
        status: status.into(),
        before,
        after,
        previous,
    };
    if REPORT.set(report).is_err() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: as for `previous`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_bus_error as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is initialized, the handler has the signature that SA_SIGINFO requires, and
    // it calls only async-signal-safe functions.
    match unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Async-signal-safe: reads atomics, and calls write(2), _exit(2), sigaction(2) and raise(3).
/// Allocates no memory and takes no lock.
extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    let Some(report) = REPORT.get() else { return };
    // SAFETY: with SA_SIGINFO the kernel passes a valid siginfo.
    let info = unsafe { &*info };
    let is_fault = info.si_code > 0; // otherwise a process sent it, without an address
    // SAFETY: `is_fault`: the kernel fills in the address of a SIGBUS that it raises for a fault.
    let file = is_fault
        .then(|| unsafe { info.si_addr() } as usize)
        .and_then(registry::file_at);
    if let Some(file) = file {
        for part in [&report.before, file, &report.after] {
            // SAFETY: pointer and length are those of a slice that outlives the call.
            unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
        }
        // SAFETY: _exit(2) has no preconditions.
        unsafe { libc::_exit(report.status) };
    }
    // SAFETY: `previous` is the valid action that the system reported at installation.
    unsafe { libc::sigaction(signal, &report.previous, ptr::null_mut()) };
    if !is_fault {
        // SAFETY: raise(3) has no preconditions. The signal is delivered when this handler
        // returns. A fault needs no raise: the instruction runs again.
        unsafe { libc::raise(signal) };
    }
}
