//! This project's program, in the guest.

use std::fs;
use std::path::PathBuf;

use ipvs_tests::command::{install as put, install_script};
use ipvs_tests::guest::folder::{self, MODPROBE};
use ipvs_tests::lab::topology::Host;

/// `ipvsadm`, where cargo put it.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ipvsadm");

/// The program that is tested: cargo's, or the one that `IPVS_PROGRAM` names, one that is shipped say.
pub(crate) fn program() -> PathBuf {
    let named = std::env::var_os("IPVS_PROGRAM").map(PathBuf::from);
    // A guest under QEMU has cargo's alone.
    named.filter(|program| program.exists()).unwrap_or_else(|| PROGRAM.into())
}

/// Puts it at /sbin, where everybody looks for it, by each of its names: it tells by them which program it is.
pub(crate) fn install() {
    let program = program();
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"] {
        put(&program, format!("/usr/sbin/{name}")).unwrap();
    }
}

/// Makes a host a real server with what `ipvsadm-rs rs-setup` prints, as an operator would.
pub(crate) fn real_server(host: &Host, options: &str) {
    install();
    modprobe();
    let script = host.ok(&format!("ipvsadm-rs rs-setup {options}"));
    let ran = host.shell(&format!("set -e\n{script}")).ok();
    assert_eq!(ran, "", "{script}");
}

/// Puts a `modprobe` where everybody looks for it that knows the modules of the guest.
pub(crate) fn modprobe() {
    let modprobe = folder::path(MODPROBE);
    // On the machine's own kernel it is the machine's.
    if fs::exists(&modprobe).unwrap() {
        put(&modprobe, "/usr/local/sbin/modprobe").unwrap();
    }
}

/// Where a cluster looks for the resource agent.
pub(crate) const AGENT: &str = "/usr/lib/ocf/resource.d/ipvsadm-rs/ipvs";

/// Puts the resource agent there.
pub(crate) fn install_agent() {
    install_script(AGENT, include_str!("../../../ipvsadm-rs/dist/ipvs.ocf")).unwrap();
}
