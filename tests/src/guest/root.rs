//! The root directory of one job: the machine's file system under a writable layer.
//!
//! Each job has its own (an overlay of a tmpfs over `/`, made in 10 ms). A test may install /sbin/ipvsadm or edit
//! /etc/services. Neither this machine nor the next test is affected.

use std::fs;

use anyhow::{Context, Result};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_move, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::command::install;
use crate::guest::folder::{self, MODPROBE};
use crate::net::rtnl::Socket;

/// The mount point of the layer's tmpfs.
pub(super) const LAYER: &str = "/run/ipvs-lab/layer";
/// The mount point of the overlay, before it becomes the root.
pub(super) const NEW_ROOT: &str = "/run/ipvs-lab/root";
/// The working directory of a new job. It is empty.
const WORK: &str = "/run/work";

/// Mounts the root on itself. pivot_root(2) refuses to leave the rootfs into which the kernel unpacks an initramfs.
pub(super) fn mount_again() -> Result<()> {
    const SELF: &str = "/root";
    mount_bind_recursive("/", SELF).context("mount / on itself")?;
    std::env::set_current_dir(SELF)?;
    mount_move(".", "/").context("move the root")?;
    rustix::process::chroot(".").context("chroot")?;
    Ok(std::env::set_current_dir("/")?)
}

/// Moves this process into its own namespaces (network, mounts, host name, IPC) and its own root. lo is up.
pub(super) fn enter() -> Result<()> {
    let apart = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is not
    // set.
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
    // sysfs shows the network namespace of the process that mounts it.
    mount("sysfs", format!("{NEW_ROOT}/sys"), "sysfs", none(), None).context("mount /sys")?;
    mount("tmpfs", format!("{NEW_ROOT}/run"), "tmpfs", none(), None).context("mount /run")?;

    // chroot is not used, because setns into this mount namespace enters its root. With `.` twice the old root is
    // stacked on the new one and then unmounted. pivot_root(2), NOTES
    std::env::set_current_dir(NEW_ROOT)?;
    rustix::process::pivot_root(".", ".").context("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).context("leave the old root")?;

    folder::fill(&exe, modules.as_deref())?;
    if modules.is_some() {
        // The reference and other programs start modprobe themselves.
        install(folder::path(MODPROBE), "/usr/sbin/modprobe")?;
    }
    fs::create_dir(WORK)?;
    std::env::set_current_dir(WORK)?;
    Socket::open()?.set_up("lo").context("lo up")
}
