//! The reference and ours side by side, each in a network namespace of its own that holds the same: for many lines, one
//! after the other, where a fresh pair of namespaces for each would take too long.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_sys::uapi::{Command as Ask, CommandAttrs, IP_VS_SVC_F_HASHED, ServiceAttrs};
use ipvs_sys::{Request, Socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::run;
use super::shell::Outcome;
use super::table::{dump, table};
use crate::command::{holding, run_raw};
use crate::host::reference::Ipvsadm;
use crate::net::netns::Netns;

/// Copies of the programs, in memory: they are started thousands of times.
const FOLDER: &str = "/run/pair";
const LIMIT: Duration = Duration::from_secs(5);

/// Two programs, two namespaces.
#[derive(Debug)]
pub struct Pair {
    reference: Half,
    ours: Half,
}

#[derive(Debug)]
struct Half {
    program: PathBuf,
    /// Where the libraries are that only it has.
    libraries: Option<PathBuf>,
    netns: Netns,
    connection: Socket,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Debian's 1.31.
    Reference,
    /// This project's.
    Ours,
}

/// What a namespace holds, as requests that make it so.
#[derive(Clone, Debug, Default)]
pub struct Held {
    requests: Vec<Request>,
    daemons: Vec<CommandAttrs>,
}

impl Pair {
    /// Two empty namespaces; `ours` is the path of our program. Names are those of `tests/names`.
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

    fn half(&mut self, who: Who) -> &mut Half {
        match who {
            Who::Reference => &mut self.reference,
            Who::Ours => &mut self.ours,
        }
    }

    /// Runs `ipvsadm` with these words and this input.
    pub fn run<W: AsRef<[u8]>>(&mut self, who: Who, words: &[W], input: &[u8]) -> Result<Outcome> {
        let half = self.half(who);
        half.enter()?;
        let mut command = Command::new(&half.program);
        command.arg0("ipvsadm").args(words.iter().map(|word| OsStr::from_bytes(word.as_ref())));
        if let Some(libraries) = &half.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let stdin = if input.is_empty() { Stdio::null() } else { holding(input)?.into() };
        let outcome = Outcome::of(&run_raw(&mut command, stdin, None, LIMIT)?);
        if words.iter().any(|word| word.as_ref().starts_with(b"--start-daemon")) {
            run::settled()?;
        }
        Ok(outcome)
    }

    /// What it holds, as text.
    pub fn table(&mut self, who: Who) -> Result<String> {
        let half = self.half(who);
        half.enter()?;
        table(&mut half.connection)
    }

    /// What it holds, to be held again later, or by the other.
    pub fn held(&mut self, who: Who) -> Result<Held> {
        let connection = &mut self.half(who).connection;
        let mut requests = Vec::new();
        for service in dump(connection, Ask::GetService, None)? {
            let mut service = service.service.context("a service without attributes")?;
            (service.stats, service.stats64) = (None, None);
            if let Some(flags) = &mut service.flags {
                // The kernel's own: a service that has it is taken for one that is there already.
                flags.flags &= !IP_VS_SVC_F_HASHED;
                flags.mask = u32::MAX;
            }
            requests.push(request(Ask::NewService, Some(service.clone()), CommandAttrs::default()));
            // The kernel tells the newest first.
            for server in dump(connection, Ask::GetDest, Some(service.clone()))?.into_iter().rev() {
                requests.push(request(Ask::NewDest, Some(service.clone()), server));
            }
        }
        let timeouts: CommandAttrs = connection.get(&Request::new(Ask::GetConfig))?;
        requests.push(request(Ask::SetConfig, None, timeouts));
        Ok(Held { requests, daemons: dump(connection, Ask::GetDaemon, None)? })
    }

    /// Makes it hold that, and nothing else.
    pub fn hold(&mut self, who: Who, held: &Held) -> Result<()> {
        let connection = &mut self.half(who).connection;
        submit(connection, [Request::new(Ask::Flush)])?;
        submit(connection, held.requests.iter().cloned())?;
        let running = dump(connection, Ask::GetDaemon, None)?;
        if running == held.daemons {
            return Ok(());
        }
        // To stop a master takes up to a second.
        submit(connection, running.into_iter().map(|daemon| request(Ask::DelDaemon, None, daemon)))?;
        submit(connection, held.daemons.iter().map(|daemon| request(Ask::NewDaemon, None, daemon.clone())))?;
        run::settled()
    }
}

impl Half {
    fn new(name: &str, libraries: Option<PathBuf>) -> Result<Half> {
        let netns = Netns::new(name)?;
        let connection = netns.enter(Socket::open)?;
        Ok(Half { program: Path::new(FOLDER).join(name).join("ipvsadm"), libraries, netns, connection })
    }

    /// Moves the calling thread here: a program starts where the thread is that starts it.
    fn enter(&self) -> Result<()> {
        Ok(move_into_link_name_space(self.netns.fd(), Some(LinkNameSpaceType::Network))?)
    }
}

fn request(command: Ask, service: Option<ServiceAttrs>, rest: CommandAttrs) -> Request {
    Request { command, attributes: CommandAttrs { service, ..rest } }
}

fn submit(connection: &mut Socket, requests: impl IntoIterator<Item = Request>) -> Result<()> {
    let refused = connection.submit(requests)?;
    ensure!(refused.is_empty(), "the kernel does not take back what it told: {refused:?}");
    Ok(())
}
