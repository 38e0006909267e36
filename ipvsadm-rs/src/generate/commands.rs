//! The tables of ipvsadm's language as clap knows commands: for manual pages and completions. Command lines are read by
//! [`ipvs::rules`].

use clap::{Arg, ArgAction, Command};
use ipvs::rules::{COMMANDS, OPTIONS, Value};

/// `ipvsadm`.
pub(crate) fn ipvsadm() -> Command {
    let commands = COMMANDS.iter().map(|row| argument(row.long, row.shorts, row.value, row.help, "Commands"));
    let options = OPTIONS.iter().map(|row| argument(row.long, row.shorts, row.value, row.help, "Options"));
    Command::new("ipvsadm")
        .about("Administer the Linux Virtual Server")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(commands.chain(options))
}

/// `ipvsadm-save`.
pub(crate) fn save() -> Command {
    Command::new("ipvsadm-save")
        .about("Write the table of the Linux Virtual Server to standard output, as lines for ipvsadm-restore")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(argument("", "n", Value::None, "Addresses and ports as numbers", "Options"))
}

/// `ipvsadm-restore`.
pub(crate) fn restore() -> Command {
    Command::new("ipvsadm-restore")
        .about("Make the table of the Linux Virtual Server what standard input says")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(argument("flush", "", Value::None, "Empty the table first, as 1.31 does", "Options"))
}

fn argument(long: &'static str, shorts: &'static str, value: Value, help: &'static str, heading: &'static str) -> Arg {
    let id = if long.is_empty() { shorts } else { long };
    let mut argument = Arg::new(id).help(help).help_heading(heading);
    if !long.is_empty() {
        argument = argument.long(long);
    }
    let mut letters = shorts.chars();
    if let Some(letter) = letters.next() {
        argument = argument.short(letter);
    }
    argument = argument.visible_short_aliases(letters.collect::<Vec<_>>());
    match value {
        Value::None => argument.action(ArgAction::SetTrue),
        Value::Required(name) => argument.value_name(name).allow_hyphen_values(true),
        Value::Optional(name) => argument.value_name(name).num_args(0..=1),
    }
}
