//! Makes kernels before 6.13 run on a processor with AMX; see `xstate.c`, which is preloaded into them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command::run_command;

/// The library to preload, or `None` if this processor needs none.
///
/// # Errors
///
/// The C compiler that cargo links with (`cc`) is missing or fails.
pub fn preload() -> Result<Option<PathBuf>> {
    if !fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" amx_tile")) {
        return Ok(None);
    }
    let folder = super::complete("amx", "xstate", |folder| {
        let source = folder.join("xstate.c");
        fs::write(&source, include_str!("xstate.c"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-fPIC", "-shared", "-o"]).arg(folder.join("xstate.so")).arg(source);
        let ran = run_command(&mut compiler, Duration::from_secs(60))?;
        ensure!(ran.code == Some(0), "this processor has AMX, and {ran}");
        Ok(())
    })?;
    Ok(Some(folder.join("xstate.so")))
}
