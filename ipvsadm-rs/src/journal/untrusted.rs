//! Directories and files of the journal that other users could have written.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::ensure;

use crate::file::directory::{Directory, PrivateError};

/// The error that another user could have written the journal. A forged entry could make `undo` empty the table.
#[derive(Debug)]
pub(crate) struct Untrusted(pub(super) String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

/// Opens the state directory. Returns `None` if it does not exist and is not to be created.
pub(super) fn open_state_dir(path: &Path, create: bool) -> anyhow::Result<Option<Directory>> {
    existing(Directory::open_private(path, create))
}

/// Opens the directory of a journal. Returns `None` if it does not exist and is not to be created.
pub(super) fn open_folder(state: &Directory, name: &str, create: bool) -> anyhow::Result<Option<Directory>> {
    existing(state.subdirectory(name, create))
}

fn existing(opened: Result<Directory, PrivateError>) -> anyhow::Result<Option<Directory>> {
    use std::error::Error;
    match opened {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.is_missing() => Ok(None),
        // An error without a source is a fault of the directory itself.
        Err(error) if error.source().is_none() => Err(Untrusted(error.to_string()).into()),
        Err(error) => Err(anyhow::anyhow!("cannot open the journal: {error}")),
    }
}

/// Fails if a file of the journal belongs to another user than this one and root.
pub(super) fn ensure_trusted(file: &File) -> anyhow::Result<()> {
    let owner = file.metadata()?.uid();
    ensure!(
        owner == 0 || owner == rustix::process::geteuid().as_raw(),
        Untrusted(format!("its owner is user {owner}, who could forge its contents"))
    );
    Ok(())
}
