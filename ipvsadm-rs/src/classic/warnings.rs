//! Warnings about changes that ipvsadm 1.31 makes without a word.
//!
//! Scripts may treat any text on standard error as a failure. Therefore they are printed only to a terminal, except for
//! those about input for which 1.31 prints an error.

use std::io::IsTerminal;

use ipvs::rules::program::flag_names;
use ipvs::rules::{ConfigWarning, ReadConfig};
use ipvs::{Change, Client, Counters, Destination, Forwarding, Netmask, Scheduler, Service};

use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Prints the warnings about a change to a terminal, before it is made.
pub(crate) fn print(director: &mut Client, change: &Change) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    change.warnings().iter().for_each(|warning| print_error(&format!("warning: {warning}")));
    let (item, lost, command) = match change {
        Change::EditDestination(key, new) => {
            let old = director.destinations_with(key, Counters::Skip).unwrap_or_default();
            let old = old.iter().find(|state| state.destination.key == new.key);
            (new.key.to_string(), old.map(|old| reset_of_server(&old.destination, new)), "-e")
        }
        Change::EditService(new) => {
            let old = director.service(&new.key);
            (new.key.to_string(), old.ok().map(|old| reset_of_service(&old.service, new)), "-E")
        }
        _ => return,
    };
    let lost = lost.unwrap_or_default().join(" ");
    if !lost.is_empty() {
        print_error(&format!(
            "note: {item} had {lost}: {command} resets options that are not specified\n\
             To change single settings, use `ipvsadm-rs set`."
        ));
    }
}

/// Returns the options of the old server for which the new one has the default.
fn reset_of_server(old: &Destination, new: &Destination) -> Vec<String> {
    let mut lost = Vec::new();
    match old.forwarding {
        _ if new.forwarding != Forwarding::DirectRoute => {}
        Forwarding::Masquerade => lost.push("-m".into()),
        Forwarding::Tunnel(_) => lost.push("-i".into()),
        _ => {}
    }
    for (letter, default, old, new) in [
        ("-w", 1, old.weight, new.weight),
        ("-x", 0, old.upper_threshold, new.upper_threshold),
        ("-y", 0, old.lower_threshold, new.lower_threshold),
    ] {
        if new == default && old != default {
            lost.push(format!("{letter} {old}"));
        }
    }
    lost
}

/// Returns the options of the old service for which the new one has the default.
fn reset_of_service(old: &Service, new: &Service) -> Vec<String> {
    let mut lost = Vec::new();
    if new.scheduler == Scheduler::WLC && old.scheduler != new.scheduler {
        lost.push(format!("-s {}", old.scheduler));
    }
    match (old.persistence, new.persistence) {
        (Some(seconds), None) => lost.push(format!("-p {seconds}")),
        (Some(_), Some(_)) if new.netmask == Netmask::host(new.key.family()) && old.netmask != new.netmask => {
            lost.push(format!("-M {}", old.netmask));
        }
        _ => {}
    }
    if let (Some(engine), None) = (old.engine, new.engine) {
        lost.push(format!("--pe {engine}"));
    }
    if old.one_packet && !new.one_packet {
        lost.push("-o".into());
    }
    let flags: Vec<&str> = flag_names(old.scheduler, old.flags).collect();
    if new.flags.is_empty() && !flags.is_empty() {
        lost.push(format!("-b {}", flags.join(",")));
    }
    lost
}

/// Prints the warnings about rules that were read. Repeated lines are always reported, because 1.31 reports them as
/// errors. Other warnings are printed only to a terminal.
pub(crate) fn print_of_rules(read: &ReadConfig) {
    /// The maximum number of warnings that are printed.
    const MOST: usize = 100;
    let is_terminal = std::io::stderr().is_terminal();
    let is_shown = |warning: &ConfigWarning| is_terminal || matches!(warning, ConfigWarning::Repeated(_));
    let shown: Vec<_> = read.warnings.iter().filter(|(_, warning)| is_shown(warning)).collect();
    for (line, warning) in shown.iter().take(MOST) {
        print_error(&format!("line {line}: warning: {warning}"));
    }
    if let Some(more @ 1..) = shown.len().checked_sub(MOST) {
        print_error(&format!("{} not shown", count(more, "more warning")));
    }
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Numeric, read_config};

    use super::*;

    #[test]
    fn finds_settings_that_return_to_their_defaults() {
        let service = |line: &str| read_config(line.as_bytes(), &mut Numeric).expect(line).config.services[0].clone();
        for (old, new, lost) in [
            ("-s rr -p 60", "", "-s rr -p 60"),
            ("-s sh -b sh-port,sh-fallback", "-s sh", "-b sh-fallback,sh-port"),
            ("-p 60 -M 255.255.255.0 --pe sip", "-p 60", "-M 255.255.255.0 --pe sip"),
            ("-s rr", "-s wrr -p 5", ""),
        ] {
            let [old, new] = [old, new].map(|options| service(&format!("-A -u 192.0.2.1:53 {options}")).service);
            assert_eq!(reset_of_service(&old, &new).join(" "), lost);
        }
        for (old, new, lost) in [
            ("-m -w 3 -x 10 -y 5", "", "-m -w 3 -x 10 -y 5"),
            ("-i -w 3", "-w 3", "-i"),
            ("-m -w 3", "-m -w 0", ""),
            ("-g", "-m", ""),
        ] {
            let [old, new] = [old, new].map(|options| {
                let text = format!("-A -f 1\n-a -f 1 -r 10.0.0.1 {options}");
                service(&text).destinations[0]
            });
            assert_eq!(reset_of_server(&old, &new).join(" "), lost);
        }
    }
}
