//! An initramfs: the root file system of a guest under QEMU, as an archive that the kernel unpacks when it boots.
//!
//! Its format is "newc":
//! <https://elixir.bootlin.com/linux/v6.12/source/Documentation/driver-api/early-userspace/buffer-format.rst>
//!
//! The crate `cpio` is not used, because only `Initramfs::entry` depends on the format, and calls of the crate would
//! not be shorter.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::run_command;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CONSOLE: u32 = 0o020_600;

/// An archive that is being written.
#[derive(Debug)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
    /// The paths in the archive.
    paths: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// Makes an archive with the directories of a Debian system and /dev/console.
    pub fn new() -> Initramfs {
        let mut archive = Initramfs { bytes: Vec::new(), entries: 0, paths: BTreeSet::new() };
        for folder in ["dev", "etc", "proc", "run", "sys", "tmp", "root", "usr/sbin", "usr/bin", "var/log"] {
            archive.folders(Path::new(folder));
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            archive.folders(&Path::new("usr").join(name));
            archive.link(name, &format!("usr/{name}"));
        }
        archive.entry(Path::new("dev/console"), CONSOLE, (5, 1), &[]);
        archive
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, at: &str, target: &str) {
        self.entry(Path::new(at.trim_start_matches('/')), LINK, (0, 0), target.as_bytes());
    }

    /// Adds a file with a text.
    pub fn text(&mut self, at: &str, text: &str) {
        self.put(Path::new(at), text.as_bytes());
    }

    /// Adds a file of this machine, under the same path.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        self.file_as(path, path)
    }

    /// Adds a file of this machine under another path.
    pub fn file_as(&mut self, path: &Path, at: &Path) -> Result<()> {
        if !self.paths.contains(&inside(at)) {
            let contents = fs::read(path).with_context(|| path.display().to_string())?;
            self.put(at, &contents);
        }
        Ok(())
    }

    /// Adds a program of this machine and the libraries it needs, all under the same paths.
    pub fn program(&mut self, path: &Path) -> Result<()> {
        self.file(path)?;
        libraries(path)?.iter().try_for_each(|library| self.file(library))
    }

    /// Returns the complete archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, (0, 0), &[]);
        self.bytes
    }

    fn put(&mut self, at: &Path, contents: &[u8]) {
        let at = inside(at);
        if let Some(folder) = at.parent() {
            self.folders(folder);
        }
        // All files are executable, since this type does not distinguish programs from other files.
        self.entry(&at, PROGRAM, (0, 0), contents);
    }

    fn folders(&mut self, path: &Path) {
        let mut folder = PathBuf::new();
        for part in path.components() {
            folder.push(part);
            if !self.paths.contains(&folder) {
                self.entry(&folder.clone(), FOLDER, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &Path, mode: u32, (major, minor): (u32, u32), contents: &[u8]) {
        self.entries += 1;
        self.paths.insert(path.to_owned());
        let name = path.as_os_str().as_encoded_bytes();
        // Inode, mode, user, group, links, time, length, device, device of a node, length of the name, checksum.
        let length = contents.len() as u32;
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, major, minor, name.len() as u32 + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| self.bytes.extend(format!("{field:08x}").bytes()));
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

impl Default for Initramfs {
    fn default() -> Initramfs {
        Initramfs::new()
    }
}

/// Returns a path as in the archive: relative to its root, and with `bin`, `sbin`, `lib` and `lib64` below `usr`.
fn inside(path: &Path) -> PathBuf {
    let path: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let merged = ["bin", "sbin", "lib", "lib64"].iter().any(|name| path.starts_with(name));
    if merged { Path::new("usr").join(path) } else { path }
}

/// Returns the libraries of a program and the dynamic loader, as the loader lists them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    let ran = run_command(Command::new(LOADER).arg("--list").arg(program), Duration::from_secs(10))?;
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`; for a static program, the loader reports an error.
    let paths = ran.stdout.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(paths.collect())
}
