//! Selection of the program to run, by the name by which it was called and by its first argument.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::classic;
use crate::classic::scripts;
use crate::verbs;

/// The programs in this executable. The name by which it is called selects one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Ipvsadm,
    Save,
    Restore,
    /// `ipvsadm-rs`, or any other name.
    Modern,
}

/// Runs the program that was called, with the arguments of this process.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "ipvsadm".into());
    let arguments = Arguments { program, words: arguments.collect() };
    match role(&arguments.program) {
        Role::Ipvsadm => classic::main(&arguments),
        Role::Save => scripts::save(&arguments),
        Role::Restore => scripts::restore(&arguments),
        Role::Modern if is_classic(arguments.os_words()) => classic::main(&arguments),
        Role::Modern => verbs::main(&arguments),
    }
}

fn role(program: &OsString) -> Role {
    match Path::new(program).file_name().map(OsStrExt::as_bytes) {
        Some(b"ipvsadm") => Role::Ipvsadm,
        Some(b"ipvsadm-save") => Role::Save,
        Some(b"ipvsadm-restore") => Role::Restore,
        _ => Role::Modern,
    }
}

/// Returns whether `ipvsadm-rs` was called with the options of ipvsadm instead of a verb. This is the case if there are
/// no arguments, or if the first argument is an option. Exceptions are `--help`, `--version`, `-V`, and the options that
/// only the verbs have.
pub(crate) fn is_classic(words: &[OsString]) -> bool {
    let Some(first) = words.first().map(|word| word.as_bytes()) else { return true };
    let name = first.split(|&byte| byte == b'=').next().unwrap_or(first);
    first.starts_with(b"-")
        && !matches!(
            name,
            b"--help"
                | b"--version"
                | b"-V"
                | b"--netns"
                | b"--json"
                | b"--color"
                | b"--state-dir"
                | b"--lock-timeout"
                | b"--max-input"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_by_name() {
        for (program, expected) in [
            ("ipvsadm", Role::Ipvsadm),
            ("/sbin/ipvsadm", Role::Ipvsadm),
            ("./ipvsadm-save", Role::Save),
            ("/usr/sbin/ipvsadm-restore", Role::Restore),
            ("ipvsadm-rs", Role::Modern),
            ("/opt/ipvsadm/x", Role::Modern),
        ] {
            assert_eq!(role(&program.into()), expected, "{program}");
        }
    }

    #[test]
    fn distinguishes_verbs_from_options_of_ipvsadm() {
        let classic = |line: &str| is_classic(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in ["", "-Ln", "-A -t x", "-h", "--list", "-"] {
            assert!(classic(line), "{line}");
        }
        for line in ["plan f", "--help", "--version", "-V", "--json show", "--netns=blue show", "--max-input 1G plan f"]
        {
            assert!(!classic(line), "{line}");
        }
    }
}
