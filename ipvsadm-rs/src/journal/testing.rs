//! A directory for tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::file::directory::Directory;

/// A directory that is removed when dropped.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ipvsadm-rs-journal-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Directory::open_private(&path, true).expect("a directory");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn directory(&self) -> Directory {
        Directory::open_private(&self.0, false).expect("a directory")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
