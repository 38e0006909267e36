//! Hints for changes that the kernel refused, and for tables that could not be read.

use std::net::IpAddr;

use ipvs::{Change, Engine, Error, ErrorKind, Family, Scheduler, ServiceKey};

use super::similar::similar;

/// The persistence engines of the kernel.
const ENGINES: [&str; 1] = ["sip"];

/// Returns the hint for a refused change. `None` if there is nothing to add to the message.
pub(crate) fn for_refusal(change: &Change, error: &Error) -> Option<String> {
    Some(match error.kind() {
        ErrorKind::ServiceExists => {
            "To replace its settings, use -E. To change single settings, use `ipvsadm-rs set`.".into()
        }
        ErrorKind::DestinationExists => {
            "To replace its settings, use -e. To change single settings, use `ipvsadm-rs set`.".into()
        }
        ErrorKind::SchedulerNotFound { scheduler, engine } => for_names(scheduler, engine.as_ref()),
        ErrorKind::NoSuchService => for_missing_service(change)?,
        ErrorKind::NoSuchDestination => match change {
            Change::EditDestination(..) => "The service does not have this server. To add it, use -a.".into(),
            _ => format!("The service does not have this server. {LIST}"),
        },
        ErrorKind::DaemonRuns => "To change its settings, stop it first, with --stop-daemon.".into(),
        ErrorKind::NoDaemon => "To list the running sync daemons, use `ipvsadm -L --daemon`.".into(),
        ErrorKind::NoSuchInterface => match change {
            Change::StartDaemon(daemon) => format!(
                "There is no network interface {}. Specify one with --mcast-interface. The default is eth0.",
                daemon.interface
            ),
            _ => return None,
        },
        ErrorKind::FamilyNotSupported => "The kernel was built or started without IPv6.".into(),
        _ => return for_read(error).map(str::to_owned),
    })
}

const LIST: &str = "To list the table, use `ipvsadm -Ln`.";

/// The hint if the module is not loaded.
pub(crate) const NOT_LOADED: &str = "Load the module with `modprobe ip_vs`. For a container, load it on the host.";

/// Returns the hint if the table is not available or has no such service. `None` for other errors.
pub(crate) fn for_read(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::NotLoaded => Some(NOT_LOADED),
        ErrorKind::NoPermission => {
            Some("Root in a user namespace is not enough: IPVS requires CAP_NET_ADMIN in the initial user namespace.")
        }
        _ => None,
    }
}

/// Returns the hint for an error of a verb. The text of such an error has the reason. `None` if there is no hint.
pub(crate) fn for_verb(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::NoPermission => Some("Run the command as root."),
        _ => for_read(error),
    }
}

/// Returns the hint for a scheduler or a persistence engine that the kernel does not have.
fn for_names(scheduler: &Scheduler, engine: Option<&Engine>) -> String {
    let known: Vec<String> = Scheduler::KNOWN.iter().map(|(known, _)| known.to_string()).collect();
    let known = known.iter().map(String::as_str);
    let (name, is_known) = (scheduler.to_string(), scheduler.help().is_some());
    if !is_known {
        return match similar(&name, known.clone()) {
            Some(similar) => format!("There is no scheduler {name}. Did you mean {similar}?"),
            None => {
                format!("There is no scheduler {name}. Linux has {}.", known.collect::<Vec<_>>().join(", "))
            }
        };
    }
    let Some(engine) = engine.map(Engine::to_string) else {
        return format!(
            "The module ip_vs_{name} is not available to this kernel. Load it with `modprobe ip_vs_{name}`."
        );
    };
    match similar(&engine, ENGINES) {
        Some(similar) if similar != engine => {
            format!("There is no persistence engine {engine}. Did you mean {similar}?")
        }
        None => format!("There is no persistence engine {engine}. Linux has {}.", ENGINES.join(", ")),
        Some(_) => format!(
            "The module ip_vs_{name} or ip_vs_pe_{engine} is not available to this kernel. Load it with `modprobe`."
        ),
    }
}

/// Returns the hint for a change of a service that does not exist.
fn for_missing_service(change: &Change) -> Option<String> {
    let key = change.service()?;
    let other_family = match (key, change) {
        (
            ServiceKey::Fwmark { mark, family: Family::V4 },
            Change::AddDestination(_, server) | Change::EditDestination(_, server),
        ) if matches!(server.key.address, IpAddr::V6(_)) => {
            format!(" The service for IPv6 packets is -f {mark} -6.")
        }
        _ => String::new(),
    };
    Some(match change {
        Change::AddDestination(..) | Change::EditService(_) => {
            format!("There is no service {key}. To add it, use -A.{other_family}")
        }
        _ => format!("There is no service {key}. {LIST}{other_family}"),
    })
}

#[cfg(test)]
mod tests {
    use ipvs::{Destination, Forwarding, Role, Service, SyncDaemon};

    use super::*;

    fn hint(change: &Change, kind: ErrorKind) -> String {
        for_refusal(change, &Error::refusal(change, kind)).unwrap_or_default()
    }

    fn key() -> ServiceKey {
        ServiceKey::tcp([192, 0, 2, 1], 80)
    }

    #[test]
    fn names_of_schedulers_and_engines() {
        for (scheduler, engine, expected) in [
            ("wlcc", None, "There is no scheduler wlcc. Did you mean wlc?"),
            ("RR", None, "There is no scheduler RR. Did you mean rr?"),
            ("random", None, "There is no scheduler random. Linux has rr, wrr, "),
            ("mh", None, "The module ip_vs_mh is not available to this kernel. Load it with `modprobe ip_vs_mh`."),
            ("rr", Some("SIP"), "There is no persistence engine SIP. Did you mean sip?"),
            ("rr", Some("http"), "There is no persistence engine http. Linux has sip."),
            ("rr", Some("sip"), "The module ip_vs_rr or ip_vs_pe_sip is not available"),
        ] {
            let scheduler: Scheduler = scheduler.parse().expect("short");
            let engine: Option<Engine> = engine.map(|name: &str| name.parse().expect("short"));
            let change = Change::AddService(Service { engine, ..Service::new(key(), scheduler) });
            let found = hint(&change, ErrorKind::SchedulerNotFound { scheduler, engine });
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn existing_and_missing_items() {
        let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
        let add = Change::AddDestination(key(), server);
        assert!(hint(&add, ErrorKind::DestinationExists).starts_with("To replace its settings, use -e."));
        assert_eq!(hint(&add, ErrorKind::NoSuchService), "There is no service TCP 192.0.2.1:80. To add it, use -A.");
        let v6 = Destination { key: "[2001:db8::1]:80".parse().expect("a server"), ..server };
        let mark = ServiceKey::fwmark(7, Family::V4).expect("a mark");
        assert!(hint(&Change::EditDestination(mark, v6), ErrorKind::NoSuchService).contains("-f 7 -6"));
        let daemon = SyncDaemon::new(Role::Master, "eth0".parse().expect("short"), 1);
        assert!(
            hint(&Change::StartDaemon(daemon), ErrorKind::NoSuchInterface)
                .starts_with("There is no network interface eth0. Specify one with --mcast-interface.")
        );
    }
}
