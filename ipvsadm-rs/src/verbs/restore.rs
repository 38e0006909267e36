//! `ipvsadm-rs restore`: restores a table from the journal.

use std::str::FromStr;

use clap::Args;
use ipvs::plan::Options;
use ipvs::{Change, Config, State};

use super::go_back::{BackArguments, WayBack};
use crate::context::Context;
use crate::journal::{Entry, Folder, Origin, inexpressible, rollback_plan_of_any_table};
use crate::plan::reversal::{reversal, table_after};
use crate::terminal::exit::print_error;

/// Restore the table from before or after a plan
///
/// Restores the whole table. This reverts all later changes, also those of other programs. Services that --only or
/// --protect excluded from the plan are not changed.
///
/// For some plans, only the services and servers that they changed are restored. These are the plans of `set`, `drain`,
/// `undrain` and `shift`, of `ipvsadm -R` with at most 8 services, and those with --listed-only or --previous.
///
/// `ipvsadm-rs history` lists the plans, also those of an earlier boot. As few changes as possible are made, and `undo`
/// reverts them.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Restore {
    /// Number of the plan, to restore the table after it; with `:before`, the table before it
    #[arg(value_name = "NUMBER[:before|:after]")]
    point: Point,
    #[command(flatten)]
    back: BackArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The table is restored
  1  Error
  2  Only with --dry-run: there are changes to make
  3  Only with --drain: the time limit was reached, and connections were dropped";

/// A point in the history of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    number: u64,
    is_before: bool,
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, is_before) = match text.split_once(':') {
            None => (text, false),
            Some((number, "before")) => (number, true),
            Some((number, "after")) => (number, false),
            Some(_) => ("", false),
        };
        let number = number.parse().map_err(
            |_| "expected the number of a plan, such as 7 or 7:before\nTo restore a file, run `ipvsadm-rs apply FILE`.",
        )?;
        Ok(Self { number, is_before })
    }
}

impl Restore {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let Point { number, is_before } = self.point;
        let folder = context.folder()?;
        let entry = folder.plan(number)?;
        if !is_before || entry.scope.listed_only {
            inexpressible(&entry, &[]).iter().for_each(|note| print_error(note));
        }
        if folder.origin(&entry) != Origin::ThisTable {
            print_error(&format!("note: plan {number} {}", folder.origin(&entry).texts().reason));
        }
        let wanted = |state: &State| {
            if entry.is_partial { part(&folder, &entry, is_before, state) } else { whole(&folder, &entry, is_before) }
        };
        let way = WayBack { command: "restore", undoes: None, wanted: &wanted, check: &|_| Ok(()), done: &|_| () };
        self.back.take(context, &way)
    }
}

/// Returns a whole table, within the scope of the plan.
fn whole(folder: &Folder, entry: &Entry, is_before: bool) -> anyhow::Result<(Config, Options)> {
    let (before, options) = rollback_plan_of_any_table(folder, entry, &[])?;
    if is_before {
        return Ok((before, options));
    }
    let changes = entry.changes();
    let any = |is: fn(&Change) -> bool| changes.iter().any(is);
    let mut after = table_after(&before, &changes)?;
    // The model has timeouts and daemons in any case.
    if before.timeouts.is_none() && !any(|change| matches!(change, Change::SetTimeouts(_))) {
        after.timeouts = None;
    }
    if before.daemons.is_none() && !any(|change| matches!(change, Change::StartDaemon(_) | Change::StopDaemon(_))) {
        after.daemons = None;
    }
    Ok((after, options))
}

/// Returns the present table, in which only the services and servers that the plan changed are restored.
fn part(folder: &Folder, entry: &Entry, is_before: bool, state: &State) -> anyhow::Result<(Config, Options)> {
    let changes = entry.changes();
    let config = if is_before {
        reversal(&folder.before(entry.number)?, &changes, state)?.wanted
    } else {
        table_after(&Config::from(state), &changes)?
    };
    Ok((config, Options::default()))
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn points_are_read() {
        let point = |number, is_before| Ok(Point { number, is_before });
        assert_eq!("7".parse(), point(7, false));
        assert_eq!("7:after".parse(), point(7, false));
        assert_eq!("7:before".parse(), point(7, true));
        for text in ["", ":", "x", "7:", "7:now", "-1", "rules"] {
            assert!(text.parse::<Point>().expect_err(text).contains("ipvsadm-rs apply FILE"), "{text}");
        }
    }
}
