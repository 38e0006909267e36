//! The guest of the demo, and the programs in it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::command::install;
use crate::guest::folder;
use crate::host::kernel::Kernel;
use crate::host::reference::Ipvsadm;
use crate::host::uml::{Boot, Guest};
use crate::net::netns::ON;
use crate::traffic::client::GET;

/// The names under which the project's own program is installed.
pub(super) const IPVSADM: [&str; 4] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"];

/// Variable with the path of an ipvsadm to use in place of this project's, or `reference`.
const UNDER_TEST: &str = "IPVSADM_UNDER_TEST";

/// Boots the guest.
pub(super) fn boot(boot: Boot) -> Result<Guest> {
    let kernel = Kernel::find()?;
    let reference = std::env::var(UNDER_TEST).is_ok_and(|value| value == "reference");
    let guest = Guest::boot(&kernel, &Boot { reference, ..boot })?;
    eprintln!("Linux {} runs as a process of your user.", guest.release());
    Ok(guest)
}

/// Installs ipvsadm and its companions in /usr/sbin, and `on` and `get` in /usr/local/bin.
pub(super) fn install_programs() -> Result<()> {
    let ours = folder::path("exe");
    install(&ours, Path::new("/usr/local/bin").join(ON))?;
    install(&ours, Path::new("/usr/local/bin").join(GET))?;
    match std::env::var(UNDER_TEST).as_deref() {
        Ok("reference") => Ipvsadm::get().install(),
        Ok(path) => {
            let folder = Path::new(path).parent().context("IPVSADM_UNDER_TEST must be a path")?;
            install(path, "/usr/sbin/ipvsadm")?;
            ["ipvsadm-save", "ipvsadm-restore"]
                .iter()
                .filter(|name| folder.join(name).exists())
                .try_for_each(|name| install(folder.join(name), Path::new("/usr/sbin").join(name)))
        }
        Err(_) => IPVSADM.iter().try_for_each(|name| install(&ours, Path::new("/usr/sbin").join(name))),
    }
}
