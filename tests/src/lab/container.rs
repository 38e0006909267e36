//! Containers: hosts with their own network, processes, mounts, host name and shared memory, and with some directories
//! of their own, such as /run.
//!
//! They are for programs that run once on each machine and talk to their peers on other machines, such as cluster
//! managers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, wait};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::guest::folder;
use crate::lab::topology::Host;

/// The name under which process 1 of a container is started.
pub const INIT: &str = "ipvs-lab-container";

/// Directories that every container has for itself.
const FOLDERS: [&str; 3] = ["/run", "/dev/shm", "/var/log"];

/// A running container. All its processes are killed when it is dropped.
#[derive(Debug)]
pub struct Container<'a> {
    host: &'a Host,
    init: Child,
    process: OwnedFd,
}

impl<'a> Container<'a> {
    /// Starts a container that has `folders` for itself, in addition to /run, /dev/shm and /var/log. They contain the
    /// same sub-directories as outside, but no files.
    pub fn start(host: &'a Host, folders: &[&str]) -> Result<Container<'a>> {
        let make = || -> Result<Child> {
            let apart = UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
            // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is
            // not set.
            unsafe { unshare_unsafe(apart) }?;
            // The first child is process 1 of the new PID namespace.
            let mut init = Command::new(folder::path("exe"));
            init.arg0(INIT).arg(host.name()).args(FOLDERS).args(folders);
            Ok(init.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn()?)
        };
        let mut init = host.enter(make).with_context(|| format!("container {}", host.name()))?;
        let mut line = String::new();
        BufReader::new(init.stdout.take().expect("piped")).read_line(&mut line)?;
        ensure!(line == "ready\n", "container {}: {line}", host.name());
        let process = pidfd_open(Pid::from_child(&init), PidfdFlags::empty())?;
        Ok(Container { host, init, process })
    }

    /// Returns the host whose network namespace it shares.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Runs a function on a thread inside the container. Programs that it starts run there, too.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.host.enter(|| {
            // setns refuses a mount namespace to a thread that shares root and working directory. setns(2)
            // SAFETY: of the flags of unshare, only `FILES` (which unshares the file descriptor table) is unsafe. It is
            // not set.
            unsafe { unshare_unsafe(UnshareFlags::FS) }.expect("unshare");
            let all = ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
                | ThreadNameSpaceType::PROCESS_ID;
            move_into_thread_name_spaces(self.process.as_fd(), all).expect("setns");
            inside()
        })
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // When process 1 ends, the kernel kills all others of its PID namespace.
        let _ = self.init.kill();
        let _ = self.init.wait();
    }
}

/// Runs as process 1 of a container.
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    if let Err(error) = prepare(&name, words) {
        println!("{error:#}");
        return ExitCode::FAILURE;
    }
    println!("ready");
    // Orphans become children of process 1.
    loop {
        if wait(WaitOptions::empty()).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

fn prepare(name: &str, folders: impl Iterator<Item = String>) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let none = MountFlags::empty;
    mount("proc", "/proc", "proc", none(), None).context("mount /proc")?;
    mount("sysfs", "/sys", "sysfs", none(), None).context("mount /sys")?;
    rustix::system::sethostname(name.as_bytes())?;
    let (exe, modules) = folder::links()?;
    for folder in folders {
        make_private(Path::new(&folder)).with_context(|| folder.clone())?;
    }
    folder::fill(&exe, modules.as_deref())
}

/// Mounts an empty directory over one, with the same sub-directories, owners and modes.
fn make_private(folder: &Path) -> Result<()> {
    let mut found = Vec::new();
    sub_folders(folder, &mut found)?;
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), None)?;
    for (path, metadata) in found {
        fs::create_dir_all(&path)?;
        std::os::unix::fs::chown(&path, Some(metadata.uid()), Some(metadata.gid()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(metadata.mode()))?;
    }
    Ok(())
}

/// Lists a directory and those in it, each after its parent.
fn sub_folders(folder: &Path, found: &mut Vec<(PathBuf, fs::Metadata)>) -> Result<()> {
    found.push((folder.to_owned(), fs::metadata(folder)?));
    // A directory of another user may not be readable.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type()?.is_dir() && entry.file_name() != "netns" && entry.file_name() != "ipvs-lab" {
            sub_folders(&entry.path(), found)?;
        }
    }
    Ok(())
}
