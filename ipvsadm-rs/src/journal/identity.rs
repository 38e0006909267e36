//! The identity of a table: the boot and the network namespace that it belongs to.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Context;
use ipvs::Namespace;
use serde::{Deserialize, Serialize};

/// The identity of a table. A table ends with its network namespace, and all tables end with a reboot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The boot in the form of /proc/sys/kernel/random/boot_id. `None` if /proc is not mounted.
    pub(super) boot: Option<String>,
    /// The cookie of the network namespace. `None` on kernels before Linux 5.14.
    pub(super) namespace: Option<u64>,
}

/// The relation of the table of an entry to the table of this journal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    ThisTable,
    /// The machine was restarted after the plan was applied.
    EarlierBoot,
    /// The plan was applied in another network namespace of the same boot.
    OtherNamespace,
    /// The boot of the entry, or the boot of this journal, is not known.
    Unknown,
}

/// The texts about plans that were applied to a table.
pub(crate) struct OriginTexts {
    /// The status in the list of plans.
    pub(crate) status: &'static str,
    /// The reason for not undoing a plan, as a sentence about the plan.
    pub(crate) reason: &'static str,
    /// Completes `2 plans were in force`.
    pub(crate) in_force: &'static str,
    /// Completes `2 plans of`.
    pub(super) table: &'static str,
}

impl Origin {
    /// Returns the texts about plans of this origin.
    pub(crate) fn texts(self) -> OriginTexts {
        match self {
            Self::ThisTable => OriginTexts {
                status: "this table",
                reason: "was applied to this table",
                in_force: "in this table",
                table: "this table",
            },
            Self::EarlierBoot => OriginTexts {
                status: "earlier boot",
                reason: "was applied before the machine was restarted",
                in_force: "before the machine was restarted",
                table: "the earlier boot",
            },
            Self::OtherNamespace => OriginTexts {
                status: "another namespace",
                reason: "was applied in another network namespace",
                in_force: "in another network namespace",
                table: "an earlier namespace of this name",
            },
            Self::Unknown => OriginTexts {
                status: "unknown table",
                reason: "does not record its boot and network namespace",
                in_force: "in an unknown boot or network namespace",
                table: "an unknown boot",
            },
        }
    }

    /// Returns the event that ended the earlier table, as the first part of a sentence. Empty if it is not known.
    pub(super) fn event(self, namespace: Option<&Namespace>) -> String {
        match self {
            Self::EarlierBoot => "the machine was restarted, and ".into(),
            Self::OtherNamespace => {
                let name = namespace.map(|name| format!(" {name}")).unwrap_or_default();
                format!("network namespace{name} is new, and ")
            }
            Self::ThisTable | Self::Unknown => String::new(),
        }
    }
}

impl Identity {
    /// Compares with the table of an entry. An unknown boot is never the same. Without cookies only the boot is
    /// compared.
    pub(super) fn origin(&self, of: Option<&Self>) -> Origin {
        let Some(of) = of else { return Origin::Unknown };
        match (&self.boot, &of.boot) {
            (Some(this), Some(other)) if this != other => Origin::EarlierBoot,
            (Some(_), Some(_)) if self.namespace == of.namespace => Origin::ThisTable,
            (Some(_), Some(_)) => Origin::OtherNamespace,
            _ => Origin::Unknown,
        }
    }
}

/// A network namespace as this process sees it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) identity: Identity,
    /// Whether it is the namespace of process 1.
    pub(super) is_first: bool,
    /// The number of its file in /proc/PID/ns. The kernel uses the number again after the namespace has ended. `None`
    /// if /proc is not mounted.
    pub(super) inode: Option<u64>,
}

impl Place {
    /// Looks at a namespace. `None` means the namespace of this process.
    pub(super) fn of(namespace: Option<&Namespace>) -> anyhow::Result<Self> {
        match namespace {
            None => Self::own(),
            Some(namespace) => namespace.within(Self::own)?,
        }
    }

    /// Looks at the namespace of this thread.
    fn own() -> anyhow::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|boot| boot.trim().to_owned()).filter(|boot| !boot.is_empty());
        let namespace = Namespace::cookie(None).context("cannot identify the network namespace")?;
        let inode = inode("/proc/thread-self/ns/net");
        let is_first = is_in_first() || (inode.is_some() && inode == self::inode("/proc/1/ns/net"));
        Ok(Self { identity: Identity { boot, namespace }, is_first, inode })
    }
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

/// Returns whether this thread is in the network namespace of process 1. Only a process with all capabilities of
/// process 1 may read /proc/1/ns. A confined service lacks them. Any process may read the files in /proc/PID/net, and
/// their inode numbers differ between namespaces.
fn is_in_first() -> bool {
    match (inode("/proc/1/net/dev"), inode("/proc/thread-self/net/dev")) {
        (Some(first), Some(own)) => first == own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(boot: Option<&str>, namespace: Option<u64>) -> Identity {
        Identity { boot: boot.map(str::to_owned), namespace }
    }

    #[test]
    fn compares_boot_and_namespace() {
        let this = identity(Some("a"), Some(1));
        for (other, origin) in [
            (Some(identity(Some("a"), Some(1))), Origin::ThisTable),
            (Some(identity(Some("a"), Some(2))), Origin::OtherNamespace),
            (Some(identity(Some("a"), None)), Origin::OtherNamespace),
            (Some(identity(Some("b"), Some(1))), Origin::EarlierBoot),
            (Some(identity(None, Some(1))), Origin::Unknown),
            (None, Origin::Unknown),
        ] {
            assert_eq!(this.origin(other.as_ref()), origin, "{other:?}");
        }
    }

    #[test]
    fn an_unknown_boot_is_never_the_same() {
        let unknown = identity(None, Some(1));
        assert_eq!(unknown.origin(Some(&unknown)), Origin::Unknown);
    }

    #[test]
    fn a_kernel_without_cookies_compares_the_boot() {
        let this = identity(Some("a"), None);
        assert_eq!(this.origin(Some(&this)), Origin::ThisTable);
    }

    #[test]
    fn the_own_namespace_is_the_same_twice() {
        assert_eq!(Place::of(None).unwrap(), Place::of(None).unwrap());
    }
}
