//! Kernel modules by name or alias, without a kmod program: modules.dep says what a module needs, finit_module loads it.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::command::run_command;
use crate::guest::folder;
use crate::wait;

/// Loads a module and what it needs, by its name or by an alias such as `net-pf-16-proto-16-family-IPVS`; nothing
/// happens when it is there already.
pub fn load(name: &str) -> Result<()> {
    let wanted = normal(name);
    let loaded = loaded()?;
    if loaded.contains(&wanted) {
        return Ok(());
    }
    let Some(folder) = folder() else {
        let ran = run_command(Command::new("modprobe").arg(name), Duration::from_secs(30))?;
        ensure!(ran.code == Some(0), "{ran}");
        return Ok(());
    };
    let dependencies = Dependencies::read(&folder)?;
    if let Some(line) = dependencies.line(&wanted) {
        return insert(&folder, line, &loaded);
    }
    let aliased = dependencies.named_by(&folder, name)?;
    if aliased.is_empty() && !built_in(&folder, &wanted)? {
        bail!("no module {name} for this kernel");
    }
    aliased.iter().filter_map(|module| dependencies.line(module)).try_for_each(|line| insert(&folder, line, &loaded))
}

/// Where the modules are; nowhere, if this is the machine's own kernel.
fn folder() -> Option<PathBuf> {
    Some(folder::path("modules")).filter(|folder| folder.exists())
}

/// The names of the modules that are loaded.
pub fn loaded() -> io::Result<HashSet<String>> {
    let text = fs::read_to_string("/proc/modules")?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// Modules that are away. They come back when this is dropped, for those who share the guest.
#[derive(Debug)]
pub struct Unloaded {
    /// In the order in which they went.
    names: Vec<String>,
    /// The program that the kernel called, if it calls none now.
    modprobe: Option<String>,
}

/// Holds the path of the program that the kernel calls to load a module.
const SYSCTL: &str = "/proc/sys/kernel/modprobe";

/// Unloads a module, those that use it first. Only in a guest: the machine's own kernel serves others, too.
pub fn unload(name: &str) -> Result<Unloaded> {
    ensure!(folder().is_some(), "this is the machine's own kernel: {name} stays");
    let mut unloaded = Unloaded { names: Vec::new(), modprobe: None };
    unloaded.unload(&normal(name))?;
    Ok(unloaded)
}

/// Unloads those of some modules that are loaded: whoever wants one has to load it. The machine's own kernel keeps them.
pub fn unload_those(names: &[&str]) -> Result<Vec<Unloaded>> {
    let mut unloaded = Vec::new();
    for name in names {
        if folder().is_some() && loaded()?.contains(&normal(name)) {
            unloaded.push(unload(name)?);
        }
    }
    Ok(unloaded)
}

impl Unloaded {
    fn unload(&mut self, name: &str) -> Result<()> {
        for user in users(name)? {
            self.unload(&user)?;
        }
        let in_c = CString::new(name)?;
        // The namespaces of an earlier test, with what holds modules, go some time after its last process.
        wait::until(Duration::from_secs(10), || match rustix::system::delete_module(&in_c, libc::O_NONBLOCK) {
            Err(errno @ (rustix::io::Errno::AGAIN | rustix::io::Errno::BUSY)) => Err(format!("{name}: {errno}")),
            other => Ok(other),
        })
        .with_context(|| format!("unload {name}"))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Keeps the kernel from loading them, or any other, when it wants one.
    pub fn for_good(mut self) -> Result<Unloaded> {
        self.modprobe = Some(fs::read_to_string(SYSCTL)?);
        fs::write(SYSCTL, "\n")?;
        Ok(self)
    }

    /// Loads them again.
    pub fn load(&self) -> Result<()> {
        if let Some(modprobe) = &self.modprobe {
            fs::write(SYSCTL, modprobe)?;
        }
        self.names.iter().rev().try_for_each(|name| load(name))
    }
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        if let Err(error) = self.load() {
            eprintln!("a module that was unloaded stays away: {error:#}");
        }
    }
}

/// The modules that use a module.
fn users(name: &str) -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/modules")?;
    // `ip_vs 200704 2 ip_vs_wrr,ip_vs_rr, Live 0x…`
    let line = text.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[0] == name);
    let users = line.and_then(|words| words.get(3).copied()).unwrap_or_default();
    Ok(users.split(',').filter(|user| !user.is_empty() && *user != "-").map(str::to_owned).collect())
}

/// The main function of `modprobe [-q] [--] NAME`, as the kernel calls it, and ipvsadm.
pub fn modprobe_main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for name in &names {
        if load(name).is_err() {
            // In silence: the kernel asks for many a name that nobody has (`ip_vs_nonesuch`, `net-pf-…`).
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// modules.dep: one line per module, `path: path of what it needs …`.
struct Dependencies {
    text: String,
}

impl Dependencies {
    fn read(folder: &Path) -> Result<Dependencies> {
        let path = folder.join("modules.dep");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Dependencies { text })
    }

    fn line(&self, module: &str) -> Option<&str> {
        self.text.lines().find(|line| line.split_once(':').is_some_and(|(path, _)| normal(stem(path)) == module))
    }

    /// The modules that carry an alias. The kernel's own requests are always literal, so patterns are passed over.
    fn named_by(&self, folder: &Path, alias: &str) -> Result<Vec<String>> {
        let text = fs::read_to_string(folder.join("modules.alias"))?;
        let wanted = normal(alias);
        let of_line = |line: &str| {
            let (name, module) = line.strip_prefix("alias ")?.rsplit_once(' ')?;
            (normal(name) == wanted).then(|| normal(module))
        };
        Ok(text.lines().filter_map(of_line).collect())
    }
}

fn built_in(folder: &Path, module: &str) -> Result<bool> {
    let text = fs::read_to_string(folder.join("modules.builtin"))?;
    Ok(text.lines().any(|path| normal(stem(path)) == module))
}

/// Loads the modules of one line of modules.dep, what is needed first.
fn insert(folder: &Path, line: &str, loaded: &HashSet<String>) -> Result<()> {
    let (path, needs) = line.split_once(':').expect("found by its colon");
    // depmod writes the needs of a module so that each comes before its own needs.
    for path in needs.split_ascii_whitespace().rev().chain([path]) {
        // The kernel would say so too, but reads all of the file first.
        if loaded.contains(&normal(stem(path))) {
            continue;
        }
        let file = fs::File::open(folder.join(path)).with_context(|| path.to_owned())?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(io::Error::from(errno)).with_context(|| path.to_owned()),
        }
    }
    Ok(())
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".ko").unwrap_or(name)
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}
