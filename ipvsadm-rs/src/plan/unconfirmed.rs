//! Notes on a plan that is pending, was never confirmed, or whose rollback failed.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::context::Context;
use crate::journal::{Entry, Pending, Phase, TIMER_DIED};
use crate::terminal::exit::print_error;

/// The plan of a table that still needs attention. Each key is absent if there is no such plan.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Unconfirmed {
    /// The plan that is rolled back at its deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<PendingPlan>,
    /// The plan that was not confirmed, and is not rolled back because its rollback timer has died.
    #[serde(skip_serializing_if = "Option::is_none")]
    never_confirmed: Option<Unattended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback_failed: Option<FailedRollback>,
}

#[derive(Debug, Serialize)]
struct PendingPlan {
    plan: u64,
    /// The time of the rollback in the form of RFC 3339. Absent while the changes are being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    /// The time until the deadline. 0 if it has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Unattended {
    plan: u64,
}

#[derive(Debug, Serialize)]
struct FailedRollback {
    plan: u64,
    error: String,
}

impl Unconfirmed {
    /// Reads the journal. Returns no plan if it cannot be read, because the table itself is readable without a journal.
    pub(crate) fn read(context: &Context) -> Self {
        let Ok(folder) = context.folder() else { return Self::default() };
        let mut found = Self { rollback_failed: folder.failed_rollback().map(FailedRollback::from), ..Self::default() };
        if let Some((Entry { number, pending: Some(pending), .. }, phase)) = folder.unfinished() {
            match phase {
                Phase::Draining | Phase::Pending => found.pending = Some(PendingPlan::new(number, &pending)),
                Phase::NeverConfirmed => found.never_confirmed = Some(Unattended { plan: number }),
            }
        }
        found
    }

    /// Prints the notes to standard error.
    pub(crate) fn print(&self) {
        let Self { pending, never_confirmed, rollback_failed } = self;
        if let Some(pending) = pending {
            print_error(&pending.to_string());
        }
        if let Some(Unattended { plan }) = never_confirmed {
            print_error(&format!(
                "note: plan {plan} was never confirmed, and {TIMER_DIED}\n\
                 Run `ipvsadm-rs confirm` to keep it or `ipvsadm-rs undo` to roll it back."
            ));
        }
        if let Some(FailedRollback { plan, error }) = rollback_failed {
            print_error(&format!(
                "note: the rollback of plan {plan} failed: {error}\nRun `ipvsadm-rs undo {plan}` to try again."
            ));
        }
    }
}

impl From<Entry> for FailedRollback {
    fn from(entry: Entry) -> Self {
        Self { plan: entry.number, error: entry.error.unwrap_or_else(|| "unknown error".to_owned()) }
    }
}

impl PendingPlan {
    fn new(plan: u64, pending: &Pending) -> Self {
        Self { plan, deadline: pending.deadline(), seconds_left: pending.left().map(|left| left.as_secs()) }
    }
}

impl fmt::Display for PendingPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "note: plan {} is pending", self.plan)?;
        match self.seconds_left {
            None => write!(f, "; its changes are being made"),
            Some(0) => write!(f, "; its time is over, and it is about to be rolled back"),
            Some(seconds) => {
                let left = humantime::format_duration(Duration::from_secs(seconds));
                write!(f, "; rolling back in {left} unless you run `ipvsadm-rs confirm`")
            }
        }
    }
}
