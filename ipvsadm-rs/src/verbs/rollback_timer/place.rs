//! The place where the rollback timer runs: a scope of its own if possible, and never a place that ends too early.

use std::fs;
use std::path::Path;

use anyhow::bail;

use crate::pid_namespace;

/// Fails if all processes of this PID namespace end with a process 1 that is not an init. This is so in a container that
/// runs one program. The rollback timer would end with it, and the changes would stay if they are in the table of the host.
pub(super) fn ensure_it_outlives_this_program() -> anyhow::Result<()> {
    // Not known if the kernel has no PID namespaces.
    let is_initial = pid_namespace::is_first().unwrap_or(true);
    let is_first = std::process::id() == 1;
    let first = if is_first { None } else { process_1() };
    let is_init = |name: &String| INITS.contains(&name.as_str());
    if !is_first && (is_initial || first.as_ref().is_some_and(is_init)) {
        return Ok(());
    }
    let name = if is_first { "this program".to_owned() } else { first.unwrap_or_else(|| "unknown".to_owned()) };
    bail!(
        "cannot roll back later: all processes of this container end with its process 1 ({name})\n\
         Run ipvsadm-rs on the host, with --netns PID, where PID is a process of the container."
    )
}

/// Programs that run as process 1 of a system and end with it.
const INITS: [&str; 8] = ["systemd", "init", "openrc-init", "runit", "runit-init", "s6-svscan", "dinit", "procd"];

/// Returns the name of process 1 of this PID namespace. `None` if /proc shows another one.
fn process_1() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    // The process ids from the namespace of /proc to that of the process. proc_pid_status(5)
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    if pids.split_whitespace().count() != 1 {
        return None;
    }
    Some(fs::read_to_string("/proc/1/comm").ok()?.trim_end().to_owned())
}

/// Returns the unit of systemd whose end would end this process, such as `session-3.scope`. `None` if there is none.
pub(super) fn unit() -> Option<String> {
    let unit = unit_of(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
    (unit != "init.scope").then_some(unit)
}

/// Returns the innermost service or scope in the text of /proc/PID/cgroup. cgroups(7)
fn unit_of(cgroups: &str) -> Option<String> {
    let path = cgroups.lines().find_map(|line| {
        let (hierarchy, path) = line.split_once(":/")?;
        (hierarchy == "0:" || hierarchy.ends_with(":name=systemd")).then_some(path)
    })?;
    let is_unit = |name: &&str| name.ends_with(".service") || name.ends_with(".scope");
    path.rsplit('/').find(is_unit).map(str::to_owned)
}

/// Returns the path of systemd-run(1) if systemd is running and accepts orders of this process. `None` otherwise.
pub(super) fn systemd_run() -> Option<&'static Path> {
    // sd_booted(3). Users other than root are asked for a password.
    let is_possible = Path::new("/run/systemd/system").is_dir() && rustix::process::geteuid().is_root();
    let paths = ["/usr/bin/systemd-run", "/bin/systemd-run"].map(Path::new);
    paths.into_iter().find(|path| is_possible && path.exists())
}

/// Returns whether a process is stopped, for example with ^Z.
pub(super) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program is in parentheses and may contain any bytes. proc_pid_stat(5)
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_innermost_unit() {
        for (cgroups, unit) in [
            ("0::/user.slice/user-0.slice/session-3.scope\n", Some("session-3.scope")),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/x\n", Some("user@0.service")),
            ("12:pids:/a.scope\n1:name=systemd:/system.slice/cron.service\n0::/\n", Some("cron.service")),
            ("12:pids:/a.scope\n0::/\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_of(cgroups).as_deref(), unit, "{cgroups}");
        }
    }
}
