//! The three programs. They are built on the host, and found in the guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ipvs_tests::host::reference::Ipvsadm;

/// One of the three programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    Reference,
    Floor,
    Ours,
}

impl Program {
    pub(crate) const ALL: [Program; 3] = [Program::Reference, Program::Floor, Program::Ours];

    /// Runs a function for each program and returns the results in the order of `ALL`. Each round begins with another
    /// program, because a program is faster if the previous one has filled the kernel's caches.
    pub(crate) fn each<T>(round: usize, mut run: impl FnMut(Program) -> T) -> [T; 3] {
        let mut results: [Option<T>; 3] = Default::default();
        for turn in 0..3 {
            let at = (round + turn) % 3;
            results[at] = Some(run(Program::ALL[at]));
        }
        results.map(|result| result.expect("a result of each program"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Reference => "reference",
            Program::Floor => "floor",
            Program::Ours => "ours",
        }
    }

    /// Returns a command that starts it, in the guest.
    pub(crate) fn command(self) -> Command {
        let built = |variable| Command::new(std::env::var_os(variable).unwrap_or_default());
        match self {
            Program::Reference => Ipvsadm::get().command(),
            Program::Floor => built(FLOOR),
            Program::Ours => built(OURS),
        }
    }
}

/// Variable with the path of the built lower bound, for the guest.
pub(crate) const FLOOR: &str = "IPVS_BENCH_FLOOR";
pub(crate) const OURS: &str = "IPVS_BENCH_OURS";

/// The target of the build. The shipped program is static, and therefore starts in a third of the time.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// The paths of the built programs on the host. The laboratory finds the reference.
pub(crate) struct Programs {
    pub(crate) floor: PathBuf,
    pub(crate) ours: PathBuf,
}

/// Builds our program and the floor.
pub(crate) fn find() -> Result<Programs> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let target = ipvs_tests::host::provision::target()?.context("cannot find cargo's target directory")?;
    let folder = target.join(TARGET).join("release");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--package", "ipvsadm-rs", "--target", TARGET]);
    succeed(cargo.arg("--target-dir").arg(&target).current_dir(workspace))?;
    // The floor has no dependencies, so it needs no package.
    let floor = folder.join("floor");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--target", TARGET, "-C", "opt-level=3", "-C", "panic=abort"]);
    rustc.args(["-C", "lto=fat", "-C", "codegen-units=1", "-C", "strip=symbols", "-o"]).arg(&floor);
    succeed(rustc.arg(workspace.join("tests/benches/floor/main.rs")).current_dir(workspace))?;
    Ok(Programs { floor, ours: folder.join("ipvsadm-rs") })
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if status.success() {
        return Ok(());
    }
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries.stdout).trim());
    ensure!(libraries.exists(), "the target {TARGET} is not installed\nRun `rustup target add {TARGET}`.");
    bail!("{command:?}: {status}")
}
