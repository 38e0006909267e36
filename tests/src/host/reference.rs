//! The reference: Debian's ipvsadm 1.31 with its libraries, unpacked and not installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{Ran, install, run_command};
use crate::host::provision;

const PACKAGES: [&str; 4] = ["ipvsadm", "libnl-3-200", "libnl-genl-3-200", "libpopt0"];

/// Variable with the path of the directory of the reference, for the guest, which has no network to fetch it.
const FOUND: &str = "IPVS_REFERENCE";
/// Variable with the reason why the reference could not be fetched.
const MISSING: &str = "IPVS_REFERENCE_MISSING";

/// Debian's ipvsadm with its two scripts.
#[derive(Clone, Debug)]
pub struct Ipvsadm {
    /// The directory with `ipvsadm`, `ipvsadm-save` and `ipvsadm-restore`.
    pub dir: PathBuf,
    /// The value of `LD_LIBRARY_PATH` that it needs.
    pub library_path: String,
}

impl Ipvsadm {
    /// Returns the reference. Panics if it could not be fetched.
    #[track_caller]
    pub fn get() -> Ipvsadm {
        let found = match std::env::var(FOUND) {
            Ok(root) => Ok(PathBuf::from(root)),
            Err(_) => Err(std::env::var(MISSING).unwrap_or_else(|_| "IPVS_REFERENCE is not set".to_owned())),
        };
        let root = found.unwrap_or_else(|why| panic!("cannot find the reference: {why}"));
        Ipvsadm::in_folder(&root).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn in_folder(root: &Path) -> Result<Ipvsadm> {
        // Debian moved these from / to /usr, package by package.
        let dir = ["usr/sbin", "sbin"].map(|dir| root.join(dir)).into_iter().find(|dir| dir.join("ipvsadm").exists());
        Ok(Ipvsadm {
            dir: dir.with_context(|| format!("no ipvsadm in {}", root.display()))?,
            library_path: libraries(root).map(|dir| dir.display().to_string()).join(":"),
        })
    }

    /// Returns a command that runs `ipvsadm`. For its scripts, which run /sbin/ipvsadm, see [`Ipvsadm::install`].
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.dir.join("ipvsadm"));
        command.env("LD_LIBRARY_PATH", &self.library_path);
        command
    }

    /// Runs `ipvsadm` with a line of arguments, in the network namespace of the calling thread.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        let ran = run_command(self.command().args(line.split_ascii_whitespace()), Duration::from_secs(30));
        ran.unwrap_or_else(|error| panic!("# ipvsadm {line}\n{error:#}"))
    }

    /// Installs the program, its scripts and its libraries in the root directory of this test.
    pub fn install(&self) -> Result<()> {
        for program in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
            install(self.dir.join(program), Path::new("/usr/sbin").join(program))?;
        }
        for from in self.library_path.split(':').map(Path::new).filter(|dir| dir.exists()) {
            for library in std::fs::read_dir(from)?.flatten().filter(|entry| entry.path().is_file()) {
                for place in ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(Path::new) {
                    if place.exists() {
                        install(library.path(), place.join(library.file_name()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn libraries(root: &Path) -> [PathBuf; 2] {
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| root.join(dir))
}

/// Returns all files of the reference, for a guest with a file system of its own.
pub fn files() -> Result<Vec<PathBuf>> {
    let reference = Ipvsadm::in_folder(&provision::unpacked("bookworm", "ipvsadm", &PACKAGES)?)?;
    let mut files = vec![reference.dir.join("ipvsadm")];
    for folder in reference.library_path.split(':').map(Path::new).filter(|folder| folder.exists()) {
        files.extend(std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    Ok(files)
}

/// Returns the variable for a guest: the directory of the reference, or the reason why it could not be fetched. The
/// first call fetches it.
pub(crate) fn variable() -> (String, String) {
    static ONCE: OnceLock<(String, String)> = OnceLock::new();
    let fetch = || match provision::unpacked("bookworm", "ipvsadm", &PACKAGES) {
        Ok(root) => (FOUND.to_owned(), root.display().to_string()),
        Err(error) => (MISSING.to_owned(), format!("{error:#}")),
    };
    ONCE.get_or_init(fetch).clone()
}
