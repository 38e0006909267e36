//! A root directory for one job: the machine's file system with a layer of its own to write on.
//!
//! Made anew for each job (an overlay of a tmpfs over `/`, 10 ms), so that a test may put a program at /sbin/ipvsadm
//! or edit /etc/services, and neither this machine nor the next test sees it.

use std::fs;

use anyhow::{Context, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_move, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::command::install;
use crate::guest::folder::{self, MODPROBE};
use crate::net::rtnl::Socket;

/// Where the layer's tmpfs is mounted.
pub(super) const LAYER: &str = "/run/ipvs-lab/layer";
/// Where the new root is put together.
pub(super) const NEW_ROOT: &str = "/run/ipvs-lab/root";
/// The working directory a job starts in, empty.
const WORK: &str = "/run/work";

/// Makes a root that can be left. The one that a kernel unpacks its first files to cannot: it is where every other is
/// mounted. So it is mounted upon itself.
pub(super) fn mount_again() -> Result<()> {
    const SELF: &str = "/root";
    mount_bind_recursive("/", SELF).context("mount / on itself")?;
    std::env::set_current_dir(SELF)?;
    mount_move(".", "/").context("move the root")?;
    rustix::process::chroot(".").context("chroot")?;
    Ok(std::env::set_current_dir("/")?)
}

/// Moves this process into namespaces of its own (network, mounts, host name, System V and POSIX queues) and a root
/// of its own, with lo up.
pub(super) fn enter() -> Result<()> {
    let apart = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    // SAFETY: the file descriptor table is not unshared, the only flag that could harm.
    unsafe { unshare_unsafe(apart) }.context("unshare")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;

    let none = MountFlags::empty;
    mount("tmpfs", LAYER, "tmpfs", none(), None).context("mount the layer")?;
    for part in ["upper", "work"] {
        fs::create_dir(format!("{LAYER}/{part}"))?;
    }
    let options = format!("lowerdir=/,upperdir={LAYER}/upper,workdir={LAYER}/work\0");
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())?;
    mount("overlay", NEW_ROOT, "overlay", none(), options).context("mount the overlay")?;

    let (exe, modules) = folder::links()?;
    for folder in ["proc", "dev"] {
        mount_bind_recursive(format!("/{folder}"), format!("{NEW_ROOT}/{folder}"))?;
    }
    // sysfs shows the network namespace of whoever mounted it.
    mount("sysfs", format!("{NEW_ROOT}/sys"), "sysfs", none(), None).context("mount /sys")?;
    mount("tmpfs", format!("{NEW_ROOT}/run"), "tmpfs", none(), None).context("mount /run")?;

    // pivot_root and not chroot: setns into this mount namespace lands at its root. `.` twice: the old root is stacked
    // upon the new one, and taken away. pivot_root(2), NOTES
    std::env::set_current_dir(NEW_ROOT)?;
    rustix::process::pivot_root(".", ".").context("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).context("leave the old root")?;

    folder::fill(&exe, modules.as_deref())?;
    if modules.is_some() {
        // ipvsadm calls modprobe itself, and so do others.
        install(folder::path(MODPROBE), "/usr/sbin/modprobe")?;
    }
    fs::create_dir(WORK)?;
    std::env::set_current_dir(WORK)?;
    Socket::open()?.set_up("lo").context("lo up")
}
