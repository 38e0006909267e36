//! Gets what the laboratory needs from Debian, without root and without touching the system's own packages.
//!
//! All of it lands in `target/ipvs-lab` (`IPVS_LAB` names another folder), unpacked, not installed, and stays there;
//! delete the folder to start afresh. A lock keeps test binaries that run side by side from doing it twice, and a folder
//! appears under its name only when it is complete.

pub mod apt;
pub mod loader;
pub mod sources;
pub mod xstate;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

/// Somebody else fetches 40 MB meanwhile.
const LOCK_LIMIT: Duration = Duration::from_secs(600);

/// The folder that holds the unpacked packages, fetched and unpacked together as `name` if that was not done yet.
pub fn unpacked(suite: &str, name: &str, packages: &[&str]) -> Result<PathBuf> {
    complete(suite, name, |folder| apt::fetch_and_unpack(suite, packages, folder))
}

/// The same for the one package that another stands for: `linux-image-cloud-amd64` is empty, and depends on the newest.
pub fn unpacked_dependency(suite: &str, package: &str) -> Result<PathBuf> {
    complete(suite, package, |folder| apt::fetch_and_unpack_dependency(suite, package, folder))
}

/// The folder `SUITE/NAME`, made by `fill` in one piece: it either has all its contents or is not there.
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
    // Under the lock: what is found here was left by somebody who did not finish. (Not under one name for all: programs
    // that somebody started may still be writing.)
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

/// Where everything fetched is kept.
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

/// Cargo's target folder, in which a test binary stands.
pub fn target() -> Result<Option<PathBuf>> {
    // Cargo marks it; by the first of these only if it has made it.
    let is_target = |folder: &&Path| ["CACHEDIR.TAG", ".rustc_info.json"].iter().any(|mark| folder.join(mark).exists());
    let target = std::env::current_exe()?.ancestors().find(is_target).map(Path::to_owned);
    Ok(target.or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)))
}

/// Holds the lock until dropped; the kernel gives it back when its holder dies.
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
