//! Prepares a kernel program that needs a newer C library than the machine has.
//!
//! It unpacks libc6 of the suite, and makes a copy of the program that names its dynamic loader by a relative path. The
//! copy must run in the directory of the library. The relative path is shorter than the absolute one and replaces it in
//! place, so no tool for ELF files is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const LOADER: &str = "ld-linux-x86-64.so.2";

/// Returns a directory with a copy of the program, `linux.uml`, and its C library.
pub fn with_own_library(suite: &str, program: &Path) -> Result<PathBuf> {
    let libc = super::unpacked(suite, "libc6", &["libc6"])?;
    super::complete(suite, "linux-with-library", |folder| {
        for file in [LOADER, "libc.so.6"] {
            // Trixie has them in /usr; older suites do not.
            let found = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
                .map(|place| libc.join(place).join(file))
                .into_iter()
                .find(|path| path.exists())
                .with_context(|| format!("no {file} in libc6 of {suite}"))?;
            fs::copy(found, folder.join(file))?;
        }
        let copy = folder.join("linux.uml");
        fs::write(&copy, with_relative_loader(fs::read(program)?)?)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })
}

fn with_relative_loader(mut program: Vec<u8>) -> Result<Vec<u8>> {
    let absolute = format!("/lib64/{LOADER}\0").into_bytes();
    let mut relative = LOADER.as_bytes().to_vec();
    relative.resize(absolute.len(), 0);
    let places: Vec<usize> =
        program.windows(absolute.len()).enumerate().filter(|(_, at)| *at == absolute).map(|(at, _)| at).collect();
    let [place] = places[..] else {
        bail!("the kernel program names its loader {} times", places.len());
    };
    program[place..place + relative.len()].copy_from_slice(&relative);
    Ok(program)
}
