//! The name of the journal directory of a network namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ipvs::Namespace;

/// Returns the name of the directory: `init` for the namespace of process 1, `netns-NAME` for a namespace of `ip
/// netns`, otherwise `inode-NUMBER`. `None` means the namespace of this process.
pub(super) fn name_of(namespace: Option<&Namespace>) -> anyhow::Result<String> {
    let path = match namespace {
        None if is_in_first() => return Ok("init".into()),
        None => PathBuf::from("/proc/thread-self/ns/net"),
        Some(Namespace::Pid(pid)) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        Some(Namespace::Path(path)) => path.clone(),
        Some(Namespace::Name(name)) => return Ok(format!("netns-{name}")),
    };
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let this = identity(&path).with_context(|| format!("cannot access {}", path.display()))?;
    if identity(Path::new("/proc/1/ns/net")).is_ok_and(|init| init == this) {
        return Ok("init".into());
    }
    for named in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if identity(&named.path()).is_ok_and(|named| named == this) {
            return Ok(format!("netns-{}", named.file_name().to_string_lossy()));
        }
    }
    Ok(format!("inode-{}", this.1))
}

/// Returns whether this process is in the network namespace of process 1. Only a process with all capabilities of
/// process 1 may read /proc/1/ns. A confined service lacks them. Any process may read the files in /proc/PID/net, and
/// their inode numbers differ between namespaces.
fn is_in_first() -> bool {
    let number = |path: &str| fs::metadata(path).map(|found| found.ino());
    match (number("/proc/1/net/dev"), number("/proc/thread-self/net/dev")) {
        (Ok(first), Ok(own)) => first == own,
        _ => false,
    }
}
