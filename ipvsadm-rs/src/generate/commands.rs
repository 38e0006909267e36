//! ipvsadm's commands and options as clap commands, for manual pages and completions only. [`ipvs::rules`] parses the
//! command lines.

use clap::{Arg, ArgAction, Command};
use ipvs::rules::program::{COMMANDS, OPTIONS, Value};

use crate::classic::help::help;

/// Returns the command `ipvsadm`.
pub(crate) fn ipvsadm() -> Command {
    let commands = COMMANDS.iter().map(|row| argument(row.long, row.shorts, row.value, row.help.into(), "Commands"));
    let options = OPTIONS.iter().map(|row| argument(row.long, row.shorts, row.value, help(row), "Options"));
    Command::new("ipvsadm")
        .about("Administer the Linux Virtual Server")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(commands.chain(options))
}

/// Returns the command `ipvsadm-save`.
pub(crate) fn save() -> Command {
    Command::new("ipvsadm-save")
        .about("Write the table of the Linux Virtual Server to standard output, as lines for ipvsadm-restore")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(argument("", "n", Value::None, "Print addresses and ports as numbers".into(), "Options"))
}

/// Returns the command `ipvsadm-restore`.
pub(crate) fn restore() -> Command {
    Command::new("ipvsadm-restore")
        .about("Replace the table of the Linux Virtual Server with the one on standard input")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(argument(
            "flush",
            "",
            Value::None,
            "Delete all services and servers first, as ipvsadm 1.31 does".into(),
            "Options",
        ))
}

fn argument(long: &'static str, shorts: &'static str, value: Value, help: String, heading: &'static str) -> Arg {
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
