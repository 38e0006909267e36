//! The state of a follower, for people, `metrics` and reports.

use std::io::Write;

use ipvs::document::SCHEMA;
use serde::{Deserialize, Serialize};

use super::revision::RevisionId;
use crate::context::{Context, code};
use crate::journal::{FollowerFile, now_text};
use crate::terminal::plural::count;
use crate::terminal::{text, time};

/// The state of a follower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) schema: u32,
    pub(crate) host: String,
    pub(crate) source: String,
    /// The time of the last change of this state, in the form of RFC 3339.
    pub(crate) time: String,
    pub(crate) phase: Phase,
    /// The reason for the phase. Absent if there is nothing to explain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The last revision of the source. Absent if none could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wanted: Option<RevisionId>,
    /// The revision that the table was last changed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) applied: Option<Applied>,
    /// The differences from the applied revision that others made since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drift: Option<Drift>,
    /// The number of servers that are drained before they are deleted.
    pub(crate) draining: usize,
    /// The number of servers of the revision that a person has drained with `drain`.
    #[serde(default)]
    pub(crate) drained: usize,
    /// The error of the last attempt to read the source. Absent if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store_error: Option<String>,
    /// The error of the last attempt to write a report, or to read those of the others. Absent if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report_error: Option<String>,
}

/// A revision in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    #[serde(flatten)]
    pub(crate) id: RevisionId,
    /// The time at which the table matched, in the form of RFC 3339.
    pub(crate) time: String,
    /// The number of the plan. Absent if there was nothing to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<u64>,
}

impl Applied {
    /// Records that the table matches a revision now.
    pub(super) fn now(id: RevisionId, plan: Option<u64>) -> Self {
        Self { id, time: now_text(), plan }
    }
}

/// Changes of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Drift {
    /// The number of times that the table differed.
    pub(crate) times: u64,
    /// The number of changes of the last time.
    pub(crate) changes: usize,
    /// The first of these changes, as a line of ipvsadm.
    pub(crate) first: String,
    /// The last time, in the form of RFC 3339.
    pub(crate) time: String,
    /// The table still differs, because differences are only reported, or because they exceed a limit.
    pub(crate) remains: bool,
}

/// The phase of the last revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// No revision was read yet.
    Starting,
    /// The quiet time has not passed.
    Quiet,
    /// Other directors apply it first.
    Waiting,
    /// It exceeds a limit, and nobody confirmed it.
    Held,
    /// It was not applied, because its documents are missing or have errors.
    Invalid,
    /// The table could not be changed. It is tried again.
    Failed,
    /// It is applied, and the health is checked.
    Checking,
    /// It is applied.
    Good,
    /// It was applied, found bad, and rolled back.
    Bad,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Quiet => "quiet",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Checking => "checking",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }

    /// Returns whether `confirm` makes a difference.
    pub(crate) fn can_be_confirmed(self) -> bool {
        matches!(self, Self::Held | Self::Waiting | Self::Bad)
    }

    /// Returns whether a person should look at it.
    pub(crate) fn is_problem(self) -> bool {
        matches!(self, Self::Held | Self::Invalid | Self::Failed | Self::Bad)
    }
}

/// The state as it is printed.
#[derive(Serialize)]
struct Shown {
    /// The process that follows the source is running.
    running: bool,
    #[serde(flatten)]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
}

/// Prints the state of the follower of the namespace. Returns the exit code.
pub(super) fn show(context: &Context) -> anyhow::Result<u8> {
    let folder = context.folder()?;
    let status: Option<Status> = folder.read_follower(FollowerFile::Status)?;
    let running = folder.is_followed();
    let is_good = running && status.as_ref().is_some_and(|status| !status.has_problem());
    if context.json {
        let schema = status.is_none().then_some(SCHEMA);
        context.write_json(&Shown { running, status, schema })?;
    } else {
        context.write(|out| match &status {
            Some(status) => status.write(out, running),
            None => writeln!(out, "no source is followed"),
        })?;
    }
    Ok(if is_good { code::DONE } else { code::CHANGES })
}

impl Status {
    /// Returns whether a person should look at it.
    pub(crate) fn has_problem(&self) -> bool {
        self.phase.is_problem() || self.store_error.is_some() || self.drift.as_ref().is_some_and(|drift| drift.remains)
    }

    fn write(&self, out: &mut dyn Write, running: bool) -> std::io::Result<()> {
        let stopped = if running { "" } else { " (not running)" };
        writeln!(out, "source    {}{stopped}", text::escaped(&self.source))?;
        if let Some(error) = &self.store_error {
            write_lines(out, "store     not readable: ", error)?;
        }
        if let Some(error) = &self.report_error {
            write_lines(out, "reports   ", error)?;
        }
        if let Some(wanted) = &self.wanted {
            writeln!(out, "wanted    revision {wanted}")?;
        }
        if let Some(Applied { id, time: at, plan }) = &self.applied {
            let plan = plan.map(|number| format!(", plan {number}")).unwrap_or_default();
            writeln!(out, "applied   revision {id}, {}{plan}", time::local(at))?;
        }
        writeln!(out, "state     {} since {}", self.phase.name(), time::local(&self.time))?;
        if let Some(reason) = &self.reason {
            write_lines(out, "          ", reason)?;
        }
        if let Some(Drift { times, changes, first, time: at, remains }) = &self.drift {
            let state = match (*remains, *changes == 1) {
                (true, true) => "remains",
                (true, false) => "remain",
                (false, true) => "was corrected",
                (false, false) => "were corrected",
            };
            writeln!(
                out,
                "drift     {}, last {}: {} {state}",
                count(*times, "time"),
                time::local(at),
                count(*changes, "change")
            )?;
            writeln!(out, "          {}", text::escaped(first))?;
        }
        if self.draining > 0 {
            writeln!(out, "draining  {}", count(self.draining, "server"))?;
        }
        if self.drained > 0 {
            writeln!(out, "drained   {}, until `ipvsadm-rs undrain`", count(self.drained, "server"))?;
        }
        Ok(())
    }
}

/// Writes a text whose further lines are indented as the first one.
fn write_lines(out: &mut dyn Write, label: &str, lines: &str) -> std::io::Result<()> {
    for (number, line) in lines.lines().enumerate() {
        writeln!(out, "{}{}", if number == 0 { label } else { "          " }, text::escaped(line))?;
    }
    Ok(())
}
