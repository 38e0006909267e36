//! A directory for tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::file::directory::Directory;

/// A directory that is removed when dropped.
pub(crate) struct Place(PathBuf);

impl Place {
    /// Creates a directory. Tests run in parallel, so each needs another name.
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ipvsadm-rs-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Directory::open_private(&path, true).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open_private(&self.0, false).expect("a directory")
    }

    /// Returns the names of its files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.directory().names().expect("names");
        let mut names: Vec<_> = names.into_iter().map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
