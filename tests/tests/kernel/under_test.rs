//! Installs this project's programs in the guest.

use std::fs;
use std::path::PathBuf;

use ipvs_tests::command::{install as put, install_script};
use ipvs_tests::guest::folder::{self, MODPROBE};
use ipvs_tests::lab::topology::Host;

/// Path of `ipvsadm` as built by cargo.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ipvsadm");

/// Returns the path of the program to test: `IPVS_PROGRAM` (for example a release build), or cargo's.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("IPVS_PROGRAM").map(PathBuf::from);
    // A guest under QEMU contains only cargo's.
    named.filter(|program| program.exists()).unwrap_or_else(|| PROGRAM.into())
}

/// Installs it in /sbin under each of its names. The name selects which program it acts as.
pub(crate) fn install() {
    let program = program();
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"] {
        put(&program, format!("/usr/sbin/{name}")).unwrap();
    }
}

/// Sets up a host as a real server: runs the commands that `ipvsadm-rs rs-setup` prints.
pub(crate) fn real_server(host: &Host, options: &str) {
    install();
    modprobe();
    let script = host.ok(&format!("ipvsadm-rs rs-setup {options}"));
    let ran = host.shell(&format!("set -e\n{script}")).ok();
    assert_eq!(ran, "", "{script}");
}

/// Installs a `modprobe` that knows the modules of the guest.
pub(crate) fn modprobe() {
    let modprobe = folder::path(MODPROBE);
    // With IPVS_KERNEL=host the host's own modprobe is used.
    if fs::exists(&modprobe).unwrap() {
        put(&modprobe, "/usr/local/sbin/modprobe").unwrap();
    }
}

/// Path of the resource agent, where a cluster looks for it.
pub(crate) const AGENT: &str = "/usr/lib/ocf/resource.d/ipvsadm-rs/ipvs";

/// Installs the resource agent at [`AGENT`].
pub(crate) fn install_agent() {
    install_script(AGENT, include_str!("../../../ipvsadm-rs/dist/ipvs.ocf")).unwrap();
}
