//! One application of a revision to the table.

use std::time::Duration;

use ipvs::apply::{Applied, apply_plan};
use ipvs::plan::Departing;
use ipvs::{Config, Counters, Plan, State, plan, rules};

use super::bounds::Bounds;
use super::draining::Draining;
use super::revision::Revision;
use crate::context::Context;
use crate::journal::Intent;
use crate::plan::desired::{Desired, Selection};
use crate::plan::transaction::{Transaction, finish};
use crate::plan::weights::keep_drained;
use crate::terminal::text;

/// The result.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The table already matches.
    Same,
    /// All changes were made.
    Applied(Made),
    /// Nothing was changed, because the plan exceeds a limit.
    Held(String, Difference),
    /// Nothing was changed, because differences are only reported.
    Differs(Difference),
}

/// A plan that was made.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    /// The number of the plan. `None` if there is no journal.
    pub(super) plan: Option<u64>,
    /// The changes, without the deletions of servers that were drained. `None` if there are no others.
    pub(super) difference: Option<Difference>,
}

impl Made {
    /// Returns ` as plan 7`, or an empty text without a journal.
    pub(super) fn as_plan(&self) -> String {
        self.plan.map(|number| format!(" as plan {number}")).unwrap_or_default()
    }
}

/// Changes from the table to a revision.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) changes: usize,
    /// The first change, as a line of ipvsadm.
    pub(super) first: String,
}

impl Difference {
    fn of(plan: &Plan, draining: &Draining) -> Option<Self> {
        let mut changes = plan.changes.iter().filter(|change| !draining.is_completed_by(change));
        let first = changes.next()?.to_string();
        Some(Self { changes: changes.count() + 1, first })
    }
}

/// The limits of one application.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Holds a plan that exceeds a limit.
    Bounded,
    /// Makes any plan, because a person confirmed it, or because it rolls back.
    Unbounded,
    /// Makes no changes.
    ReportOnly,
}

/// Applies revisions.
pub(super) struct Applier<'c> {
    pub(super) context: &'c Context,
    pub(super) source: String,
    pub(super) selection: Selection,
    /// Services that no revision listed are kept.
    pub(super) keep_others: bool,
    pub(super) bounds: Bounds,
    /// Servers are drained before they are deleted.
    pub(super) drains: bool,
    pub(super) draining: Draining,
    /// The number of servers of the revision that a person drains.
    pub(super) kept_drained: usize,
    /// The table that was read last, for reports.
    pub(super) table: LastTable,
}

/// The table that was read last.
#[derive(Debug)]
pub(super) enum LastTable {
    /// Nobody needs it.
    NotKept,
    Kept(Config),
}

impl LastTable {
    fn keep(&mut self, state: &State) {
        if let Self::Kept(config) = self {
            *config = Config::from(state);
        }
    }
}

impl Applier<'_> {
    /// Returns the rules of the table that was read last. `None` if it is not kept.
    pub(super) fn rules(&self) -> Option<String> {
        let LastTable::Kept(config) = &self.table else { return None };
        let mut text = Vec::new();
        rules::write_config(&mut text, config);
        String::from_utf8(text).ok()
    }

    /// Applies a revision. The former one is used with `--keep-others`.
    pub(super) fn apply(
        &mut self,
        revision: &Revision,
        former: Option<&Revision>,
        mode: Mode,
        now: Duration,
    ) -> anyhow::Result<Outcome> {
        let mut director = self.context.open()?;
        let mut transaction = Transaction::open_uninterrupted(self.context)?;
        if let Some(journal) = transaction.journal() {
            journal.ensure_none_pending()?;
        }
        let before = director.state_with(Counters::Skip)?;
        self.table.keep(&before);
        let desired = self.desired(revision, former);
        let (mut config, options) = desired.for_later_state(&before);
        // Maintenance of a server is no drift.
        let remembered = transaction.journal().and_then(|journal| journal.remembered().ok()).unwrap_or_default();
        self.kept_drained = keep_drained(&mut config, &before, &remembered);
        let options = options.departing(if self.drains { Departing::DrainThenDelete } else { Departing::Delete });
        let mut plan = plan(&config, &before, &options);
        let difference = Difference::of(&plan, &self.draining);
        // Kept only when the plan is made: no server is drained by a plan that is held or reported.
        let mut draining = self.draining.clone();
        draining.complete(&mut plan, now);
        if plan.changes.is_empty() {
            self.draining = draining;
            return Ok(Outcome::Same);
        }
        match (mode, &difference) {
            (Mode::ReportOnly, None) => return Ok(Outcome::Same),
            (Mode::ReportOnly, Some(difference)) => return Ok(Outcome::Differs(difference.clone())),
            (Mode::Bounded, Some(difference)) => {
                if let Some(reason) = self.bounds.exceeded(&before, &plan, &config, desired.scope()) {
                    return Ok(Outcome::Held(reason, difference.clone()));
                }
            }
            // A drained server has no weight to lose.
            (Mode::Bounded, None) | (Mode::Unbounded, _) => {}
        }
        let file = format!("{} revision {}", self.source, text::escaped(&revision.id.revision));
        let intent = Intent {
            command: "follow",
            file: Some(file),
            scope: desired.scope(),
            changes: plan.changes.iter().collect(),
            undoes: None,
            confirm_within: None,
        };
        transaction.begin(intent, &before)?;
        let made = apply_plan(&mut director, &config, &options, before, plan).map_err(Into::into);
        let Applied { after, .. } = finish(&mut director, &mut transaction, made)?;
        self.table.keep(&after);
        self.draining = draining;
        Ok(Outcome::Applied(Made { plan: transaction.entry().map(|entry| entry.number), difference }))
    }

    fn desired(&self, revision: &Revision, former: Option<&Revision>) -> Desired {
        let former: Vec<Config> = former.map(|former| former.config.clone()).into_iter().collect();
        let previous = self.keep_others.then_some(&*former);
        Desired::of_file(revision.config.clone(), previous, self.selection.clone())
    }
}
