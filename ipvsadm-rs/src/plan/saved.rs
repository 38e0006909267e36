//! Plans in files: `plan -o` writes them, and `plan` and `apply` read them.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use ipvs::document::SCHEMA;
use ipvs::plan::Options;
use ipvs::{Change, Config, Plan, Scope, Selector, ServiceKey, State};
use serde::{Deserialize, Serialize};

use crate::journal::now_text;
use crate::plan::reversal::state_of;
use crate::terminal::plural::count;
use crate::terminal::text;

/// A plan, the table that it leads to, and the table that it was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedPlan {
    /// The version of the format. This key distinguishes a plan from a table.
    saved_plan: u32,
    /// The time at which the plan was made, in the form of RFC 3339.
    made: String,
    /// The name of the file with the wanted table.
    file: String,
    /// The changes as lines of ipvsadm, for people. They are planned again from the two tables.
    changes: Vec<String>,
    only: Vec<Selector>,
    protect: Vec<Selector>,
    listed_only: bool,
    /// The services that the file of `--previous` lists.
    previous: Vec<ServiceKey>,
    keep_weights: bool,
    reorder: bool,
    /// The table that the plan leads to.
    wanted: Config,
    /// The table that the plan was made from, limited to the scope of the plan.
    made_from: Config,
}

impl SavedPlan {
    /// Returns the plan from a table to another one.
    pub(crate) fn new(file: String, plan: &Plan, from: &State, wanted: Config, options: &Options) -> Self {
        let Scope { only, protect, listed, former } = options.scope.clone();
        let mut previous: Vec<ServiceKey> = former.into_iter().collect();
        previous.sort_unstable();
        Self {
            saved_plan: SCHEMA,
            made: now_text(),
            file,
            changes: plan.changes.iter().map(ToString::to_string).collect(),
            only,
            protect,
            listed_only: listed,
            previous,
            keep_weights: options.keep_weights,
            reorder: options.reorder,
            wanted,
            made_from: in_scope(Config::from(from), &options.scope),
        }
    }

    /// Reads a plan. Returns `None` if the bytes are not a plan.
    pub(crate) fn read(bytes: &[u8]) -> Option<anyhow::Result<Self>> {
        const KEY: &[u8] = b"\"saved_plan\"";
        let is_object = bytes.trim_ascii_start().starts_with(b"{");
        if !is_object || !bytes.windows(KEY.len()).any(|window| window == KEY) {
            return None;
        }
        let read = serde_json::from_slice(bytes).context("the saved plan cannot be read");
        Some(read.and_then(Self::checked))
    }

    fn checked(self) -> anyhow::Result<Self> {
        if self.saved_plan != SCHEMA {
            bail!("saved plan of version {}: only {SCHEMA} is supported", self.saved_plan);
        }
        for table in [&self.wanted, &self.made_from] {
            table.validate().context("the saved plan has an invalid table")?;
        }
        Ok(self)
    }

    /// Writes the plan as JSON.
    pub(crate) fn to_json(&self) -> anyhow::Result<Vec<u8>> {
        let mut json = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        json.push('\n');
        Ok(text::json(&json).as_bytes().to_vec())
    }

    /// Returns the wanted table.
    pub(crate) fn wanted(&self) -> &Config {
        &self.wanted
    }

    /// Returns the options with which the plan was made.
    pub(crate) fn options(&self) -> Options {
        let Self { only, protect, listed_only, previous, keep_weights, reorder, .. } = self.clone();
        let scope = Scope { only, protect, listed: listed_only, former: previous.into_iter().collect() };
        Options::default().scope(scope).keep_weights(keep_weights).reorder(reorder)
    }

    /// Fails if the table is not the one that the plan was made from. Only differences in the scope of the plan count,
    /// and weights only if the plan sets weights.
    pub(crate) fn ensure_current(&self, state: &State) -> anyhow::Result<()> {
        /// The maximum number of differences that are printed.
        const MAX_SHOWN: usize = 5;
        let changes = self.changes_since(state)?;
        if changes.is_empty() {
            return Ok(());
        }
        let mut message = format!(
            "the table has changed since the plan was made, at {}: {}",
            self.made,
            count(changes.len(), "change")
        );
        for change in changes.iter().take(MAX_SHOWN) {
            let _ = write!(message, "\n  {change}");
        }
        if changes.len() > MAX_SHOWN {
            let _ = write!(message, "\n  and {} more", changes.len() - MAX_SHOWN);
        }
        bail!("{message}\nRun `ipvsadm-rs plan` again.")
    }

    /// Returns the changes that led from the table of the plan to this one.
    fn changes_since(&self, state: &State) -> anyhow::Result<Vec<Change>> {
        let options = self.options();
        let before = state_of(&self.made_from).context("the saved plan has an invalid table")?;
        let now = in_scope(Config::from(state), &options.scope);
        let whole = Options::default().keep_weights(options.keep_weights);
        Ok(ipvs::plan(&now, &before, &whole).changes)
    }
}

/// Limits a table to the services and settings that a plan may change.
fn in_scope(mut config: Config, scope: &Scope) -> Config {
    config.services.retain(|service| scope.contains(&service.service.key));
    if !scope.contains_globals() {
        (config.timeouts, config.daemons) = (None, None);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state as table};

    const TWO: &str = "\
        -A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 1\n\
        -A -t 192.0.2.2:80 -s rr\n-a -t 192.0.2.2:80 -r 10.0.0.1 -m -w 1\n";

    /// Returns the plan of a file with one more server, after it was written and read again.
    fn saved(options: &Options) -> SavedPlan {
        let (from, wanted) = (table(TWO), config(&format!("{TWO}-a -t 192.0.2.1:80 -r 10.0.0.2 -m -w 1\n")));
        let plan = ipvs::plan(&wanted, &from, options);
        let saved = SavedPlan::new("rules".to_owned(), &plan, &from, wanted, options);
        assert_eq!(saved.changes, ["-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1"]);
        let read = SavedPlan::read(&saved.to_json().expect("JSON")).expect("a plan").expect("valid");
        assert_eq!(read.options(), *options);
        assert_eq!(read.wanted(), saved.wanted());
        read
    }

    #[test]
    fn any_change_in_the_scope_counts() {
        let saved = saved(&Options::default());
        saved.ensure_current(&table(TWO)).expect("nothing has changed");
        for (now, change) in [
            (format!("{TWO}-a -t 192.0.2.2:80 -r 10.0.0.9 -m -w 1\n"), "-a -t 192.0.2.2:80 -r 10.0.0.9:80 -m -w 1"),
            (TWO.replace("-s rr", "-s wrr"), "-E -t 192.0.2.1:80 -s wrr"),
            (TWO.replace("-w 1", "-w 0"), "-e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 0"),
            (format!("{TWO}--set 1000 0 0\n"), "--set 1000 120 300"),
        ] {
            let error = format!("{:#}", saved.ensure_current(&table(&now)).expect_err("it has changed"));
            assert!(error.contains(change), "{error}");
        }
    }

    #[test]
    fn changes_outside_the_scope_do_not_count() {
        let scope = Scope { only: vec!["192.0.2.1".parse().expect("a selector")], ..Scope::default() };
        let saved = saved(&Options::default().scope(scope).keep_weights(true));
        let other = TWO.replace("192.0.2.2", "192.0.2.3") + "--set 1000 0 0\n";
        saved.ensure_current(&table(&other)).expect("nothing in the scope has changed");
        saved.ensure_current(&table(&TWO.replace("-w 1", "-w 0"))).expect("weights are kept");
        saved.ensure_current(&table(&TWO.replace("-s rr", "-s wrr"))).expect_err("another scheduler");
    }

    #[test]
    fn other_documents_are_no_plans() {
        for text in ["", "{}", "-A -t 192.0.2.1:80 -s rr\n# \"saved_plan\"", "{\"services\": []}"] {
            assert!(SavedPlan::read(text.as_bytes()).is_none(), "{text}");
        }
        for text in ["{\"saved_plan\": 1}", "{\"saved_plan\""] {
            assert!(SavedPlan::read(text.as_bytes()).expect("a plan").is_err(), "{text}");
        }
        let newer = serde_json::to_string(&SavedPlan { saved_plan: 2, ..saved(&Options::default()) }).expect("JSON");
        let error = SavedPlan::read(newer.as_bytes()).expect("a plan").expect_err("of version 2");
        assert_eq!(error.to_string(), "saved plan of version 2: only 1 is supported");
    }
}
