//! `ipvsadm-rs plan`: shows the changes that make the table match a file, with their costs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::hash::TableSizes;
use ipvs::{Change, Config, Counters, Selector, ServiceKey, State};
use serde::Serialize;

use crate::context::{Context, code};
use crate::file::{self, ConfigId, Format};
use crate::plan::desired::{Desired, Selection};
use crate::plan::report::{Report, Stage};
use crate::plan::saved::SavedPlan;
use crate::plan::unconfirmed::Unconfirmed;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Show the changes that make the table match FILE
///
/// Each change is printed as a line of ipvsadm, with the connections that it drops. Further lines show the shares of new
/// clients that are refused, get another server, or are served again.
///
/// If standard output is not a terminal, only the ipvsadm lines are written to it, as input for `ipvsadm -R`. A summary
/// is written to standard error.
///
/// A plan that is pending, that was never confirmed, or whose rollback failed is also reported on standard error.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Plan {
    #[command(flatten)]
    arguments: PlanArguments,
    /// Save the plan to SAVED, for `apply SAVED`; `-` for standard output
    ///
    /// `apply SAVED` makes the changes only if the table is still the one that the plan was made from. The scope and
    /// the other options of `plan` are saved, too. `plan SAVED` shows the plan again.
    #[arg(short, long, value_name = "SAVED")]
    output: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  The table matches FILE; nothing to change
  1  Error
  2  There are changes to make
  4  Only with --skip-bad-services: services with errors were skipped";

/// The file with the wanted table, and the limits of the changes.
#[derive(Args, Clone, Debug)]
pub(super) struct PlanArguments {
    /// File with the wanted table: rules as ipvsadm-save writes them, JSON, TOML, or a configuration of keepalived or
    /// ldirectord; or a plan that `plan -o` saved; `-` for standard input
    pub(super) file: PathBuf,
    /// Format of FILE [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    config_id: ConfigId,
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
    /// Delete services that PREVIOUS lists and FILE does not; keep services that neither of them lists; can be repeated
    ///
    /// PREVIOUS is a file, usually the version of FILE that was applied last. Sync daemons that only PREVIOUS starts
    /// are stopped. With /dev/null as FILE, everything that PREVIOUS added is deleted.
    #[arg(long, value_name = "PREVIOUS", conflicts_with = "listed_only")]
    previous: Vec<PathBuf>,
    /// If FILE has errors, skip the services that have them, and apply the others
    ///
    /// A service is skipped if one of its lines has an error, also if that is the line of a server. A skipped service
    /// stays as it is. If FILE has errors, no service is deleted, because a line with an error may be that of a service
    /// to keep. The exit code is 4. Services of PREVIOUS that have errors are skipped, too. They do not change
    /// the exit code.
    #[arg(long)]
    skip_bad_services: bool,
    /// Keep the weights of existing servers, instead of setting those of FILE
    #[arg(long)]
    keep_weights: bool,
    /// Restore the order of servers that FILE specifies; drops connections
    ///
    /// The schedulers sh, dh, mh, fo and ovf depend on the order in which servers were added. Servers that are out of order are
    /// deleted and added again. The only server of a service with a weight above 0 is not moved.
    #[arg(long)]
    reorder: bool,
    /// Print the summary without the list of changes
    #[arg(short, long)]
    pub(super) quiet: bool,
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
        let bytes = file::read_bytes(&self.file, limit)?;
        if let Some(saved) = SavedPlan::read(&bytes) {
            return self.saved(saved.with_context(|| file::name_of(&self.file))?);
        }
        let options = self.config_id.options(limit);
        let parse = |path: &Path, format, bytes: &[u8]| match self.skip_bad_services {
            true => file::parse_skipping_errors(path, format, bytes, &options),
            false => (file::parse(path, format, bytes, &options), 0),
        };
        let (input, errors) = parse(&self.file, self.format, &bytes);
        let is_blank = input.is_blank && self.previous.is_empty();
        let config = input.into_config()?;
        let read = |path: &PathBuf| parse(path, None, &file::read_bytes(path, limit)?).0.into_config();
        let previous: Vec<Config> = self.previous.iter().map(read).collect::<anyhow::Result<_>>()?;
        let is_partial = errors > 0;
        if is_partial {
            let errors = count(errors, "error");
            print_error(&format!("warning: {errors}: services with errors are skipped, and no service is deleted"));
        }
        let selection = Selection {
            only: self.only.clone(),
            protect: self.protect.clone(),
            listed_only: self.listed_only || is_partial,
            keep_weights: self.keep_weights,
            reorder: self.reorder,
        };
        // With errors in FILE, nothing is deleted or stopped.
        let previous = (!previous.is_empty() && !is_partial).then_some(&*previous);
        let mut desired = Desired::of_file(config, previous, selection);
        (desired.is_blank, desired.is_partial) = (is_blank, is_partial);
        Ok(desired)
    }

    /// Returns the wanted table of a saved plan. Fails if an option is specified that was saved with the plan.
    fn saved(&self, saved: SavedPlan) -> anyhow::Result<Desired> {
        let specified = [
            ("--format", self.format.is_some()),
            ("--only", !self.only.is_empty()),
            ("--protect", !self.protect.is_empty()),
            ("--listed-only", self.listed_only),
            ("--previous", !self.previous.is_empty()),
            ("--skip-bad-services", self.skip_bad_services),
            ("--keep-weights", self.keep_weights),
            ("--reorder", self.reorder),
        ];
        if let Some((option, _)) = specified.iter().find(|(_, is_specified)| *is_specified) {
            bail!(
                "{} is a saved plan: {option} cannot be changed\nSpecify {option} when you make the plan.",
                file::name_of(&self.file)
            );
        }
        Ok(saved.into())
    }

    /// Prints the plan and returns the exit code. Saves it if there is a path.
    pub(super) fn show(&self, context: &Context, desired: &Desired, output: Option<&Path>) -> anyhow::Result<u8> {
        let state = context.open()?.state_with(Counters::Skip)?;
        let (config, options) = desired.for_state(&state)?;
        let plan = ipvs::plan(&config, &state, &options);
        let report = self.report(context, &plan, &state, &config);
        let is_standard_output = output == Some(Path::new("-"));
        if output.is_some() {
            let saved = SavedPlan::new(file::name_of(&self.file), &plan, &state, config, &options);
            context.write_file(output, &saved.to_json()?)?;
        }
        let unconfirmed = Unconfirmed::read(context);
        if is_standard_output {
            report.print_remarks(context)?;
        } else if context.json {
            context.write_json(&Shown { report: report.document(Stage::Planned), unconfirmed: &unconfirmed })?;
        } else {
            report.print_plan(context)?;
        }
        unconfirmed.print();
        Ok(if desired.is_partial { code::SKIPPED } else { report.plan_code() })
    }

    /// Returns the report on a plan for the table of FILE.
    pub(super) fn report(&self, context: &Context, plan: &ipvs::Plan, from: &State, wanted: &Config) -> Report {
        Report::new(plan, from, self.sizes(), context).quiet(self.quiet).not_in_file(&unlisted(plan, from, wanted))
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

/// Returns the services of the table that are not wanted, and that the plan does not delete.
fn unlisted(plan: &ipvs::Plan, from: &State, wanted: &Config) -> Vec<ServiceKey> {
    let deleted = plan.changes.iter().filter_map(|change| match change {
        Change::DeleteService(key) => Some(*key),
        _ => None,
    });
    let known: HashSet<ServiceKey> = wanted.services.iter().map(|service| service.service.key).chain(deleted).collect();
    let mut unlisted: Vec<ServiceKey> = from.services.iter().map(|state| state.service.key).collect();
    unlisted.retain(|key| !known.contains(key));
    unlisted.sort_unstable();
    unlisted
}

impl Plan {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let desired = self.arguments.read(context)?;
        self.arguments.show(context, &desired, self.output.as_deref())
    }
}
