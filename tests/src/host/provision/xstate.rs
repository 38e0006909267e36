//! Compiles a library that kernels before 6.13 need on a processor with AMX. It is preloaded into the kernel program;
//! `xstate.c` describes the reason.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command::run_command;

/// Returns the path of the library to preload, or `None` if this processor has no AMX.
///
/// # Errors
///
/// Fails if the C compiler (`cc`), which cargo also uses to link, is missing or reports an error.
pub fn library_to_preload() -> Result<Option<PathBuf>> {
    if !fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_tile")) {
        return Ok(None);
    }
    let folder = super::complete("amx", "xstate", |folder| {
        let source = folder.join("xstate.c");
        fs::write(&source, include_str!("xstate.c"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-fPIC", "-shared", "-o"]).arg(folder.join("xstate.so")).arg(source);
        let ran = run_command(&mut compiler, Duration::from_secs(60))?;
        ensure!(
            ran.code == Some(0),
            "cannot compile xstate.c, which this kernel needs on a processor with AMX:\n{ran}"
        );
        Ok(())
    })?;
    Ok(Some(folder.join("xstate.so")))
}
