//! The main functions of this executable, chosen by the name it is started under.
//!
//! The guest's process 1, the kernel's modprobe and the runner of tests are one file. So nothing has to be installed in
//! a guest, and all parts have the same version.

use std::process::ExitCode;

use crate::guest::{self, Place, folder, host_kernel, modules};
use crate::harness::Test;
use crate::host::qemu;
use crate::lab::container;
use crate::net::netns;
use crate::traffic::client;

/// A main function. Its argument is the list of jobs that process 1 can run.
type Main = fn(&[Test]) -> ExitCode;

/// Each name, and the main function that runs under it.
const TABLE: [(&str, Main); 9] = [
    (guest::INIT_UML, |jobs| guest::process_one(Place::Uml, jobs)),
    (guest::INIT_QEMU, |jobs| guest::process_one(Place::Qemu, jobs)),
    (host_kernel::INIT, |jobs| guest::process_one(Place::Host, jobs)),
    (host_kernel::START, |_| host_kernel::start()),
    (folder::MODPROBE, |_| modules::modprobe_main()),
    (container::INIT, |_| container::main()),
    (netns::ON, |_| netns::on_main()),
    (client::GET, |_| client::get_main()),
    (qemu::KEEPER, |_| qemu::keep_main()),
];

/// Returns the name this process was started under, without directories.
pub fn own_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs the main function for the name this process was started under. Returns `None` in the host program, whose name
/// is not in the table. A `main` must call this before anything else.
pub fn run(jobs: &[Test]) -> Option<ExitCode> {
    let own_name = own_name();
    TABLE.iter().find(|(name, _)| *name == own_name).map(|(_, main)| main(jobs))
}
