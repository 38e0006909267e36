//! Settings of the kernel, in the network namespace of the calling thread.

use std::fs::File;
use std::io::{self, Read};

/// The maximum size of a value, in bytes.
const MOST: u64 = 4096;

/// Reads a setting, named by its path below /proc/sys/net: `ipv4/ip_forward`.
///
/// # Errors
///
/// Fails if this kernel does not have it, or if it is not a number.
pub(crate) fn number(path: &str) -> io::Result<i64> {
    let mut text = String::new();
    File::open(format!("/proc/sys/net/{path}"))?.take(MOST).read_to_string(&mut text)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a number"))
}

/// Reads a setting of a device: `ipv4/conf/eth0/rp_filter`. In the path of a device, a dot is part of its name.
///
/// # Errors
///
/// Fails as [`number`] does, and for a name that is not a file name.
pub(crate) fn of_device(family: &str, device: &str, name: &str) -> io::Result<i64> {
    if device.is_empty() || device.contains('/') || device.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a device"));
    }
    number(&format!("{family}/conf/{device}/{name}"))
}
