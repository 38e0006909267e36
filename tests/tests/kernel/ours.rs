//! This project's programs, as cargo built them for these tests.

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
