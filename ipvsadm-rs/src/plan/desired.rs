//! The wanted table of a plan, with the limits of the changes.

use anyhow::bail;
use ipvs::plan::Options;
use ipvs::{Config, Scope, Selector, ServiceKey, State, SyncDaemon};

use crate::plan::saved::SavedPlan;
use crate::terminal::exit::print_error;

/// The services that a plan may change, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only these services are changed. Empty: all.
    pub(crate) only: Vec<Selector>,
    /// These services are not changed.
    pub(crate) protect: Vec<Selector>,
    /// Services that the file does not list are kept.
    pub(crate) listed_only: bool,
    pub(crate) keep_weights: bool,
    pub(crate) reorder: bool,
}

/// The wanted table, before the present one has been read.
pub(crate) struct Desired {
    config: Config,
    options: Options,
    former_daemons: Vec<SyncDaemon>,
    /// The file contains no rules, and no previous file was specified.
    pub(crate) is_blank: bool,
    /// The saved plan that was read.
    saved: Option<SavedPlan>,
    /// Services with errors were skipped.
    pub(crate) is_partial: bool,
}

impl From<SavedPlan> for Desired {
    fn from(saved: SavedPlan) -> Self {
        let (config, options) = (saved.wanted().clone(), saved.options());
        Self { saved: Some(saved), ..Self::new(config, options) }
    }
}

impl Desired {
    fn new(config: Config, options: Options) -> Self {
        Self { config, options, former_daemons: Vec::new(), is_blank: false, is_partial: false, saved: None }
    }

    /// Returns the wanted table of a file. If there are previous files, services that they list and the file does not
    /// are deleted, and services that no file lists are kept.
    pub(crate) fn of_file(config: Config, previous: Option<&[Config]>, selection: Selection) -> Self {
        let Selection { only, protect, listed_only, keep_weights, reorder } = selection;
        let former = || previous.into_iter().flatten();
        let scope = Scope {
            only,
            protect,
            listed: listed_only || previous.is_some(),
            former: former().flat_map(|former| &former.services).map(|service| service.service.key).collect(),
        };
        let options = Options::default().scope(scope).keep_weights(keep_weights).reorder(reorder);
        let former_daemons = former().filter_map(|former| former.daemons.as_deref()).flatten().copied().collect();
        Self { former_daemons, ..Self::new(config, options) }
    }

    /// Returns the services that may be changed.
    pub(crate) fn scope(&self) -> &Scope {
        &self.options.scope
    }

    /// Returns the wanted table and options for a state. Daemons that only the previous file starts are stopped. Others
    /// keep running.
    ///
    /// Fails if a saved plan was made from another table, or if `--only` selects nothing.
    pub(crate) fn for_state(&self, state: &State) -> anyhow::Result<(Config, Options)> {
        if let Some(saved) = &self.saved {
            saved.ensure_current(state)?;
        }
        self.ensure_scope(state)?;
        Ok(self.for_later_state(state))
    }

    /// Returns the same for a state in which a part of the plan has been made.
    pub(crate) fn for_later_state(&self, state: &State) -> (Config, Options) {
        let mut config = self.config.clone();
        if config.daemons.is_none() && !self.former_daemons.is_empty() {
            let is_former = |daemon: &&SyncDaemon| self.former_daemons.iter().any(|former| former.role == daemon.role);
            config.daemons = Some(state.daemons.iter().filter(|daemon| !is_former(daemon)).copied().collect());
        }
        (config, self.options.clone())
    }

    /// Fails if `--only` selects no service at all. A selector of several that selects none is only reported, and so is
    /// one of `--protect`. With a file without services, `--only` selects services to delete, and there may be none.
    fn ensure_scope(&self, state: &State) -> anyhow::Result<()> {
        let Scope { only, protect, former, .. } = &self.options.scope;
        let wanted = self.config.services.iter().map(|service| service.service.key);
        let all: Vec<ServiceKey> =
            wanted.chain(state.services.iter().map(|state| state.service.key)).chain(former.iter().copied()).collect();
        let selects_none = |selector: &&Selector| !all.iter().any(|key| selector.selects(key));
        let missing: Vec<&Selector> = only.iter().filter(selects_none).collect();
        if !only.is_empty() && missing.len() == only.len() && !self.config.services.is_empty() {
            let selectors: Vec<String> = only.iter().map(|selector| format!("--only {selector}")).collect();
            bail!("{} selects no service of FILE or of the table", selectors.join(" "));
        }
        for (option, selector) in missing
            .into_iter()
            .map(|selector| ("--only", selector))
            .chain(protect.iter().filter(selects_none).map(|selector| ("--protect", selector)))
        {
            print_error(&format!("note: {option} {selector} selects no service of FILE or of the table"));
        }
        Ok(())
    }
}
