//! `ipvsadm-rs plan`: what would have to be changed, and what that costs.

use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Config, Director, Scope, Selector, State, SyncDaemon};

use crate::context::Context;
use crate::file::{self, Format};
use crate::plan::report::Report;

/// Show what would have to be changed so that the director holds what FILE says
///
/// The lines are ipvsadm's, with what each costs now: connections that are cut, clients that hashing sends elsewhere. Where
/// standard output is no terminal, nothing but lines that `ipvsadm -R` reads go there, and the rest to standard error.
///
/// Exit code: 0 nothing to change, 2 something to change, 1 error.
#[derive(Args, Debug)]
#[command(visible_alias = "diff")]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) arguments: PlanArguments,
}

/// What is arguments, and what may be done for it.
#[derive(Args, Clone, Debug)]
pub(super) struct PlanArguments {
    /// Rules as ipvsadm-save writes them, JSON, or TOML; `-` is standard input
    file: String,
    /// The form of FILE, instead of what it looks like
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Touch only these services: tcp, udp, sctp, ADDRESS/LENGTH, fwmark, fwmark:N; repeatable
    #[arg(long, value_name = "SCOPE")]
    only: Vec<Selector>,
    /// Never touch these services; repeatable
    #[arg(long, value_name = "SCOPE")]
    protect: Vec<Selector>,
    /// Leave services alone that FILE does not list, instead of deleting them
    #[arg(long)]
    listed_only: bool,
    /// Delete services that this file lists and FILE does not, and stop its sync daemons; leave alone what neither lists.
    /// With /dev/null as FILE, all that a file brought is taken away
    #[arg(long, value_name = "PREVIOUS", conflicts_with = "listed_only")]
    previous: Option<String>,
    /// Servers that are there keep the weights they have
    #[arg(long)]
    keep_weights: bool,
    /// Where FILE asks for an order of servers, delete and add what is out of place; that cuts connections
    #[arg(long)]
    reorder: bool,
    /// CONFIG_IP_VS_SH_TAB_BITS of the kernel
    #[arg(long, value_name = "BITS", default_value_t = TableSizes::default().sh_bits, value_parser = clap::value_parser!(u8).range(4..=20))]
    sh_bits: u8,
    /// CONFIG_IP_VS_MH_TAB_INDEX of the kernel
    #[arg(long, value_name = "INDEX", default_value_t = TableSizes::default().mh_index, value_parser = clap::value_parser!(u8).range(8..=17))]
    mh_index: u8,
}

impl PlanArguments {
    /// What the files ask for.
    pub(super) fn read(&self) -> anyhow::Result<Desired> {
        let input = file::read(&self.file, self.format)?;
        let is_blank = input.is_blank && self.previous.is_none();
        let config = input.into_config()?;
        let previous = match &self.previous {
            Some(path) => file::read(path, None)?.into_config()?,
            None => Config::default(),
        };
        let scope = Scope {
            only: self.only.clone(),
            protect: self.protect.clone(),
            listed: self.listed_only || self.previous.is_some(),
            former: previous.services.iter().map(|service| service.service.key).collect(),
        };
        let options = Options { scope, keep_weights: self.keep_weights, drain: false, reorder: self.reorder };
        Ok(Desired { config, options, former_daemons: previous.daemons.unwrap_or_default(), is_blank })
    }

    /// Show what would have to be changed.
    pub(super) fn show(&self, context: &Context, desired: Desired) -> anyhow::Result<u8> {
        let state = context.open()?.state()?;
        let (config, options) = desired.for_state(&state);
        let plan = ipvs::plan(&config, &state, &options);
        Report::new(&plan, &state, self.sizes()).print_plan(context)
    }

    pub(super) fn sizes(&self) -> TableSizes {
        TableSizes { sh_bits: self.sh_bits, mh_index: self.mh_index }
    }
}

/// What is asked for, of a director that has not been looked at.
pub(super) struct Desired {
    config: Config,
    options: Options,
    former_daemons: Vec<SyncDaemon>,
    /// Nothing was said at all, not even what was there before.
    pub(super) is_blank: bool,
}

impl Desired {
    /// What that means for a director: a daemon that only the previous file starts is to stop, others go on.
    pub(super) fn for_state(self, state: &State) -> (Config, Options) {
        let Self { mut config, options, former_daemons, is_blank: _ } = self;
        if config.daemons.is_none() && !former_daemons.is_empty() {
            let goes = |daemon: &&SyncDaemon| former_daemons.iter().any(|former| former.role == daemon.role);
            config.daemons = Some(state.daemons.iter().filter(|daemon| !goes(daemon)).copied().collect());
        }
        (config, options)
    }
}

impl Plan {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        self.arguments.show(context, self.arguments.read()?)
    }
}
