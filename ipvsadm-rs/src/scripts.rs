//! `ipvsadm-save` and `ipvsadm-restore`.

use std::process::ExitCode;

use ipvs::{Change, Director};

use crate::classic;
use crate::failure::{Failure, conclude, exit, say};
use crate::messages;
use crate::program::Arguments;
use crate::restore::{self, Script};

/// `ipvsadm-save [-n]`: the table as lines, with numbers if asked for. Words are ignored, as ever.
pub(crate) fn save(arguments: &Arguments) -> ExitCode {
    let words = arguments.words();
    if words.iter().any(|word| word.starts_with(b"-") && *word != b"-n") {
        say(&format!(
            "{}: Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format.",
            arguments.program()
        ));
        return ExitCode::from(exit::LISTING);
    }
    let numeric = words.contains(&&b"-n"[..]);
    conclude(classic::open().and_then(|mut director| classic::save(&mut director, numeric)))
}

/// `ipvsadm-restore`: the table becomes what standard input says, once all of that has been understood.
pub(crate) fn restore(arguments: &Arguments) -> ExitCode {
    for word in arguments.words() {
        say(&format!("{}: argument {} is ignored", arguments.program(), String::from_utf8_lossy(word)));
    }
    conclude(replace_table(&arguments.program()))
}

fn replace_table(program: &str) -> Result<(), Failure> {
    let text = restore::read_input()?;
    let script = Script::read(&text, program)?;
    drop(text);
    let mut director = classic::open()?;
    if script.is_empty() {
        let services = director.services().map_err(|error| messages::unanswered(&error))?;
        if services.is_empty() {
            return Ok(());
        }
        let text = "the input has no rules: the table is left as it is. `ipvsadm -C' empties it";
        return Err(Failure::Said(format!("{program}: {text}"), exit::LISTING));
    }
    director.submit(&[Change::Flush]).map_err(|error| messages::refused(&Change::Flush, &error))?;
    script.carry_out(&mut director, program)
}
