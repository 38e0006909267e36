//! `ipvsadm-rs plan`: shows the changes that make the table match a file, with their costs.

use std::path::PathBuf;

use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Config, Counters, Scope, Selector, State, SyncDaemon};
use serde::Serialize;

use crate::context::Context;
use crate::file::{self, Format};
use crate::plan::report::{Report, Stage};
use crate::plan::unconfirmed::Unconfirmed;

/// Show the changes that make the table match FILE
///
/// Each change is printed as a line of ipvsadm, with the connections that it drops. Further lines show the share of
/// clients that a hashing scheduler sends to another server.
///
/// If standard output is not a terminal, only the ipvsadm lines are written to it, as input for `ipvsadm -R`. The rest
/// is written to standard error.
///
/// A plan that is pending, was never confirmed, or whose rollback failed is reported on standard error, too.
#[derive(Args, Debug)]
#[command(visible_alias = "diff", after_long_help = EXIT_CODES)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) arguments: PlanArguments,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The table matches FILE; nothing to change
  1  Error
  2  There are changes to make";

/// The file with the wanted table, and the limits of the changes.
#[derive(Args, Clone, Debug)]
pub(super) struct PlanArguments {
    /// File with the wanted table: rules as ipvsadm-save writes them, JSON or TOML; `-` for standard input
    pub(super) file: PathBuf,
    /// Format of FILE [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Change only these services; can be repeated
    ///
    /// SCOPE is one service (tcp:192.0.2.1:80, fwmark:7:IPv6), a protocol (tcp, udp, sctp), an address or network
    /// (192.0.2.0/24), or firewall marks (fwmark, fwmark:7). Timeouts and sync daemons are not changed.
    #[arg(long, value_name = "SCOPE")]
    only: Vec<Selector>,
    /// Do not change these services; takes precedence over --only; can be repeated
    #[arg(long, value_name = "SCOPE")]
    protect: Vec<Selector>,
    /// Keep services that FILE does not list, instead of deleting them
    #[arg(long)]
    listed_only: bool,
    /// Delete services that PREVIOUS lists and FILE does not; keep services that neither of them lists
    ///
    /// PREVIOUS is a file, usually the version of FILE that was applied last. Sync daemons that only PREVIOUS starts
    /// are stopped. With /dev/null as FILE, everything that PREVIOUS added is deleted.
    #[arg(long, value_name = "PREVIOUS", conflicts_with = "listed_only")]
    previous: Option<PathBuf>,
    /// Keep the weights of existing servers, instead of setting those of FILE
    #[arg(long)]
    keep_weights: bool,
    /// Restore the order of servers that FILE specifies; drops connections
    ///
    /// The schedulers sh, dh and mh depend on the order in which servers were added. Servers that are out of order are
    /// deleted and added again. The only server of a service with a weight above 0 is not moved.
    #[arg(long)]
    reorder: bool,
    /// CONFIG_IP_VS_SH_TAB_BITS of the kernel (4 to 20), to compute which clients the scheduler sh remaps
    #[arg(long, value_name = "BITS", default_value_t = TableSizes::default().sh_bits, value_parser = clap::value_parser!(u8).range(4..=20))]
    sh_bits: u8,
    /// CONFIG_IP_VS_MH_TAB_INDEX of the kernel (8 to 17), to compute which clients the scheduler mh remaps
    #[arg(long, value_name = "INDEX", default_value_t = TableSizes::default().mh_index, value_parser = clap::value_parser!(u8).range(8..=17))]
    mh_index: u8,
}

impl PlanArguments {
    /// Reads the files.
    pub(super) fn read(&self, context: &Context) -> anyhow::Result<Desired> {
        let limit = context.input_limit()?;
        let input = file::read(&self.file, self.format, limit)?;
        let is_blank = input.is_blank && self.previous.is_none();
        let config = input.into_config()?;
        let previous = match &self.previous {
            Some(path) => file::read(path, None, limit)?.into_config()?,
            None => Config::default(),
        };
        let scope = Scope {
            only: self.only.clone(),
            protect: self.protect.clone(),
            listed: self.listed_only || self.previous.is_some(),
            former: previous.services.iter().map(|service| service.service.key).collect(),
        };
        let options = Options::default().scope(scope).keep_weights(self.keep_weights).reorder(self.reorder);
        Ok(Desired { config, options, former_daemons: previous.daemons.unwrap_or_default(), is_blank })
    }

    /// Prints the plan and returns the exit code.
    pub(super) fn show(&self, context: &Context, desired: Desired) -> anyhow::Result<u8> {
        let state = context.open()?.state_with(Counters::Skip)?;
        let (config, options) = desired.for_state(&state);
        let plan = ipvs::plan(&config, &state, &options);
        let report = Report::new(&plan, &state, self.sizes());
        let unconfirmed = Unconfirmed::read(context);
        let code = if context.json {
            context.write_json(&Shown { report: report.document(Stage::Planned), unconfirmed: &unconfirmed })?;
            report.plan_code()
        } else {
            report.print_plan(context)?
        };
        unconfirmed.print();
        Ok(code)
    }

    pub(super) fn sizes(&self) -> TableSizes {
        TableSizes { sh_bits: self.sh_bits, mh_index: self.mh_index }
    }
}

/// The JSON document of a plan.
#[derive(Serialize)]
struct Shown<'u, R: Serialize> {
    #[serde(flatten)]
    report: R,
    #[serde(flatten)]
    unconfirmed: &'u Unconfirmed,
}

/// The wanted table, before the present one has been read.
#[derive(Clone)]
pub(super) struct Desired {
    config: Config,
    options: Options,
    former_daemons: Vec<SyncDaemon>,
    /// Whether the file contains no rules and no previous file was specified.
    pub(super) is_blank: bool,
}

impl Desired {
    /// Returns the wanted table and options for a state. Daemons that only the previous file starts are stopped. Others
    /// keep running.
    pub(super) fn for_state(self, state: &State) -> (Config, Options) {
        let Self { mut config, options, former_daemons, is_blank: _ } = self;
        if config.daemons.is_none() && !former_daemons.is_empty() {
            let is_former = |daemon: &&SyncDaemon| former_daemons.iter().any(|former| former.role == daemon.role);
            config.daemons = Some(state.daemons.iter().filter(|daemon| !is_former(daemon)).copied().collect());
        }
        (config, options)
    }
}

impl Plan {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        self.arguments.show(context, self.arguments.read(context)?)
    }
}
