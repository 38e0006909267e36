//! The network namespaces that exist.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::pid_namespace;

/// The numbers of the network namespaces that processes are in, or that are mounted.
pub(super) struct Living(Option<HashSet<u64>>);

impl Living {
    /// Looks at all processes and their mounts.
    pub(super) fn scan() -> Self {
        Self(scan().ok())
    }

    /// Returns whether a namespace with this number exists. Returns `None` if this process cannot see all namespaces. A
    /// namespace that only a descriptor keeps alive is not found.
    pub(super) fn has(&self, inode: u64) -> Option<bool> {
        self.0.as_ref().map(|living| living.contains(&inode))
    }
}

fn scan() -> io::Result<HashSet<u64>> {
    // Other PID namespaces do not show all processes.
    if !pid_namespace::is_first()? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (mut living, mut mounts) = (HashSet::new(), HashSet::new());
    for process in fs::read_dir("/proc")? {
        let process = process?;
        if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = process.path();
        let number = |name: &str| unless_ended(fs::metadata(path.join(name)).map(|found| found.ino()));
        if let Some(net) = number("ns/net")? {
            living.insert(net);
        }
        if number("ns/mnt")?.is_some_and(|mount_namespace| mounts.insert(mount_namespace)) {
            living.extend(mounted(&path)?);
        }
    }
    Ok(living)
}

/// Returns the network namespaces that are mounted, such as those of `ip netns`.
fn mounted(process: &Path) -> io::Result<Vec<u64>> {
    let mounts = unless_ended(fs::read(process.join("mountinfo")))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&mounts).lines().filter_map(number).collect())
}

/// Reads the number from a line of mountinfo, whose fourth word is `net:[4026531840]` for a namespace.
fn number(line: &str) -> Option<u64> {
    line.split(' ').nth(3)?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Returns `None` if the process has ended.
fn unless_ended<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
                || error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mounted_namespaces() {
        let line = "95 25 0:4 net:[4026532208] /run/netns/blue rw shared:40 - nsfs nsfs rw";
        assert_eq!(number(line), Some(4_026_532_208));
        for line in
            ["", "95 25 0:4 / /proc rw - proc proc rw", "95 25 0:4 net:[x] /run/netns/blue rw", "1 2 3 mnt:[5] /x"]
        {
            assert_eq!(number(line), None, "{line}");
        }
    }

    #[test]
    fn the_own_namespace_exists() {
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_ne!(Living::scan().has(own), Some(false));
    }
}
