//! The command `ipvsadm`, with the options that its command accepts.

use std::os::unix::ffi::OsStrExt;

use clap::Command;
use ipvs::rules::program::{COMMANDS, CommandRow, OPTIONS, OptionRow};

use super::Line;
use crate::generate::commands;

/// Returns the command for a line. A line has one command, before its options. If it has none yet, only commands can
/// follow, and otherwise only the options of its command.
pub(super) fn command(line: &Line) -> Command {
    let chosen = line.words().iter().find_map(|word| row_of(word.as_bytes()));
    let is_current = line.before().iter().all(|word| row_of(word.as_bytes()).is_none());
    commands::ipvsadm().mut_args(|argument| {
        let id = argument.get_id().as_str();
        let option = OPTIONS.iter().find(|row| row.long == id);
        let is_offered = match (chosen, option) {
            (None, option) => option.is_none(),
            (Some(chosen), Some(option)) => accepts(chosen, option),
            (Some(chosen), None) => chosen.long == id && is_current,
        };
        argument.hide(!is_offered)
    })
}

/// Returns the command in a word: `--list`, `-L` or `-Ln`.
fn row_of(word: &[u8]) -> Option<&'static CommandRow> {
    match word.strip_prefix(b"--") {
        Some(long) => {
            let name = long.split(|&byte| byte == b'=').next().unwrap_or(long);
            COMMANDS.iter().find(|row| !row.long.is_empty() && row.long.as_bytes() == name)
        }
        None => {
            let letter = word.strip_prefix(b"-")?.first()?;
            COMMANDS.iter().find(|row| row.shorts.as_bytes().contains(letter))
        }
    }
}

fn accepts(command: &CommandRow, option: &OptionRow) -> bool {
    let verb = command.verb;
    // An option without a name is accepted by every command, but is useful only with a firewall mark.
    option.name.is_empty()
        || [option.required, option.allowed, option.exclusive].iter().any(|verbs| verbs.contains(&verb))
}
