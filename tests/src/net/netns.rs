//! Named network namespaces, all used from one process.
//!
//! The kernel sets the namespace of each thread. [`Netns::enter`] runs a function on a new thread inside. Sockets that
//! it opens and programs that it starts stay inside. Each namespace is also in /run/netns, for `ip netns`.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::net::rtnl::Socket;

/// The name of the program `on HOST COMMAND…`, which runs a command on a host of a lab.
pub const ON: &str = "on";

const FOLDER: &str = "/run/netns";
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
    file: Arc<File>,
}

impl Netns {
    /// Makes a namespace. lo is up; reverse path filters and duplicate address detection are off.
    pub fn new(name: &str) -> Result<Netns> {
        let made = std::thread::scope(|scope| {
            let make = || -> Result<File> {
                // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe.
                // It is not set.
                unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
                Socket::open()?.set_up("lo")?;
                for interfaces in ["all", "default"] {
                    // The maximum of `all` and the interface's own value applies.
                    sysctl(&format!("net/ipv4/conf/{interfaces}/rp_filter"), "0")?;
                }
                sysctl("net/ipv6/conf/default/accept_dad", "0")?;
                fs::create_dir_all(FOLDER)?;
                let path = format!("{FOLDER}/{name}");
                // An earlier lab of this test may have had a namespace of that name.
                let _ = unmount(&path, UnmountFlags::DETACH);
                File::create(&path)?;
                mount_bind(OWN, &path)?;
                Ok(File::open(OWN)?)
            };
            scope.spawn(make).join().expect("the thread returns its errors")
        });
        let file = Arc::new(made.with_context(|| format!("network namespace {name}"))?);
        Ok(Netns { name: name.to_owned(), file })
    }

    /// Returns the namespace of the calling thread.
    pub fn own(name: &str) -> Result<Netns> {
        Ok(Netns { name: name.to_owned(), file: Arc::new(File::open(OWN)?) })
    }

    /// Returns its name, as in /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a function inside and waits for it. A panic of the function is passed on.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let run = || {
                move_into_link_name_space(self.fd(), Some(LinkNameSpaceType::Network)).expect("setns");
                inside()
            };
            let thread = std::thread::Builder::new().name(self.name.clone()).spawn_scoped(scope, run);
            thread.expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Returns its file descriptor, for system calls and rtnetlink.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Sets a sysctl, named by its path below /proc/sys, in the namespace of the calling thread.
pub fn sysctl(path: &str, value: &str) -> Result<()> {
    fs::write(format!("/proc/sys/{path}"), value).with_context(|| format!("{path} = {value}"))
}

/// Runs as `on HOST COMMAND…`.
pub fn on_main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(host), Some(program)) = (words.next(), words.next()) else {
        eprintln!("usage: on HOST COMMAND…\nRuns a command on another host of this lab.");
        return ExitCode::FAILURE;
    };
    let host = host.to_string_lossy();
    let known = hosts();
    if !known.iter().any(|name| *name == host) {
        eprintln!("on: no host {host}\nThe hosts are {}.", known.join(", "));
        return ExitCode::FAILURE;
    }
    let entered = File::open(format!("{FOLDER}/{host}"))
        .and_then(|file| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?));
    let error = match entered {
        Ok(()) => Command::new(&program).args(words).exec(),
        Err(error) => error,
    };
    eprintln!("on {host} {}: {error}", program.display());
    ExitCode::FAILURE
}

/// Returns the names of all hosts, sorted.
fn hosts() -> Vec<String> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
