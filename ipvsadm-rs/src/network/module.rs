//! The kernel module of IPVS.

use std::path::Path;

/// Returns whether IPVS is in the kernel. To open its table would load the module, so a verb that only reads asks first.
///
/// The file belongs to the namespace of the calling thread. The kernel makes it for each namespace.
pub(crate) fn is_loaded() -> bool {
    Path::new("/proc/thread-self/net/ip_vs").exists()
}
