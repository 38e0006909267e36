//! Fetches packages from Debian, without root and without changes to the installed packages.
//!
//! They are unpacked in `target/ipvs-lab` (or `IPVS_LAB`) and stay there; delete the directory to fetch them again. A
//! lock prevents two test binaries from fetching the same package at the same time. A directory gets its name when it
//! is complete.

pub mod apt;
pub mod loader;
pub mod sources;
pub mod xstate;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

/// Time limit for the lock, while another process fetches up to 40 MB.
const LOCK_LIMIT: Duration = Duration::from_secs(600);

/// Returns the directory `name` with some packages unpacked in it. Fetches them if it does not exist.
pub fn unpacked(suite: &str, name: &str, packages: &[&str]) -> Result<PathBuf> {
    complete(suite, name, |folder| apt::fetch_and_unpack(suite, packages, folder))
}

/// Returns a directory with the dependency of a metapackage unpacked in it. Fetches it if the directory does not exist.
/// For example, `linux-image-cloud-amd64` is empty and depends on the newest kernel.
pub fn unpacked_dependency(suite: &str, package: &str) -> Result<PathBuf> {
    complete(suite, package, |folder| apt::fetch_and_unpack_dependency(suite, package, folder))
}

/// Returns the directory `SUITE/NAME`. If it does not exist, `fill` makes its contents. The directory gets its name
/// when it is complete.
pub fn complete(suite: &str, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = folder()?.join(suite);
    let done = parent.join(name);
    if done.exists() {
        return Ok(done);
    }
    fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    let _lock = lock(&parent.join(format!("{name}.lock")))?;
    if done.exists() {
        return Ok(done);
    }
    // Left by a process that did not finish, since this one has the lock. The name has a process id, because children
    // of that process may still write.
    let half = parent.join(format!("{name}.half-{}", std::process::id()));
    for entry in fs::read_dir(&parent)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}.half-")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    fs::create_dir(&half).with_context(|| half.display().to_string())?;
    fill(&half)?;
    fs::rename(&half, &done)?;
    Ok(done)
}

/// Returns the directory for everything that is fetched.
pub fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("IPVS_LAB") {
        return Ok(std::path::absolute(folder)?);
    }
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
    };
    let base = target()?.or_else(cache).unwrap_or_else(std::env::temp_dir);
    Ok(std::path::absolute(base.join("ipvs-lab"))?)
}

/// Returns cargo's target directory: that of this executable, otherwise `CARGO_TARGET_DIR`. Returns `None` if neither
/// is found.
pub fn target() -> Result<Option<PathBuf>> {
    // Cargo writes both, but the first only if it has made the directory itself.
    let is_target = |folder: &&Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|mark| folder.join(mark).exists());
    let target = std::env::current_exe()?.ancestors().find(is_target).map(Path::to_owned);
    Ok(target.or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)))
}

/// Takes a lock, which is held until the file is dropped or the process ends.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let deadline = Instant::now() + LOCK_LIMIT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(errno) => bail!("cannot lock {}: {errno}", path.display()),
        }
    }
}
