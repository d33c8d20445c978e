//! Reader of NVIDIA's fat binaries: one file of machine code for several architectures, and PTX.
//!
//! Layout, little endian: a header (magic `0xBA55ED50`, u16 version, u16 header bytes, u64 bytes
//! that follow), then entries, each a header (u16 kind, u16 version, u32 header bytes, u64 payload
//! bytes, …) and its payload. Used by the build script too, so it depends on the standard library
//! only.

/// One image within a fat binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FatbinImage<'a> {
    /// Machine code (an ELF file) for this architecture, as in `sm_75`.
    Machine {
        /// 10 x major + minor.
        architecture: u32,
        /// The ELF file.
        code: &'a [u8],
    },
    /// PTX for this architecture, as in `compute_75`.
    Ptx {
        /// 10 x major + minor.
        architecture: u32,
        /// Version of the PTX language, 10 x major + minor.
        isa: u32,
        /// The text, which may end with zeros.
        text: &'a [u8],
    },
}

const MAGIC: u32 = 0xBA55_ED50;
const PTX: u16 = 1;
const MACHINE: u16 = 2;
/// Bytes of an entry's header that are read here.
const ENTRY: usize = 64;

/// Returns the images of a fat binary, in the order of the file.
///
/// # Errors
/// A description of the fault, for a file of another format, a truncated file, or compressed
/// images.
pub(crate) fn read(file: &[u8]) -> Result<Vec<FatbinImage<'_>>, String> {
    let magic = u32_at(file, 0)?;
    if magic != MAGIC {
        return Err(format!(
            "the first word is {magic:#010x}, expected {MAGIC:#010x} of a fat binary"
        ));
    }
    let header = usize::from(u16_at(file, 6)?);
    let total = usize::try_from(u64_at(file, 8)?)
        .ok()
        .and_then(|bytes| bytes.checked_add(header));
    let Some(file) = total.and_then(|total| file.get(..total)) else {
        return Err(format!(
            "the file has {} bytes, fewer than its header says",
            file.len()
        ));
    };
    let mut images = Vec::new();
    let mut at = header;
    while at < file.len() {
        let rest = &file[at..];
        let kind = u16_at(rest, 0)?;
        let header = u32_at(rest, 4)? as usize;
        let payload = usize::try_from(u64_at(rest, 8)?).unwrap_or(usize::MAX);
        let end = header
            .checked_add(payload)
            .filter(|end| *end <= rest.len() && header >= ENTRY);
        let end =
            end.ok_or_else(|| format!("the entry at byte {at} does not fit into the file"))?;
        if u64_at(rest, 56)? != 0 {
            return Err(format!(
                "the entry at byte {at} is compressed: expected one made with `-no-compress`"
            ));
        }
        let (architecture, bytes) = (u32_at(rest, 28)?, &rest[header..end]);
        match kind {
            MACHINE => images.push(FatbinImage::Machine {
                architecture,
                code: bytes,
            }),
            PTX => {
                let isa = 10 * u32::from(u16_at(rest, 26)?) + u32::from(u16_at(rest, 24)?);
                images.push(FatbinImage::Ptx {
                    architecture,
                    isa,
                    text: bytes,
                });
            }
            _ => {} // debug information and the like
        }
        at += end;
    }
    Ok(images)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let found = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<N>());
    found
        .copied()
        .ok_or_else(|| "the file ends within a header".to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entry(
        kind: u16,
        architecture: u32,
        isa: (u16, u16),
        uncompressed: u64,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut bytes = vec![0u8; ENTRY];
        bytes[0..2].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&(ENTRY as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes[24..26].copy_from_slice(&isa.1.to_le_bytes());
        bytes[26..28].copy_from_slice(&isa.0.to_le_bytes());
        bytes[28..32].copy_from_slice(&architecture.to_le_bytes());
        bytes[56..64].copy_from_slice(&uncompressed.to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    fn file(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries = entries.concat();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend(1u16.to_le_bytes());
        bytes.extend(16u16.to_le_bytes());
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries);
        bytes
    }

    #[test]
    fn images_of_every_kind_are_found_and_others_are_passed_over() {
        let bytes = file(&[
            entry(PTX, 75, (8, 2), 0, b".version 8.2\0"),
            entry(64, 0, (0, 0), 0, b"debug"),
            entry(MACHINE, 90, (1, 8), 0, b"\x7fELF"),
        ]);
        let images = read(&bytes).unwrap();
        assert_eq!(
            images[0],
            FatbinImage::Ptx {
                architecture: 75,
                isa: 82,
                text: b".version 8.2\0"
            }
        );
        assert_eq!(
            images[1],
            FatbinImage::Machine {
                architecture: 90,
                code: b"\x7fELF"
            }
        );
        assert_eq!(images.len(), 2);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_never_read_past_its_end() {
        let bytes = file(&[
            entry(MACHINE, 75, (1, 8), 0, b"\x7fELF"),
            entry(PTX, 75, (8, 2), 0, b"x"),
        ]);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        let mut wrong = bytes.clone();
        wrong[16 + 8..16 + 16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&wrong).is_err());
        assert!(read(b"\x7fELF and more than a header's bytes").is_err());
    }

    #[test]
    fn compressed_images_are_refused() {
        let bytes = file(&[entry(MACHINE, 75, (1, 8), 4096, b"zstd")]);
        assert!(read(&bytes).is_err_and(|reason| reason.contains("-no-compress")));
    }
}
