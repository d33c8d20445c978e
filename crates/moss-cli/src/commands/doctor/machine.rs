//! The machine: terminal, CPU, libraries, and folders of models.

use std::{
    io::{IsTerminal, stderr, stdout},
    path::{Path, PathBuf},
};

use moss::{
    cpu::cpu_features,
    hub::{DEFAULT_MODEL, resolve},
};
use sysinfo::Disks;

use crate::{args::ModelArgs, open, source};

/// The published chat models, by their short names.
const MODELS: [&str; 3] = ["moss-moon-003-sft", "moss-moon-003-sft-int8", DEFAULT_MODEL];

/// The terminal's encoding and language.
pub(super) struct Terminal {
    /// The first of LC_ALL, LC_CTYPE and LANG that is set. It names the encoding.
    pub(super) encoding: Option<String>,
    /// The locale, which sets the language of messages.
    pub(super) locale: Option<String>,
    /// Stdout and stderr are terminals.
    pub(super) is_terminal: [bool; 2],
}

impl Terminal {
    pub(super) fn read() -> Self {
        let value = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            encoding: ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(value),
            locale: sys_locale::get_locale(),
            is_terminal: [stdout().is_terminal(), stderr().is_terminal()],
        }
    }

    /// Returns true if Chinese can be shown and typed. Terminals of other systems than Unix use
    /// Unicode with every locale.
    pub(super) fn is_utf8(&self) -> bool {
        cfg!(not(unix)) || self.encoding.as_deref().is_some_and(names_utf8)
    }
}

fn names_utf8(locale: &str) -> bool {
    let encoding = locale
        .split('@')
        .next()
        .unwrap_or_default()
        .rsplit('.')
        .next()
        .unwrap_or_default();
    matches!(encoding.to_ascii_lowercase().as_str(), "utf-8" | "utf8")
}

/// The CPU.
pub(super) struct Processor {
    pub(super) threads: usize,
    pub(super) isa: String,
    /// Bytes per second.
    pub(super) read_bandwidth: f64,
}

impl Processor {
    pub(super) fn measure(args: &ModelArgs) -> anyhow::Result<Self> {
        let pool = open::pool(args)?;
        Ok(Self {
            threads: pool.current_num_threads(),
            isa: cpu_features().to_string(),
            read_bandwidth: pool.install(moss::cpu::read_bandwidth),
        })
    }
}

/// A folder that is searched for models.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Free bytes on its disk, if known.
    pub(super) free: Option<u64>,
}

/// A published model, and its folder if it is on this machine.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) folder: Option<PathBuf>,
}

pub(super) fn places(args: &ModelArgs) -> Vec<Place> {
    let places = source::places(args);
    let disks = Disks::new_with_refreshed_list();
    let known: Vec<_> = disks
        .iter()
        .map(|disk| (disk.mount_point(), disk.available_space()))
        .collect();
    let place = |folder: PathBuf| Place {
        free: free_below(&known, &folder),
        folder,
    };
    [Some(places.current_dir), places.hub_cache]
        .into_iter()
        .flatten()
        .map(place)
        .collect()
}

pub(super) fn models(args: &ModelArgs) -> Vec<Known> {
    let places = source::places(args);
    MODELS
        .map(|name| Known {
            name,
            folder: resolve(name, &places).ok().map(|found| found.folder),
        })
        .into()
}

/// Returns the free bytes on the disk of a folder, which may not exist yet: the disk with the
/// longest mount point above it.
fn free_below(disks: &[(&Path, u64)], folder: &Path) -> Option<u64> {
    let there = folder
        .ancestors()
        .find_map(|above| match above.as_os_str().is_empty() {
            true => Path::new(".").canonicalize().ok(),
            false => above.canonicalize().ok(),
        })?;
    let above = disks.iter().filter(|(mount, _)| there.starts_with(mount));
    above
        .max_by_key(|(mount, _)| mount.components().count())
        .map(|(_, free)| *free)
}

/// Returns the CUDA libraries that this process has loaded: the driver's, and cuBLAS if it was
/// needed.
pub(super) fn cuda_libraries() -> Vec<String> {
    libraries_in(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default())
}

fn libraries_in(maps: &str) -> Vec<String> {
    let stems = [
        "libcuda.so",
        "libcudart.so",
        "libcublas.so",
        "libcublasLt.so",
        "libcurand.so",
        "libnvrtc.so",
    ];
    let path = |line: &str| line.find('/').map(|at| line[at..].trim_end().to_owned());
    let is_cuda = |path: &String| {
        stems
            .iter()
            .any(|stem| path.rsplit('/').next().unwrap_or("").starts_with(stem))
    };
    let mut found: Vec<_> = maps.lines().filter_map(path).filter(is_cuda).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_follows_the_dot() {
        for utf8 in ["zh_CN.UTF-8", "C.UTF-8", "en_US.utf8", "de_DE.UTF-8@euro"] {
            assert!(names_utf8(utf8), "{utf8}");
        }
        for other in ["C", "POSIX", "zh_CN.GB18030", "en_US", ""] {
            assert!(!names_utf8(other), "{other}");
        }
    }

    #[test]
    fn a_folders_disk_is_that_of_the_longest_mount_point_above_it() {
        let here = Path::new(".").canonicalize().unwrap_or_default();
        let disks = [
            (Path::new("/"), 1),
            (here.as_path(), 2),
            (Path::new("/no/such/place"), 3),
        ];
        assert_eq!(free_below(&disks, Path::new("not/there/yet")), Some(2));
        assert_eq!(free_below(&disks, Path::new("/")), Some(1));
        assert_eq!(free_below(&[], Path::new("/")), None);
    }

    #[test]
    fn each_loaded_cuda_library_is_listed_once() {
        let maps = "7f00-7f10 r--p 00000000 08:01 1  /usr/lib/libcuda.so.580.65\n\
                    7f10-7f20 r-xp 00010000 08:01 1  /usr/lib/libcuda.so.580.65\n\
                    7f20-7f30 r--p 00000000 08:01 2  /opt/cuda/lib/libcublasLt.so.13\n\
                    7f30-7f40 r--p 00000000 08:01 3  /usr/lib/libc.so.6\n\
                    7f40-7f50 rw-p 00000000 00:00 0  [heap]\n";
        assert_eq!(
            libraries_in(maps),
            [
                "/opt/cuda/lib/libcublasLt.so.13",
                "/usr/lib/libcuda.so.580.65"
            ]
        );
    }
}
