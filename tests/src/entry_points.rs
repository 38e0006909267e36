//! One executable, many parts to play, told apart by the name it is started under.
//!
//! The guest's process 1, the kernel's modprobe and the runner of tests are one file, so there is nothing to install
//! in a guest and nothing that can be of another version.

use std::process::ExitCode;

use crate::guest::{self, modules};
use crate::harness::Test;
use crate::host::qemu;
use crate::lab::container;
use crate::net::netns;
use crate::traffic::client;

/// Process 1 of a user-mode-linux guest.
pub const INIT: &str = "ipvs-lab-init";
/// On the machine's own kernel: makes the namespaces, then starts [`INIT_HERE`] in them.
pub const HERE: &str = "ipvs-lab-here";
/// Process 1 of those namespaces.
pub const INIT_HERE: &str = "ipvs-lab-init-here";
/// Process 1 of a host that is a machine of its own.
pub const CONTAINER: &str = "ipvs-lab-container";
/// Process 1 of a guest under QEMU.
pub const INIT_QEMU: &str = "ipvs-lab-init-qemu";
/// Ends QEMU when the host program ends.
pub const KEEPER: &str = "ipvs-lab-keeper";
/// What the kernel calls when it wants a module.
pub const MODPROBE: &str = "modprobe";
/// `on HOST COMMAND…`: runs a command in one of the hosts of a topology.
pub const ON: &str = "on";
/// `get http://10.1.0.100/`: a web client for machines that have none.
pub const GET: &str = "get";
/// The project's own program, under each of its names.
pub const IPVSADM: [&str; 4] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"];

/// The name this process was started under, without folders.
pub fn own_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Plays the part this process was started for, if it is one of the laboratory's; `jobs` are the functions that
/// process 1 can be asked to run. A `main` calls this before anything else.
pub fn play(jobs: &[Test]) -> Option<ExitCode> {
    match own_name().as_str() {
        INIT => Some(guest::process_one(guest::Place::Uml, jobs)),
        INIT_HERE => Some(guest::process_one(guest::Place::Here, jobs)),
        HERE => Some(guest::host_kernel::start()),
        INIT_QEMU => Some(guest::process_one(guest::Place::Qemu, jobs)),
        KEEPER => Some(qemu::keep_main()),
        CONTAINER => Some(container::main()),
        MODPROBE => Some(modules::modprobe_main()),
        ON => Some(netns::on_main()),
        GET => Some(client::get_main()),
        _ => None,
    }
}
