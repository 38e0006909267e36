//! Completion of values, by the name of the value in the help.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex};

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use ipvs::rules::program::flag_names;
use ipvs::{Protocol, Scheduler, SchedulerFlags};

use super::line::Line;
use super::live;

/// The paths that an argument accepts. The shell completes them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Paths {
    Files,
    Directories,
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Paths(Paths),
    /// A network namespace: a name, a path or a process ID.
    Namespace,
    /// The number of a plan in the journal.
    Plan,
    Scheduler,
    SchedulerFlags,
    /// An interface of this machine.
    Interface,
    /// A service of the table, as the value of `-t` and its relatives.
    ServiceOf(Protocol),
    /// The firewall mark of a service of the table.
    Mark,
    /// A service of the table, as `tcp:192.0.2.1:80`.
    Service,
    /// A service of the table, or another selector.
    Scope,
    /// A server of the table, with its port.
    ServerWithPort,
    /// A server of the table, with or without its port.
    Server,
    /// Words that do not depend on this machine.
    Words(&'static [&'static str]),
    /// A number, a duration, or another value that only a person knows.
    Free,
}

const KINDS: &[(&str, Kind)] = &[
    ("FILE", Kind::Paths(Paths::Files)),
    ("LOCATION", Kind::Paths(Paths::Files)),
    ("SOURCE", Kind::Paths(Paths::Files)),
    ("PREVIOUS", Kind::Paths(Paths::Files)),
    ("SAVED", Kind::Paths(Paths::Files)),
    ("PATH", Kind::Paths(Paths::Files)),
    ("DIR", Kind::Paths(Paths::Directories)),
    ("NAME|PATH|PID", Kind::Namespace),
    ("NUMBER", Kind::Plan),
    ("OTHER", Kind::Plan),
    ("SCHEDULER", Kind::Scheduler),
    ("FLAGS", Kind::SchedulerFlags),
    ("INTERFACE", Kind::Interface),
    ("DEVICE", Kind::Interface),
    ("MARK", Kind::Mark),
    ("SERVICE", Kind::Service),
    ("SCOPE", Kind::Scope),
    ("SERVER", Kind::Server),
    ("HOST[:PORT]", Kind::ServerWithPort),
    ("ADDRESS[:PORT]", Kind::Server),
    ("ENGINE", Kind::Words(&["sip"])),
    ("GROUP", Kind::Words(&["state", "server", "service", "client", "client/24"])),
    ("TYPE", Kind::Words(&["ipip", "gue", "gre"])),
    ("ADDRESS", Kind::Free),
    ("ADDRESS:PORT", Kind::Free),
    ("[PROTOCOL:]ADDRESS:PORT", Kind::Free),
    ("BITS", Kind::Free),
    ("BYTES", Kind::Free),
    ("CLIENT", Kind::Free),
    ("CLIENT[:PORT]", Kind::Free),
    ("COMMAND|URL", Kind::Free),
    ("CONNECTIONS", Kind::Free),
    ("DESTINATION", Kind::Free),
    ("DURATION", Kind::Free),
    ("HOPS", Kind::Free),
    ("HOST", Kind::Free),
    ("ID", Kind::Free),
    ("INDEX", Kind::Free),
    ("MIN[:MAX]", Kind::Free),
    ("N", Kind::Free),
    ("N|N%", Kind::Free),
    ("NAME", Kind::Free),
    ("NETMASK", Kind::Free),
    ("NETWORK", Kind::Free),
    ("PERCENT", Kind::Free),
    ("PORT", Kind::Free),
    ("SECONDS", Kind::Free),
    ("SIZE", Kind::Free),
    ("WEIGHT", Kind::Free),
];

/// Makes the arguments of a command and of its verbs complete their values. A path that is to be completed is recorded
/// in `paths`.
pub(super) fn attach(command: Command, line: &Arc<Line>, paths: &Arc<Mutex<Option<Paths>>>) -> Command {
    command
        .mut_args(|argument| attach_to(argument, line, paths))
        .mut_subcommands(|verb| attach(without_aliases(verb), line, paths))
}

/// Hides the aliases of a verb. The engine would offer only the alphabetically first name.
fn without_aliases(verb: Command) -> Command {
    let aliases: Vec<String> = verb.get_all_aliases().map(str::to_owned).collect();
    verb.visible_alias(None).alias(None).aliases(aliases)
}

fn attach_to(argument: Arg, line: &Arc<Line>, paths: &Arc<Mutex<Option<Paths>>>) -> Arg {
    let takes_value = argument.get_num_args().is_none_or(|number| number.takes_values());
    if !takes_value || !argument.get_action().takes_values() || !argument.get_possible_values().is_empty() {
        return argument;
    }
    let (kind, words) = kind_of(&argument);
    let argument = match kind {
        Some(Kind::SchedulerFlags) => argument.value_delimiter(','),
        _ => argument,
    };
    let (line, paths) = (line.clone(), paths.clone());
    argument.add(ArgValueCompleter::new(move |current: &OsStr| {
        // The engine also completes an option as a positional argument.
        let Some(current) = current.to_str().filter(|current| !current.starts_with('-')) else { return Vec::new() };
        let mut candidates = kind.map(|kind| candidates(kind, &line, current, &paths)).unwrap_or_default();
        candidates.extend(words.iter().map(CompletionCandidate::new));
        candidates.retain(|candidate| candidate.get_value().to_str().is_some_and(|word| word.starts_with(current)));
        candidates
    }))
}

/// Returns the kind of an argument's value, and words that it also accepts, such as `off`. The kind is `None` if the
/// name of the value is unknown.
fn kind_of(argument: &Arg) -> (Option<Kind>, Vec<String>) {
    let protocol = match argument.get_long() {
        Some("tcp-service") => Some(Protocol::Tcp),
        Some("udp-service") => Some(Protocol::Udp),
        Some("sctp-service") => Some(Protocol::Sctp),
        _ => None,
    };
    if let Some(protocol) = protocol {
        return (Some(Kind::ServiceOf(protocol)), Vec::new());
    }
    let name = match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    };
    if let Some(kind) = kind_named(&name) {
        return (Some(kind), Vec::new());
    }
    // Words in lower case stand for themselves: `master|backup`, `SECONDS|off`.
    let alternatives: Vec<&str> = name.split('|').collect();
    let is_word = |name: &&&str| alternatives.len() > 1 && name.bytes().all(|byte| byte.is_ascii_lowercase());
    let words = alternatives.iter().filter(is_word).map(ToString::to_string).collect::<Vec<_>>();
    let kind = alternatives.iter().find(|name| !is_word(name)).map_or(Some(Kind::Free), |name| kind_named(name));
    (kind, words)
}

fn kind_named(name: &str) -> Option<Kind> {
    let find = |name: &str| KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind);
    // `NUMBER[:before|:after]` is a number, too.
    find(name).or_else(|| name.split_once('[').and_then(|(name, _)| find(name)))
}

fn candidates(kind: Kind, line: &Line, current: &str, paths: &Mutex<Option<Paths>>) -> Vec<CompletionCandidate> {
    let want = |wanted| {
        if let Ok(mut paths) = paths.lock() {
            *paths = Some(wanted);
        }
        Vec::new()
    };
    match kind {
        Kind::Paths(wanted) => want(wanted),
        Kind::Namespace if current.contains('/') => want(Paths::Files),
        Kind::Namespace => live::namespaces(),
        Kind::Plan => live::plans(line),
        Kind::Scheduler => {
            let describe = |(name, help): &(Scheduler, &str)| described(name.to_string(), help.trim());
            Scheduler::KNOWN.iter().map(describe).collect()
        }
        Kind::SchedulerFlags => scheduler_flags(line),
        Kind::Interface => live::interfaces(),
        Kind::ServiceOf(protocol) => live::endpoints(line, protocol),
        Kind::Mark => live::marks(line),
        Kind::Service => live::services(line),
        Kind::Scope => {
            let fixed = ["tcp", "udp", "sctp", "fwmark"].map(CompletionCandidate::new);
            live::services(line).into_iter().chain(fixed).collect()
        }
        Kind::ServerWithPort => live::servers(line, false),
        Kind::Server => live::servers(line, true),
        Kind::Words(words) => words.iter().map(CompletionCandidate::new).collect(),
        Kind::Free => Vec::new(),
    }
}

/// Returns the flags of the scheduler in the line, or of all schedulers.
fn scheduler_flags(line: &Line) -> Vec<CompletionCandidate> {
    let named = line.value_of("scheduler", Some('s')).and_then(|name| name.to_str()?.parse::<Scheduler>().ok());
    let schedulers = named.map_or(vec![Scheduler::SH, Scheduler::MH], |named| vec![named]);
    let names = schedulers.into_iter().flat_map(|scheduler| flag_names(scheduler, SchedulerFlags::all()));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

pub(super) fn described(word: impl Into<String>, help: impl Into<String>) -> CompletionCandidate {
    CompletionCandidate::new(word.into()).help(Some(help.into().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value whose name is not in the table is not completed, and nobody would notice.
    #[test]
    fn every_value_has_a_kind() {
        let classic = crate::generate::commands::ipvsadm();
        let mut commands = vec![classic, crate::verbs::command()];
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                if argument.get_action().takes_values() && argument.get_possible_values().is_empty() {
                    let (kind, _) = kind_of(argument);
                    let hint = "add the name of its value to KINDS in ipvsadm-rs/src/complete/values.rs";
                    assert!(kind.is_some(), "{}: {argument}: {hint}", command.get_name());
                }
            }
            commands.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned());
        }
    }
}
