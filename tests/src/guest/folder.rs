//! The directory in which every process of a guest finds this executable and the modules of its kernel.
//!
//! The directory contains links to them. Variables could not hold the paths, because the kernel starts modprobe with an
//! empty environment. On the machine's own kernel, there is only the link to this executable, and the machine's
//! modprobe is used.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The path of the directory, on a tmpfs.
pub const FOLDER: &str = "/run/ipvs-lab";

/// The name of the program that the kernel calls to load a module: a link to this executable.
pub const MODPROBE: &str = "modprobe";

/// Makes the directory and the links in it. `modules` is `None` on the machine's own kernel.
pub(crate) fn fill(exe: &Path, modules: Option<&Path>) -> Result<()> {
    fs::create_dir_all(FOLDER)?;
    let link = |name: &str, target: &Path| symlink(target, path(name)).with_context(|| format!("{FOLDER}/{name}"));
    link("exe", exe)?;
    if let Some(modules) = modules {
        link("modules", modules)?;
        link(MODPROBE, exe)?;
    }
    Ok(())
}

/// Returns the path of this executable, and the directory of the modules: `None` on the machine's own kernel.
pub(crate) fn links() -> io::Result<(PathBuf, Option<PathBuf>)> {
    Ok((fs::read_link(path("exe"))?, fs::read_link(path("modules")).ok()))
}

/// Returns the path of a file in the directory.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}
