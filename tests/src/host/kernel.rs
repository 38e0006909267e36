//! Finds the kernel that the tests run on.
//!
//! `IPVS_KERNEL` selects it:
//!
//! | value | kernel |
//! |---|---|
//! | `6.1` (default), `6.12`, `7.2` | the user-mode-linux package of one Debian suite: a `linux.uml` on PATH of that series, or else a fetched one ([`crate::host::provision`]) |
//! | a path | your own user-mode-linux program; its modules are in `IPVS_KERNEL_MODULES`, or in `../lib/uml/modules/RELEASE` relative to its directory |
//! | `host` | the machine's own kernel |

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::host::provision::{self, loader, xstate};
use crate::host::qemu::Cloud;

/// A kernel series and the Debian suite that has it. A suite may get a newer series later; `--version` of the program
/// prints the actual release.
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
    /// The machine's own kernel.
    Host,
}

/// A user-mode-linux program that runs on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    /// The series, or the path of the program.
    pub label: String,
    /// The release that `--version` prints.
    pub release: String,
    program: PathBuf,
    modules: PathBuf,
    /// The directory of a C library for it; `None` if the machine's library is new enough.
    library: Option<PathBuf>,
}

impl Kernel {
    /// Finds the kernel of `IPVS_KERNEL`. Fetches it if it is not on this machine, which takes some seconds.
    pub fn find() -> Result<Kernel> {
        Kernel::select(&std::env::var("IPVS_KERNEL").unwrap_or_default())
    }

    /// Finds the kernel for a value of `IPVS_KERNEL`.
    pub fn select(value: &str) -> Result<Kernel> {
        match value {
            "host" => Ok(Kernel::Host),
            path if path.contains('/') => {
                let modules = std::env::var_os("IPVS_KERNEL_MODULES").map(PathBuf::from);
                Kernel::at_path(Path::new(path), modules.as_deref()).with_context(|| format!("IPVS_KERNEL={path}"))
            }
            label => {
                let label = if label.is_empty() { SERIES[0].label } else { label };
                let Some(series) = SERIES.iter().find(|series| series.label == label) else {
                    bail!(
                        "IPVS_KERNEL={label}: must be 6.1, 6.12, 7.2, host, or the path of a user-mode-linux program"
                    );
                };
                Program::of_series(*series).map(Kernel::Program).map_err(|error| no_kernel(*series, &error))
            }
        }
    }

    /// Returns the user-mode-linux program at a path. Without `modules`, they are in `../lib/uml/modules/RELEASE`.
    pub fn at_path(program: &Path, modules: Option<&Path>) -> Result<Kernel> {
        let label = program.display().to_string();
        let program = std::path::absolute(program)?;
        let release = release(&program, None)?;
        let prefix = program.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
        let modules = match modules {
            Some(folder) => std::path::absolute(folder)?,
            None => prefix.join("lib/uml/modules").join(&release),
        };
        if !modules.join("modules.dep").exists() {
            bail!("no modules.dep in {}\nSet IPVS_KERNEL_MODULES to the directory of the modules.", modules.display());
        }
        Ok(Kernel::Program(Program { label, release, program, modules, library: None }))
    }

    /// Returns the directory of its modules and modules.dep in the guest; `None` for the machine's own kernel.
    pub fn modules(&self) -> Option<PathBuf> {
        match self {
            Kernel::Program(program) => Some(program.modules.clone()),
            Kernel::Cloud(cloud) => Some(cloud.modules()),
            Kernel::Host => None,
        }
    }
}

impl Program {
    /// Returns a command that starts this kernel, without arguments.
    pub fn command(&self) -> Result<Command> {
        let mut command = command(&self.program, self.library.as_deref());
        if let Some(library) = xstate::library_to_preload()? {
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
        if !can_run(&program) {
            let own = loader::with_own_library(series.suite, &program)?;
            (program, library) = (own.join("linux.uml"), Some(own));
        }
        let release = release(&program, library.as_deref())?;
        let modules = package.join("usr/lib/uml/modules").join(&release);
        Ok(Program { label: series.label.to_owned(), release, program, modules, library })
    }

    /// Returns the kernel of the installed package. Returns `None` if it is of another series or its modules do not
    /// exist.
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
        // The kernel looks for its dynamic loader in the working directory: see provision/loader.rs.
        command.current_dir(folder).env("LD_LIBRARY_PATH", folder);
    }
    command
}

fn can_run(program: &Path) -> bool {
    release(program, None).is_ok()
}

fn release(program: &Path, library: Option<&Path>) -> Result<String> {
    let output = command(program, library).arg("--version").output().with_context(|| program.display().to_string())?;
    let release = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || release.is_empty() || release.contains(char::is_whitespace) {
        bail!("{} --version: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(release)
}

fn no_kernel(series: Series, why: &anyhow::Error) -> anyhow::Error {
    anyhow!(
        "no kernel {}: {why:#}.\nThese tests run on a user-mode-linux kernel. On a machine with apt-get, dpkg and a mirror \
         of Debian among its sources, Debian's is fetched, without root. Otherwise set IPVS_KERNEL=/path/to/linux (and \
         IPVS_KERNEL_MODULES); or, as root on a machine with IPVS, IPVS_KERNEL=host.",
        series.label
    )
}

/// Returns the series of the kernel that runs this process, such as `(6, 1)`, for tests that depend on it.
pub fn running() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
