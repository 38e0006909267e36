//! Other programs that may be writing the table.

use std::fs;
use std::path::Path;

/// Programs that are known to write the table.
const WRITERS: &[&str] = &["keepalived", "ldirectord", "kube-proxy", "kube-router", "dockerd", "ipvsadm", "ipvsadm-rs"];

/// Returns a message with the running programs of this network namespace that are known to write the table.
pub(crate) fn suspects() -> String {
    let mine = fs::read_link("/proc/thread-self/ns/net").ok();
    let me = std::process::id().to_string();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == me || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let same_namespace = fs::read_link(path.join("ns/net")).ok() == mine;
        if let Some(name) = name(&path).filter(|name| same_namespace && WRITERS.contains(&&**name)) {
            found.push(format!("{name} ({pid})"));
        }
    }
    match found.as_slice() {
        [] => "another program may be changing it".into(),
        found => format!("another program may be changing it; running: {}", found.join(", ")),
    }
}

/// Returns the name of a process, or `None` if the process has ended. Scripts such as ldirectord set their own name.
fn name(process: &Path) -> Option<String> {
    Some(fs::read_to_string(process.join("comm")).ok()?.trim().to_owned())
}
