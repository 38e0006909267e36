//! The main functions of this executable, chosen by the name it is started under.
//!
//! The guest's process 1, the kernel's modprobe and the runner of tests are one file: nothing has to be installed in a
//! guest, and nothing in it can be of another version.

use std::process::ExitCode;

use crate::guest::{self, Place, folder, host_kernel, modules};
use crate::harness::Test;
use crate::host::qemu;
use crate::lab::container;
use crate::net::netns;
use crate::traffic::client;

/// A main function; it gets the functions that process 1 can be asked to run.
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

/// Returns the name this process was started under, without folders.
pub fn own_name() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs the main function of the name this process was started under. Returns `None` if the name is not in the table:
/// then this is the host program. A `main` calls this before anything else.
pub fn run(jobs: &[Test]) -> Option<ExitCode> {
    let own_name = own_name();
    TABLE.iter().find(|(name, _)| *name == own_name).map(|(_, main)| main(jobs))
}
