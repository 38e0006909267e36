//! TABLE: words of other programs, and the verbs that do the same.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The verb, or the command of ipvsadm, for words that people try.
const NAMES: &[(&[&str], &str)] = &[
    (&["list", "ls", "status", "get", "print", "display", "stats", "view"], "show"),
    (&["connection", "conns", "conn", "sessions", "conntrack", "clients", "netstat", "ss"], "connections"),
    (&["htop", "dashboard", "tui", "rate", "rates"], "top"),
    (&["watch", "events", "follow", "tail"], "monitor"),
    (&["load", "import", "sync", "reload", "replace", "start", "create"], "apply"),
    (&["export", "dump", "backup", "write"], "save"),
    (&["validate", "verify", "lint", "test", "syntax", "nagios", "health"], "check"),
    (&["diagnose", "diagnostics", "advise", "advice", "sysctl", "sysctls", "audit-settings"], "doctor"),
    (&["preview", "dry-run"], "plan"),
    (&["compare", "drift"], "diff"),
    (&["translate", "transform"], "convert"),
    (&["rollback", "revert", "back"], "undo"),
    (&["commit", "keep", "accept"], "confirm"),
    (&["prometheus", "exporter", "export-metrics", "scrape"], "metrics"),
    (&["edit", "change", "modify", "update", "weight"], "set"),
    (&["disable", "quiesce", "offline", "maintenance"], "drain"),
    (&["enable", "online", "resume"], "undrain"),
    (&["move", "migrate"], "shift"),
    (&["log", "journal", "audit"], "history"),
    (&["realserver", "real-server", "rs"], "rs-setup"),
    (&["nat", "snat", "masquerade"], "snat-rules"),
    (&["completion", "completions", "man"], "generate"),
    (&["delete", "del", "remove", "rm"], "-D (a service) or -d (a server), as in ipvsadm"),
    (&["add", "new"], "-A (a service) or -a (a server), as in ipvsadm"),
    (&["clear", "flush", "empty", "stop"], "-C, as in ipvsadm"),
    (&["zero", "reset"], "-Z, as in ipvsadm"),
    (&["timeouts", "timeout"], "--set, as in ipvsadm"),
];

/// Returns the verb that does the same as an unknown one. `verbs` are those that exist.
fn meaning<'v>(word: &str, mut verbs: impl Iterator<Item = &'v str>) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    let (_, meant) = NAMES.iter().find(|(words, _)| words.contains(&word.as_str()))?;
    (meant.starts_with('-') || verbs.any(|verb| verb == *meant)).then_some(meant)
}

/// Replaces the suggestion of clap, which compares only letters, if the unknown verb has a meaning elsewhere.
pub(super) fn suggest<'v>(error: &mut clap::Error, verbs: impl Iterator<Item = &'v str>) {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return };
    if let Some(meant) = meaning(word, verbs) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![meant.to_owned()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_programs() {
        let meaning = |word| meaning(word, ["show", "apply"].into_iter());
        assert_eq!(meaning("status"), Some("show"));
        assert_eq!(meaning("List"), Some("show"));
        assert_eq!(meaning("load"), Some("apply"));
        assert_eq!(meaning("delete"), Some("-D (a service) or -d (a server), as in ipvsadm"));
        assert_eq!(meaning("rollback"), None, "this verb does not exist");
        assert_eq!(meaning("foo"), None);
    }
}
