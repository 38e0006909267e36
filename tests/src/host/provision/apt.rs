//! Runs apt with its own sources, lists and cache, and without the system's hooks. Mirror, keys and network settings
//! (proxies, timeouts, …) are the system's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::sources::{self, Mirror};
use crate::command::run_command;

/// Time limit for one call of apt-get. A package list has 10 MB, the biggest package 40 MB.
const LIMIT: Duration = Duration::from_secs(300);

/// Downloads packages of a suite, without dependencies, and unpacks them into `folder`.
pub fn fetch_and_unpack(suite: &str, packages: &[&str], folder: &Path) -> Result<()> {
    fetch(suite, &packages.join(", "), folder, |_| Ok(packages.iter().map(|&name| name.to_owned()).collect()))
}

/// Downloads the first dependency of a package and unpacks it into `folder`.
pub fn fetch_and_unpack_dependency(suite: &str, package: &str, folder: &Path) -> Result<()> {
    fetch(suite, package, folder, |apt| {
        // `  Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)`
        let depends = output(apt.command("apt-cache").arg("depends").arg(package))?;
        let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(vec![name.with_context(|| format!("{package} depends on nothing"))?.to_owned()])
    })
}

/// The configuration and the download directory of one run.
struct Apt {
    settings: PathBuf,
    archives: PathBuf,
}

impl Apt {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.settings).arg("-q").current_dir(&self.archives);
        command
    }
}

fn fetch(suite: &str, what: &str, folder: &Path, names: impl Fn(&Apt) -> Result<Vec<String>>) -> Result<()> {
    for program in ["apt-get", "apt-config", "dpkg"] {
        Command::new(program)
            .arg("--version")
            .output()
            .map_err(|_| anyhow!("cannot fetch packages from Debian: {program} not found"))?;
    }
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    ensure!(
        architecture.trim() == "amd64",
        "Debian has user-mode-linux for amd64 only, and this machine is {architecture}"
    );
    let mirrors = sources::mirrors(Path::new("/etc/apt"));
    ensure!(!mirrors.is_empty(), "no mirror of Debian in /etc/apt/sources.list and /etc/apt/sources.list.d");
    eprintln!("fetching {what} from Debian {suite} (only this time)");
    let mut errors = Vec::new();
    for mirror in mirrors {
        match download(suite, &names, &mirror, folder) {
            Ok(archives) => return unpack(&archives, folder),
            Err(error) => errors.push(format!("{}: {error:#}", mirror.uris)),
        }
    }
    bail!("cannot fetch {what} of {suite}:\n{}", errors.join("\n"))
}

fn download(
    suite: &str,
    names: impl Fn(&Apt) -> Result<Vec<String>>,
    mirror: &Mirror,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    let state = folder.join("apt");
    let archives = state.join("archives");
    for part in ["lists/partial", "cache/archives/partial", "sources", "archives"] {
        fs::create_dir_all(state.join(part))?;
    }
    fs::write(state.join("status"), "")?;
    fs::write(state.join("sources/debian.sources"), source(suite, mirror))?;
    let settings = state.join("apt.conf");
    fs::write(&settings, configuration(&state)?)?;
    let apt = Apt { settings, archives };
    output(apt.command("apt-get").arg("update"))?;
    let packages = names(&apt)?;
    output(apt.command("apt-get").arg("download").args(&packages))?;
    let Apt { archives, .. } = apt;
    let files = fs::read_dir(&archives)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(files.len() == packages.len(), "apt-get downloaded {files:?}");
    Ok(files)
}

fn unpack(archives: &[PathBuf], folder: &Path) -> Result<()> {
    for archive in archives {
        output(Command::new("dpkg").arg("-x").arg(archive).arg(folder))?;
    }
    // Lists and archives are as big as the unpacked files, and not needed again.
    fs::remove_dir_all(folder.join("apt"))?;
    Ok(())
}

fn source(suite: &str, mirror: &Mirror) -> String {
    let Mirror { uris, signed_by } = mirror;
    let signed_by = signed_by.as_ref().map(|key| format!("Signed-By: {key}\n")).unwrap_or_default();
    format!("Types: deb\nURIs: {uris}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\n{signed_by}")
}

/// Returns a configuration that replaces the system's, whose hooks would clean caches and refresh catalogues. It keeps
/// the system's network settings.
fn configuration(state: &Path) -> Result<String> {
    let system = output(Command::new("apt-config").args(["dump", "Acquire"]))?;
    let unwanted = ["Acquire::IndexTargets", "Acquire::Languages", "Acquire::Changelogs"];
    let kept = system.lines().filter(|line| !unwanted.iter().any(|prefix| line.starts_with(prefix)));
    let folder = state.to_str().context("the name of the directory is not UTF-8")?;
    let own = format!(
        r#"Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources";
Dir::State "{folder}";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
"#
    );
    Ok(kept.map(|line| format!("{line}\n")).collect::<String>() + &own)
}

fn output(command: &mut Command) -> Result<String> {
    let ran = run_command(command, LIMIT)?;
    ensure!(ran.code == Some(0), "{ran}");
    Ok(ran.stdout)
}
