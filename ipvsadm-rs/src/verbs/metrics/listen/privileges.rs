//! The privileges of the server.

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::terminal::exit::print_error;

/// The user and the group `nobody` and `nogroup`: the kernel's default for IDs that have no other meaning
/// (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65534;

/// Drops all capabilities but CAP_NET_ADMIN, which every reading needs. Root becomes the user `nobody`, because root
/// can write to most files without any capability.
///
/// Privileges belong to a thread, and new threads inherit them. So this must be called while there is only one.
pub(super) fn drop_all_but_net_admin() -> anyhow::Result<()> {
    const FAILED: &str = "cannot drop privileges";
    set_no_new_privs(true).context(FAILED)?;
    let permitted = capabilities(None).context(FAILED)?.permitted;
    if geteuid().is_root() {
        match become_nobody() {
            Ok(()) => {}
            // For example in a container.
            Err(Errno::PERM) => {
                print_error("warning: the server runs as root: changing the user needs CAP_SETUID and CAP_SETGID");
            }
            Err(error) => return Err(error).context(FAILED),
        }
    }
    match clear_ambient_capability_set() {
        // Kernels before 4.3 have no such set.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error).context(FAILED),
    }
    let kept = permitted & CapabilitySet::NET_ADMIN;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context(FAILED)
}

fn become_nobody() -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    // Otherwise the change of the user drops all capabilities.
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}
