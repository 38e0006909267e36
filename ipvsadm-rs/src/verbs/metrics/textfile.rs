//! `--textfile`: a file for the textfile collector of node_exporter.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::FileType;

use crate::file::directory::Directory;
use crate::terminal::exit::print_error;
use crate::terminal::text;

/// The file of `--textfile`. Its directory is open.
pub(super) struct Textfile {
    directory: Directory,
    name: PathBuf,
    path: PathBuf,
}

impl Textfile {
    /// Opens the directory of the file. Fails if the path is that of something else than a regular file, which a new file
    /// must not replace.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot write {}", text::path(path));
        let Some(name) = path.file_name().filter(|_| !path.as_os_str().as_bytes().ends_with(b"/")) else {
            bail!("{}: it is not the path of a file", failed());
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = Directory::open(parent).with_context(failed)?;
        if let Ok(found) = directory.metadata(name) {
            let kind = FileType::from_raw_mode(found.st_mode);
            anyhow::ensure!(kind == FileType::RegularFile, "{}: it is not a regular file", failed());
        }
        if Path::new(name).extension() != Some(OsStr::new("prom")) {
            print_error("note: node_exporter reads only files whose names end with .prom");
        }
        Ok(Self { directory, name: name.into(), path: path.to_owned() })
    }

    /// Replaces the file.
    pub(super) fn replace(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", text::path(&self.path));
        self.directory.replace_readable(&self.name, bytes).with_context(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn replaces_only_regular_files() {
        let place = Place::new("textfile");
        let file = place.path().join("ipvs.prom");
        for text in ["1", "2"] {
            Textfile::open(&file).expect("a file").replace(text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&file).expect("a file"), text);
        }
        symlink("ipvs.prom", place.path().join("link.prom")).expect("a link");
        fs::create_dir(place.path().join("folder.prom")).expect("a directory");
        for name in ["link.prom", "folder.prom", "missing/ipvs.prom", "new.prom/", "..", ""] {
            assert!(Textfile::open(&place.path().join(name)).is_err(), "{name}");
        }
        assert_eq!(place.names(), ["folder.prom", "ipvs.prom", "link.prom"]);
    }
}
