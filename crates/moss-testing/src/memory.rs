use std::fs;

/// Returns a size of the process `pid` (`self` for this one) in bytes: `VmRSS`, the resident memory,
/// or `VmHWM`, its peak, both with mapped pages.
///
/// # Panics
///
/// If the process or the size does not exist.
pub fn memory_bytes(pid: &str, size: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut sizes = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = sizes.find(|(name, _)| *name == size).unwrap();
    let kibibytes = value.split_whitespace().next().unwrap();
    kibibytes.parse::<u64>().unwrap() << 10
}
