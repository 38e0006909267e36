//! Which kernel the tests run on, and where it is found.
//!
//! `IPVS_KERNEL` says it: `6.1` (the default), `6.12` or `7.2`, each the user-mode-linux package of one Debian suite;
//! the path of a `linux` program of your own (its modules at `IPVS_KERNEL_MODULES`, or `../lib/uml/modules/RELEASE`
//! beside it); or `host`, the machine's own kernel. A program on PATH is taken when it is of the wanted series; any
//! other is fetched ([`crate::host::provision`]).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::host::provision::{self, loader, xstate};
use crate::host::qemu::Cloud;

/// A kernel series and the Debian suite that has it. Suites move on: the label stays, and the kernel is asked what
/// release it is.
#[derive(Clone, Copy, Debug)]
struct Series {
    label: &'static str,
    suite: &'static str,
}

const SERIES: [Series; 3] = [
    Series { label: "6.1", suite: "bookworm" },
    Series { label: "6.12", suite: "trixie" },
    Series { label: "7.2", suite: "sid" },
];

/// The kernel to test on.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// A user-mode-linux program.
    Program(Program),
    /// Debian's cloud kernel under QEMU.
    Cloud(Cloud),
    /// The kernel this machine runs.
    Host,
}

/// A user-mode-linux program that runs on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    /// `6.1`, or the path it was asked for by.
    pub label: String,
    /// What it calls itself.
    pub release: String,
    program: PathBuf,
    modules: PathBuf,
    /// The folder of its own C library, where the machine's is too old.
    library: Option<PathBuf>,
}

impl Kernel {
    /// The kernel that `IPVS_KERNEL` asks for; fetched when it is not there, which takes some seconds, once.
    pub fn find() -> Result<Kernel> {
        Kernel::wanted(&std::env::var("IPVS_KERNEL").unwrap_or_default())
    }

    /// The kernel that a value of `IPVS_KERNEL` asks for.
    pub fn wanted(wish: &str) -> Result<Kernel> {
        match wish {
            "host" => Ok(Kernel::Host),
            path if path.contains('/') => {
                let modules = std::env::var_os("IPVS_KERNEL_MODULES").map(PathBuf::from);
                Kernel::at_path(Path::new(path), modules.as_deref()).with_context(|| format!("IPVS_KERNEL={path}"))
            }
            label => {
                let label = if label.is_empty() { SERIES[0].label } else { label };
                let Some(series) = SERIES.iter().find(|series| series.label == label) else {
                    bail!(
                        "IPVS_KERNEL={label}: known are 6.1, 6.12, 7.2, host, and the path of a user-mode-linux program"
                    );
                };
                Program::of_series(*series).map(Kernel::Program).map_err(|error| no_kernel(*series, &error))
            }
        }
    }

    /// The user-mode-linux program at a path, and where its modules are if they are not beside it.
    pub fn at_path(program: &Path, modules: Option<&Path>) -> Result<Kernel> {
        let label = program.display().to_string();
        let program = std::path::absolute(program)?;
        let release = release(&program, None)?;
        let beside = program.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
        let modules = match modules {
            Some(folder) => std::path::absolute(folder)?,
            None => beside.join("lib/uml/modules").join(&release),
        };
        if !modules.join("modules.dep").exists() {
            bail!("no modules.dep in {}: say in IPVS_KERNEL_MODULES where the modules are", modules.display());
        }
        Ok(Kernel::Program(Program { label, release, program, modules, library: None }))
    }

    /// The folder, in the guest, with its modules and their modules.dep; those of the machine's own kernel are its own affair.
    pub fn modules(&self) -> Option<PathBuf> {
        match self {
            Kernel::Program(program) => Some(program.modules.clone()),
            Kernel::Cloud(cloud) => Some(cloud.modules()),
            Kernel::Host => None,
        }
    }
}

impl Program {
    /// A command that starts this kernel; only its arguments are missing.
    pub fn command(&self) -> Result<Command> {
        let mut command = command(&self.program, self.library.as_deref());
        if let Some(library) = xstate::preload()? {
            command.env("LD_PRELOAD", library);
        }
        Ok(command)
    }

    fn of_series(series: Series) -> Result<Program> {
        if let Some(installed) = Program::installed(series) {
            return Ok(installed);
        }
        let package = provision::unpacked(series.suite, "user-mode-linux", &["user-mode-linux"])?;
        let (mut program, mut library) = (package.join("usr/bin/linux.uml"), None);
        if !starts(&program) {
            let own = loader::with_own_library(series.suite, &program)?;
            (program, library) = (own.join("linux.uml"), Some(own));
        }
        let release = release(&program, library.as_deref())?;
        let modules = package.join("usr/lib/uml/modules").join(&release);
        Ok(Program { label: series.label.to_owned(), release, program, modules, library })
    }

    /// The kernel that Debian's package puts on PATH, if it is of this series and has its modules.
    fn installed(series: Series) -> Option<Program> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).chain([PathBuf::from("/usr/bin")]).find_map(|folder| {
            let program = folder.join("linux.uml");
            let release = program.exists().then(|| release(&program, None).ok())??;
            let modules = Path::new("/usr/lib/uml/modules").join(&release);
            let fits = release.strip_prefix(series.label).is_some_and(|rest| rest.starts_with(['.', '-']));
            (fits && modules.join("modules.dep").exists()).then(|| Program {
                label: series.label.to_owned(),
                release,
                program,
                modules,
                library: None,
            })
        })
    }
}

fn command(program: &Path, library: Option<&Path>) -> Command {
    let mut command = Command::new(program);
    if let Some(folder) = library {
        // See provision/loader.rs: its interpreter is looked for in the working directory.
        command.current_dir(folder).env("LD_LIBRARY_PATH", folder);
    }
    command
}

fn starts(program: &Path) -> bool {
    release(program, None).is_ok()
}

fn release(program: &Path, library: Option<&Path>) -> Result<String> {
    let answer = command(program, library).arg("--version").output().with_context(|| program.display().to_string())?;
    let release = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if !answer.status.success() || release.is_empty() || release.contains(char::is_whitespace) {
        bail!("{} --version: {}", program.display(), String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(release)
}

fn no_kernel(series: Series, why: &anyhow::Error) -> anyhow::Error {
    anyhow!(
        "no kernel {}: {why:#}.\nThese tests run on a user-mode-linux kernel. Debian's is fetched, without root, where \
         apt-get and dpkg are and a mirror of Debian is among the sources. Elsewhere give IPVS_KERNEL=/path/to/linux (and \
         IPVS_KERNEL_MODULES), or, as root on a machine with IPVS, IPVS_KERNEL=host.",
        series.label
    )
}

/// The series of the kernel this process runs on, such as `(6, 1)`: for tests of what only some kernels do.
pub fn running() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
