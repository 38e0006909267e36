//! `ipvsadm-rs doctor`: checks the settings of a director.

mod check;
mod checks;
#[cfg(test)]
mod document;
mod facts;
mod report;
mod source;
#[cfg(test)]
mod tests;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};

use crate::context::{Context, code};
use crate::terminal::width::Size;
use check::{Check, Examined, Severity};
use facts::Facts;
use report::Report;

/// Check the settings of a director, and print the commands that mend them
///
/// Checks the kernel module, the sysctls, the sync daemons and the services of one network namespace. Each finding has
/// the values that were read, their meaning, and a command if one mends it. Findings are errors, warnings or notes. The
/// worst come first. /usr/share/doc/ipvsadm-rs/docs/doctor.md has a section for each check, with its threshold and default.
///
/// Nothing is changed, and no module is loaded. Checks that do not apply to this table or kernel are only counted. A
/// check whose values cannot be read is listed as not checked, with the reason. Most checks need root.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Doctor {
    /// Skip this check; can be repeated, or separated by commas
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = ids(), hide_possible_values = true)]
    disable: Vec<String>,
    /// Exit with 2 if a finding is at least this severe
    #[arg(long, value_name = "SEVERITY", value_enum, default_value = "warning")]
    fail_on: FailOn,
    /// Also list the checks that passed, that do not apply, and that are disabled
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum FailOn {
    /// Errors and warnings
    Warning,
    /// Errors only
    Error,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  No error or warning; with --fail-on error, no error. Notes do not count
  1  As 0, but the table could not be read; or the command failed
  2  An error or a warning; with --fail-on error, an error";

fn ids() -> PossibleValuesParser {
    PossibleValuesParser::new(checks::all().map(|check| PossibleValue::new(check.id)))
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (results, has_table) = match &context.netns {
            // All files and sockets of this thread are those of the namespace.
            Some(namespace) => namespace.within(|| self.examine()).map_err(ipvs_error)?,
            None => self.examine(),
        };
        let report = Report::new(results, context.netns.as_ref());
        if context.json {
            context.write_json(&report)?;
        } else {
            /// Longer lines are hard to read.
            const WIDEST: usize = 100;
            let width = Size::of_stdout().map_or(80, |size| size.columns.min(WIDEST));
            let text = report.text(width, self.all, &context.palette());
            context.write(|out| out.write_all(text.as_bytes()))?;
        }
        let limit = if self.fail_on == FailOn::Error { Severity::Error } else { Severity::Warning };
        Ok(match report.worst() {
            Some(worst) if worst >= limit => code::CHANGES,
            _ if !has_table => code::ERROR,
            _ => code::DONE,
        })
    }

    /// Examines all checks. Also returns whether the table could be read.
    fn examine(&self) -> (Vec<(&'static Check, Option<Examined>)>, bool) {
        let facts = Facts::read();
        let is_enabled = |check: &Check| !self.disable.iter().any(|id| id == check.id);
        let results = checks::all().map(|check| (check, is_enabled(check).then(|| check.examine(&facts))));
        (results.collect(), facts.table.is_ok())
    }
}

fn ipvs_error(error: ipvs::ipvs_sys::Error) -> anyhow::Error {
    anyhow::Error::from(error)
}
