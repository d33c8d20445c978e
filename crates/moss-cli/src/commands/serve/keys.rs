//! The API keys of a server: from the command line, the environment and files.

use std::path::{Path, PathBuf};

use moss::{
    files,
    server::{ApiKeys, Server},
};
use moss_messages::msg;

use crate::{
    args::ServeArgs,
    errors::{CliError, Context},
    printer::Printer,
};

/// Maximum size of a key file: tens of thousands of keys.
const MAX_BYTES: u64 = 1 << 20;

/// The sources of the keys. The files can be read again.
pub(super) struct KeySources {
    keys: Vec<String>,
    pub(super) files: Vec<PathBuf>,
}

impl KeySources {
    pub(super) fn new(args: &ServeArgs) -> Self {
        // HTTP headers do not preserve white space around a value.
        let keys = args.api_key.iter().map(|key| key.trim().to_owned());
        Self {
            keys: keys.filter(|key| !key.is_empty()).collect(),
            files: args.api_key_file.clone(),
        }
    }

    /// Reads all keys. A key of the command line that is also in a file has the name of the file.
    pub(super) fn read(&self) -> anyhow::Result<ApiKeys> {
        let mut keys = ApiKeys::default();
        for file in &self.files {
            let shown = file.display();
            let before = keys.len();
            let text =
                files::read_text(file, MAX_BYTES).context(msg!("cannot-read", file = shown))?;
            keys.add_file(&text)
                .context(msg!("cannot-read", file = shown))?;
            // An editor or a script may be about to write it.
            if keys.len() == before {
                let what = msg!("no-key-in-file", file = shown);
                return Err(CliError::new(what).into());
            }
        }
        for (index, key) in self.keys.iter().enumerate() {
            keys.add(key)
                .map_err(|fault| CliError::new(msg!("key-of-flag", number = index + 1, fault)))?;
        }
        Ok(keys)
    }

    /// Warns of files that every user of this machine can read.
    pub(super) fn warn(&self, printer: &Printer) {
        for file in self.exposed() {
            printer.warning(&msg!("key-file-exposed", file = file.display()));
        }
    }

    fn exposed(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().map(PathBuf::as_path);
        files.filter(|file| is_exposed(file))
    }

    /// Reads the files again and gives their keys to a server. After an error, which is logged, the
    /// server keeps its keys.
    pub(super) fn reload(&self, server: &Server) {
        let replaced = self.read().and_then(|keys| {
            server.set_api_keys(&keys)?;
            Ok(keys.len())
        });
        match replaced {
            Ok(keys) => tracing::info!(keys, "API keys reloaded"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "API keys not reloaded, the former ones stay in use");
            }
        }
        for file in self.exposed() {
            tracing::warn!(file = %file.display(), "all users of this machine can read the key file");
        }
    }
}

#[cfg(unix)]
fn is_exposed(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    const READABLE_BY_OTHERS: u32 = 0o004;
    let mode = file.metadata().map(|data| data.permissions().mode());
    mode.is_ok_and(|mode| mode & READABLE_BY_OTHERS != 0)
}

#[cfg(not(unix))]
fn is_exposed(_file: &Path) -> bool {
    false
}
