//! This project's programs, as cargo built them for these tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ipvs_tests::command::install as put;

/// `ipvsadm`, where cargo put it.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ipvsadm");

/// Puts them at /sbin, where everybody looks for them.
pub(crate) fn install() {
    for (name, program) in [
        ("ipvsadm", PROGRAM),
        ("ipvsadm-save", env!("CARGO_BIN_EXE_ipvsadm-save")),
        ("ipvsadm-restore", env!("CARGO_BIN_EXE_ipvsadm-restore")),
        // Told by its name, like the others.
        ("ipvsadm-rs", PROGRAM),
    ] {
        put(program, format!("/usr/sbin/{name}")).unwrap();
    }
}

/// Where a cluster looks for the resource agent.
pub(crate) const AGENT: &str = "/usr/lib/ocf/resource.d/ipvsadm-rs/ipvs";

/// Puts the resource agent there.
pub(crate) fn install_agent() {
    fs::create_dir_all("/usr/lib/ocf/resource.d/ipvsadm-rs").unwrap();
    fs::write(AGENT, include_str!("../../../ipvsadm-rs/dist/ipvs.ocf")).unwrap();
    fs::set_permissions(AGENT, fs::Permissions::from_mode(0o755)).unwrap();
}
