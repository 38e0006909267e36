//! The kernel module of IPVS.

/// Returns whether IPVS is in the kernel. To open its table would load the module, because the kernel loads it for each
/// request of its netlink family. A verb that only reads asks first.
///
/// The kernel makes the file for each namespace. Without /proc, nothing is known about the module, and true is returned.
pub(crate) fn is_loaded() -> bool {
    let is_missing = |path| std::fs::exists(path).is_ok_and(|exists| !exists);
    is_missing("/proc/thread-self/net") || !is_missing("/proc/thread-self/net/ip_vs")
}
