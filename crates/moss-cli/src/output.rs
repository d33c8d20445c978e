//! Files that commands write. An existing file is replaced only if this process created it, or with
//! `--force`.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use moss_messages::msg;

use crate::errors::{CliError, Context};

/// Returns an error if the file exists, before a long computation whose result could not be
/// written. Devices and pipes may be written to.
pub(crate) fn check(path: &Path, force: bool) -> Result<(), CliError> {
    if !force && fs::metadata(path).is_ok_and(|data| data.is_file()) {
        return Err(exists(path));
    }
    Ok(())
}

/// Writes a complete file. With `force`, it replaces an existing one by rename.
pub(crate) fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), CliError> {
    let written = match fs::metadata(path) {
        Ok(data) if !data.is_file() => fs::write(path, bytes),
        Ok(_) if force => replace(path, bytes),
        Ok(_) => return Err(exists(path)),
        Err(_) => create(path, bytes),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
        written => {
            let shown = path.display();
            written.context(msg!("cannot-write", file = shown))
        }
    }
}

/// Creates a file that must not exist yet. An incomplete file is removed.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.flush());
    if written.is_err() {
        let _ = fs::remove_file(path); // the first error matters more
    }
    written
}

/// Replaces a file by rename. Processes that have the old file open or mapped keep its content.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?; // the file behind a link
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    create(&new, bytes)?;
    let named = fs::metadata(&path)
        .and_then(|old| fs::set_permissions(&new, old.permissions()))
        .and_then(|()| fs::rename(&new, &path));
    if named.is_err() {
        let _ = fs::remove_file(&new);
    }
    named
}

fn exists(path: &Path) -> CliError {
    let shown = path.display();
    let what = msg!("file-exists", file = shown);
    CliError::new(what)
}

/// Files that this process created, with their length and time of modification.
#[derive(Debug, Default)]
pub(crate) struct Created(HashMap<PathBuf, (u64, SystemTime)>);

impl Created {
    /// Records a file that was written.
    pub(crate) fn note(&mut self, path: &Path) {
        self.0.extend(state(path));
    }

    /// Returns true if this process created the file and it has not changed since.
    pub(crate) fn owns(&self, path: &Path) -> bool {
        state(path).is_some_and(|(path, found)| self.0.get(&path) == Some(&found))
    }
}

fn state(path: &Path) -> Option<(PathBuf, (u64, SystemTime))> {
    let data = fs::metadata(path).ok()?;
    Some((
        fs::canonicalize(path).ok()?,
        (data.len(), data.modified().ok()?),
    ))
}
