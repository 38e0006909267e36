//! Runs many lines with the reference and with our program, each in a network namespace with the same table. A new pair
//! of namespaces for each line would take too long.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_sys::uapi::{Command as NetlinkCommand, CommandAttrs, IP_VS_SVC_F_HASHED, ServiceAttrs};
use ipvs_sys::{Request, Socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::run;
use super::shell::Outcome;
use super::table::{dump, table};
use crate::command::{memory_file, run_raw};
use crate::host::reference::Ipvsadm;
use crate::net::netns::Netns;

/// Directory for copies of the programs. On a tmpfs, because they are started thousands of times.
const FOLDER: &str = "/run/pair";
const LIMIT: Duration = Duration::from_secs(30);

/// The two programs, each in its namespace.
#[derive(Debug)]
pub struct Pair {
    reference: Half,
    ours: Half,
}

#[derive(Debug)]
struct Half {
    program: PathBuf,
    /// The directory of libraries that only this program needs; `None` if it needs none.
    libraries: Option<PathBuf>,
    netns: Netns,
    socket: Socket,
}

/// One of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Debian's 1.31.
    Reference,
    /// This project's.
    Ours,
}

/// The saved table of a namespace: the requests that restore it.
#[derive(Clone, Debug, Default)]
pub struct SavedTable {
    requests: Vec<Request>,
    daemons: Vec<CommandAttrs>,
}

impl Pair {
    /// Makes two empty namespaces. `ours` is the path of our program; host and service names are those of
    /// `tests/names`.
    pub fn new(ours: impl AsRef<Path>) -> Result<Pair> {
        run::write_names()?;
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder.join("reference"))?;
        fs::create_dir_all(folder.join("ours"))?;
        let reference = Ipvsadm::get();
        let libraries = folder.join("libraries");
        fs::create_dir_all(&libraries)?;
        for from in reference.library_path.split(':').map(Path::new).filter(|from| from.exists()) {
            for library in fs::read_dir(from)?.flatten().filter(|entry| entry.path().is_file()) {
                fs::copy(library.path(), libraries.join(library.file_name()))?;
            }
        }
        fs::copy(reference.dir.join("ipvsadm"), folder.join("reference/ipvsadm"))?;
        fs::copy(ours, folder.join("ours/ipvsadm"))?;
        Ok(Pair { reference: Half::new("reference", Some(libraries))?, ours: Half::new("ours", None)? })
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Reference => &mut self.reference,
            Side::Ours => &mut self.ours,
        }
    }

    /// Runs `ipvsadm` with these arguments and this standard input.
    pub fn run<W: AsRef<[u8]>>(&mut self, side: Side, words: &[W], input: &[u8]) -> Result<Outcome> {
        let half = self.half(side);
        half.enter()?;
        let mut command = Command::new(&half.program);
        command.arg0("ipvsadm").args(words.iter().map(|word| OsStr::from_bytes(word.as_ref())));
        if let Some(libraries) = &half.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let stdin = if input.is_empty() { Stdio::null() } else { memory_file(input)?.into() };
        let outcome = Outcome::of(&run_raw(&mut command, stdin, None, LIMIT)?);
        if words.iter().any(|word| word.as_ref().starts_with(b"--start-daemon")) {
            run::wait_for_sync_threads()?;
        }
        Ok(outcome)
    }

    /// Returns the table of one namespace as text.
    pub fn table(&mut self, side: Side) -> Result<String> {
        let half = self.half(side);
        half.enter()?;
        table(&mut half.socket)
    }

    /// Saves the table of one namespace, to restore it later or in the other namespace.
    pub fn save_table(&mut self, side: Side) -> Result<SavedTable> {
        let socket = &mut self.half(side).socket;
        let mut requests = Vec::new();
        for service in dump(socket, NetlinkCommand::GetService, None)? {
            let mut service = service.service.context("a service without attributes")?;
            (service.stats, service.stats64) = (None, None);
            if let Some(flags) = &mut service.flags {
                // Set by the kernel, which does not add a new service with this flag to its hash table:
                // `ip_vs_svc_hash` in https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c
                flags.flags &= !IP_VS_SVC_F_HASHED;
                flags.mask = u32::MAX;
            }
            requests.push(request(NetlinkCommand::NewService, Some(service.clone()), CommandAttrs::default()));
            // The kernel lists the newest first.
            for server in dump(socket, NetlinkCommand::GetDest, Some(service.clone()))?.into_iter().rev() {
                requests.push(request(NetlinkCommand::NewDest, Some(service.clone()), server));
            }
        }
        let timeouts: CommandAttrs = socket.get(&Request::new(NetlinkCommand::GetConfig))?;
        requests.push(request(NetlinkCommand::SetConfig, None, timeouts));
        Ok(SavedTable { requests, daemons: dump(socket, NetlinkCommand::GetDaemon, None)? })
    }

    /// Restores a saved table in one namespace.
    pub fn restore_table(&mut self, side: Side, saved: &SavedTable) -> Result<()> {
        let socket = &mut self.half(side).socket;
        submit(socket, [Request::new(NetlinkCommand::Flush)])?;
        submit(socket, saved.requests.iter().cloned())?;
        let running = dump(socket, NetlinkCommand::GetDaemon, None)?;
        if running == saved.daemons {
            return Ok(());
        }
        // Stopping a master takes up to a second.
        submit(socket, running.into_iter().map(|daemon| request(NetlinkCommand::DelDaemon, None, daemon)))?;
        submit(socket, saved.daemons.iter().map(|daemon| request(NetlinkCommand::NewDaemon, None, daemon.clone())))?;
        run::wait_for_sync_threads()
    }
}

impl Half {
    fn new(name: &str, libraries: Option<PathBuf>) -> Result<Half> {
        let netns = Netns::new(name)?;
        let socket = netns.enter(Socket::open)?;
        Ok(Half { program: Path::new(FOLDER).join(name).join("ipvsadm"), libraries, netns, socket })
    }

    /// Moves the calling thread into the namespace; programs it starts inherit it.
    fn enter(&self) -> Result<()> {
        Ok(move_into_link_name_space(self.netns.fd(), Some(LinkNameSpaceType::Network))?)
    }
}

fn request(command: NetlinkCommand, service: Option<ServiceAttrs>, rest: CommandAttrs) -> Request {
    Request { command, attributes: CommandAttrs { service, ..rest } }
}

fn submit(socket: &mut Socket, requests: impl IntoIterator<Item = Request>) -> Result<()> {
    let refused = socket.submit(requests)?;
    ensure!(refused.is_empty(), "the kernel refused requests made from its own listing: {refused:?}");
    Ok(())
}
