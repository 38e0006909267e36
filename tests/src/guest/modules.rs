//! Loads and unloads kernel modules by name or alias, with modules.dep and finit_module(2).
//!
//! kmod is not used, because it may not be installed on the machine.

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

/// Loads a module and those that it needs, by its name or by an alias such as `net-pf-16-proto-16-family-IPVS`. Does
/// nothing if it is loaded.
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
    let aliased = dependencies.with_alias(&folder, name)?;
    if aliased.is_empty() && !built_in(&folder, &wanted)? {
        bail!("this kernel has no module {name}");
    }
    aliased.iter().filter_map(|module| dependencies.line(module)).try_for_each(|line| insert(&folder, line, &loaded))
}

/// Returns the directory of the modules, or `None` on the machine's own kernel.
fn folder() -> Option<PathBuf> {
    Some(folder::path("modules")).filter(|folder| folder.exists())
}

/// Returns the names of the loaded modules.
pub fn loaded() -> io::Result<HashSet<String>> {
    let text = fs::read_to_string("/proc/modules")?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// Unloaded modules. They are loaded again when this is dropped, for the next tests in the guest.
#[derive(Debug)]
pub struct Unloaded {
    /// The modules, in the order in which they were unloaded.
    names: Vec<String>,
    /// The value of [`SYSCTL`] to restore; `None` if loading is not blocked.
    modprobe: Option<String>,
}

/// The sysctl with the path of the program that the kernel calls to load a module.
const SYSCTL: &str = "/proc/sys/kernel/modprobe";

/// Unloads a module, and before it those that use it. Fails on the machine's own kernel, because other programs need
/// it.
pub fn unload(name: &str) -> Result<Unloaded> {
    ensure!(folder().is_some(), "cannot unload {name}: this is the machine's own kernel");
    let mut unloaded = Unloaded { names: Vec::new(), modprobe: None };
    unloaded.unload(&normal(name))?;
    Ok(unloaded)
}

/// Unloads modules, except those that are not loaded, so that a test can check that they are loaded on request. Does
/// nothing on the machine's own kernel.
pub fn unload_loaded(names: &[&str]) -> Result<Vec<Unloaded>> {
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
        // The kernel removes namespaces of earlier tests, which use modules, some time after their last process.
        wait::until(Duration::from_secs(60), || match rustix::system::delete_module(&in_c, libc::O_NONBLOCK) {
            Err(errno @ (rustix::io::Errno::AGAIN | rustix::io::Errno::BUSY)) => Err(format!("{name}: {errno}")),
            other => Ok(other),
        })
        .with_context(|| format!("unload {name}"))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Prevents the kernel from loading any module on request, until this is dropped.
    pub fn block_loading(mut self) -> Result<Unloaded> {
        self.modprobe = Some(fs::read_to_string(SYSCTL)?);
        fs::write(SYSCTL, "\n")?;
        Ok(self)
    }

    /// Loads the modules again.
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
            eprintln!("cannot load an unloaded module again: {error:#}");
        }
    }
}

/// Returns the modules that use a module.
fn users(name: &str) -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/modules")?;
    // `ip_vs 200704 2 ip_vs_wrr,ip_vs_rr, Live 0x…`
    let line = text.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|words| words[0] == name);
    let users = line.and_then(|words| words.get(3).copied()).unwrap_or_default();
    Ok(users.split(',').filter(|user| !user.is_empty() && *user != "-").map(str::to_owned).collect())
}

/// Runs as `modprobe [-q] [--] NAME`, as the kernel and the reference call it.
pub fn modprobe_main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for name in &names {
        if load(name).is_err() {
            // Not reported, because the kernel requests many modules that do not exist (`net-pf-…`).
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// modules.dep: one line for each module, `PATH: PATH…` with the modules that it needs.
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

    /// Returns the modules with an alias. Patterns are skipped, since the kernel's own requests match literally.
    fn with_alias(&self, folder: &Path, alias: &str) -> Result<Vec<String>> {
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

/// Loads the modules of one line of modules.dep, the needed ones first.
fn insert(folder: &Path, line: &str, loaded: &HashSet<String>) -> Result<()> {
    let (path, needs) = line.split_once(':').expect("found by its colon");
    // depmod lists a needed module before those that it needs itself.
    for path in needs.split_ascii_whitespace().rev().chain([path]) {
        // The kernel would return EEXIST, too, but only after it has read the whole file.
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
