//! The sync daemons, which can make a director ignore its services.

use std::io;

use ipvs::{Client, Role};

use super::report::{Finding, Steps};
use crate::network::sysctl;
use crate::terminal::commands::Command;

/// Checks that this director does not leave its connections to another one.
pub(super) fn check(director: &mut Client, steps: &mut Steps<'_>) -> anyhow::Result<()> {
    let roles: Vec<Role> = director.daemons()?.iter().map(|daemon| daemon.role).collect();
    if let Some(finding) = finding(&roles, sysctl::number("ipv4/vs/backup_only")) {
        steps.add(finding);
    }
    Ok(())
}

/// A master daemon on the same director makes no difference (`sysctl_backup_only`,
/// <https://elixir.bootlin.com/linux/v6.12/source/include/net/ip_vs.h>).
fn finding(roles: &[Role], setting: io::Result<i64>) -> Option<Finding> {
    if !roles.contains(&Role::Backup) {
        return None;
    }
    let text = "this director runs a backup sync daemon, and ignores packets to services";
    let why = "net.ipv4.vs.backup_only is 1. With it, the kernel does not process packets for services while a backup \
               sync daemon runs.";
    match setting {
        Ok(0) => None,
        Ok(_) => Some(
            Finding::broken("backup_only", text, why).cure(Command::director("sysctl -w net.ipv4.vs.backup_only=0")),
        ),
        // Kernels before 3.9 do not have the setting.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            Some(Finding::unknown("backup_only", format!("net.ipv4.vs.backup_only was not checked: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_backup_daemon_counts_also_next_to_a_master() {
        let status = |roles: &[Role], setting| finding(roles, setting).map(|finding| finding.status);
        for (roles, setting, expected) in [
            (&[][..], Ok(1), None),
            (&[Role::Master][..], Ok(1), None),
            (&[Role::Backup][..], Ok(1), Some(Status::Broken)),
            (&[Role::Master, Role::Backup][..], Ok(1), Some(Status::Broken)),
            (&[Role::Backup][..], Ok(0), None),
            (&[Role::Backup][..], Err(io::ErrorKind::NotFound), None),
            (&[Role::Backup][..], Err(io::ErrorKind::PermissionDenied), Some(Status::Unknown)),
        ] {
            assert_eq!(status(roles, setting.map_err(io::Error::from)), expected, "{roles:?}");
        }
    }
}
