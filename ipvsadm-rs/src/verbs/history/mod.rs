//! `ipvsadm-rs history`: shows the plans in the journal.

mod diff;
mod list;

use clap::{Args, Subcommand};
use ipvs::document::SCHEMA;
use serde::Serialize;

use crate::context::{Context, code};
use crate::journal::{Entry, Folder, Origin};
use crate::terminal::{text, time};

pub(super) use list::list;

/// Show the changes that were made to the table
///
/// Lists the plans, the oldest first. A plan contains the changes of one command: of a verb, of ipvsadm-restore, of
/// `ipvsadm -R`, or of `ipvsadm -C`. Other commands of ipvsadm, such as -A and -d, are not recorded.
///
/// Each line shows the number of the plan, the local time, the user who logged in, the command, the number of changes,
/// and the state.
///
/// The last 100 plans are kept. Plans of `set`, `follow` and `ipvsadm -R` are removed earlier, except for the last 50 of
/// them.
/// Repeated `set` of the same services or servers within 10 minutes is one plan.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct History {
    #[command(subcommand)]
    command: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Show one plan, with its user, time, file and changes
    Show {
        /// Number of the plan
        #[arg(value_name = "NUMBER")]
        number: u64,
    },
    /// Show the changes from the table after a plan to the present one, or to the table after another plan
    ///
    /// The changes are printed as lines of ipvsadm. If a plan records only the services and servers that it changed, only
    /// those are compared. `restore --help` lists such plans.
    Diff {
        /// Number of the plan
        #[arg(value_name = "NUMBER")]
        number: u64,
        /// Number of the other plan [default: the present table]
        #[arg(value_name = "OTHER")]
        other: Option<u64>,
    },
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error, or the journal is empty";

impl History {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let folder = context.folder()?;
        match self.command {
            None => list(context, &folder),
            Some(Part::Show { number }) => show(context, &folder, number),
            Some(Part::Diff { number, other }) => diff::diff(context, &folder, number, other),
        }
    }
}

#[derive(Serialize)]
struct Shown {
    schema: u32,
    #[serde(flatten)]
    entry: Entry,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    undone_by: Option<u64>,
}

fn show(context: &Context, folder: &Folder, number: u64) -> anyhow::Result<u8> {
    let entry = folder.plan(number)?;
    let (origin, undone_by) = (folder.origin(&entry), folder.undone_by(number));
    if context.json {
        context.write_json(&Shown { schema: SCHEMA, entry, origin, undone_by })?;
        return Ok(code::DONE);
    }
    let Entry { time: at, author, file, scope, changes, .. } = &entry;
    let author = author.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let selectors =
        |option: &str, values: &[String]| values.iter().map(|value| format!("--{option} {value}")).collect::<Vec<_>>();
    let mut limits = [selectors("only", &scope.only), selectors("protect", &scope.protect)].concat();
    limits.extend(scope.listed_only.then(|| "--listed-only or --previous".to_owned()));
    context.write(|out| {
        let (command, state) = (list::command(&entry), list::state(&entry, origin, folder, undone_by));
        writeln!(out, "plan:    {number}")?;
        writeln!(out, "command: {}", text::escaped(&command))?;
        writeln!(out, "state:   {state}")?;
        for remark in list::remarks(&entry, origin, folder) {
            writeln!(out, "         {remark}")?;
        }
        writeln!(out, "time:    {}", time::local_with_zone(at))?;
        writeln!(out, "user:    {}", text::escaped(&author))?;
        if let Some(file) = file {
            writeln!(out, "file:    {}", text::escaped(file))?;
        }
        if !limits.is_empty() {
            writeln!(out, "scope:   {}", text::escaped(&limits.join(" ")))?;
        }
        writeln!(out, "changes: {}", changes.len())?;
        changes.iter().try_for_each(|change| writeln!(out, "  {}", text::escaped(change)))
    })?;
    Ok(code::DONE)
}
