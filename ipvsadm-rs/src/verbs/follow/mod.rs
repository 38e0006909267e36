//! `ipvsadm-rs follow`: keeps the table equal to documents that are stored elsewhere.

mod apply;
mod bounds;
mod draining;
mod follower;
mod health;
mod pace;
pub(crate) mod report;
mod revision;
mod rollout;
mod signals;
mod status;
mod watch;

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ipvs::{Config, Selector};

use crate::context::{Context, code, duration};
use crate::file::{ConfigId, DaemonOptions, Format};
use crate::host_name::host_name;
use crate::journal::Folder;
use crate::plan::desired::Selection;
use crate::store::{self, Location, StoreArguments};
use crate::terminal::exit::print_error;
use crate::uptime::uptime;
use apply::{Applier, LastTable};
use bounds::Bounds;
use draining::Draining;
use follower::{Event, Follower, Settings};
use health::HealthArguments;
use pace::{Pace, Quiet};
use report::Reporter;
use revision::Reader;
use rollout::Rollout;

pub(crate) use revision::RevisionId;
pub(crate) use status::Status;

/// Keep the table equal to the documents of SOURCE, until the program is ended
///
/// Applies each new revision as `apply` does: with as few changes as possible, and recorded in the history. Servers are
/// drained before they are deleted. A revision that is missing, empty or has errors changes nothing.
///
/// The last good revision is kept on the disk. It is applied if the store cannot be read when the program starts.
///
/// Servers that `drain` has drained stay drained until `undrain`.
///
/// SIGHUP compares the table with the last revision at once. SIGTERM and SIGINT end the program. The table stays.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Follow {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    following: Following,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Print the state of the process that follows a source
    Status,
}

#[derive(Args, Clone, Debug)]
struct Following {
    /// Documents with the wanted table: a file, a directory, https://HOST/PATH, etcd://HOST[:PORT],…/KEY or
    /// consul://HOST[:PORT],…/KEY
    ///
    /// A document has a format of `apply`. If KEY is a prefix, or SOURCE a directory, all documents below it are one
    /// table. No two of them may have the same service.
    #[arg(required = true)]
    source: Option<Location>,
    /// Format of the documents [default: detected from their names and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    config_id: ConfigId,
    /// Request an https:// page every DURATION, at least 1s
    #[arg(long, value_name = "DURATION", value_parser = store::interval, default_value = "30s")]
    interval: Duration,
    #[command(flatten)]
    store: StoreArguments,
    /// Change only these services; can be repeated
    ///
    /// SCOPE is that of `apply --only`. Timeouts and sync daemons are not changed.
    #[arg(long, value_name = "SCOPE")]
    only: Vec<Selector>,
    /// Do not change these services; takes precedence over --only; can be repeated
    #[arg(long, value_name = "SCOPE")]
    protect: Vec<Selector>,
    /// Keep services that no revision listed, instead of deleting them
    #[arg(long)]
    keep_others: bool,
    /// Keep the weights of existing servers, for health checkers that set them
    #[arg(long)]
    keep_weights: bool,
    /// Restore the order of servers that the documents specify, as `apply --reorder` does; drops connections
    #[arg(long)]
    reorder: bool,
    /// Accept documents without services, and delete all services
    ///
    /// A source that does not exist never changes the table.
    #[arg(long, help_heading = LIMITS)]
    allow_empty: bool,
    /// Accept documents with warnings
    #[arg(long, help_heading = LIMITS)]
    allow_warnings: bool,
    #[command(flatten)]
    bounds: Bounds,
    /// Wait for at most DURATION for the connections of servers to end before deleting them; 0s deletes them at once
    #[arg(long, help_heading = LIMITS, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    drain: Duration,
    /// Never drop connections: drain servers until all their connections have ended
    #[arg(long, help_heading = LIMITS, conflicts_with = "drain")]
    no_cut: bool,
    /// Apply a revision when there was no further one for MIN, or at the latest MAX after the first; 0s applies at once
    ///
    /// Many writes within this time are one plan. The default of MAX is 10 times MIN.
    #[arg(long, value_name = "MIN[:MAX]", value_parser = Quiet::parse, default_value = "1s")]
    quiet: Quiet,
    /// Delay each revision by up to DURATION; the delay of a host is always the same; 0s means no delay
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    splay: Duration,
    /// Compare the table with the last revision every DURATION, and correct it; 0s never compares
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1m")]
    check: Duration,
    /// Report differences without changing the table
    #[arg(long)]
    report_only: bool,
    /// Write the state of this director to LOCATION/HOST, for the other directors and for `fleet`
    ///
    /// LOCATION has the form of SOURCE. HOST is the value of --host. A report is written at each change, and every 5
    /// seconds. Its servers get the token or password only if they are those of SOURCE, or if SOURCE is a file.
    #[arg(long, help_heading = ROLLOUT, value_name = "LOCATION")]
    report: Option<Location>,
    /// Name of this director in reports, and for --splay and --canary-percent [default: that of `uname -n`]
    #[arg(long, help_heading = ROLLOUT, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    rollout: Rollout,
    #[command(flatten)]
    health: HealthArguments,
    /// At the start, wait for the source for at most DURATION before applying the last good revision
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    start_within: Duration,
}

/// Headings of options.
const LIMITS: &str = "Limits";
const ROLLOUT: &str = "Reports, rollouts and health";

const EXIT_CODES: &str = "\
Exit codes:
  0  Ended by SIGTERM or SIGINT
  1  Error; the program did not start

Exit codes of `follow status`:
  0  The last revision is in the table, or about to be
  1  Error
  2  No process follows a source, or there is a problem: the source cannot be
     read, or the last revision was not applied";

impl Follow {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        match (self.part, self.following.source.clone()) {
            (Some(Part::Status), _) => status::show(context),
            (None, Some(source)) => self.following.run(context, &source.absolute()?),
            // The parser requires it.
            (None, None) => anyhow::bail!("no source"),
        }
    }
}

impl Following {
    fn run(mut self, context: &Context, source: &Location) -> anyhow::Result<u8> {
        self.store.interval = self.interval;
        // Fails early without privileges.
        context.open()?.info()?;
        // Creates the directory of the journal.
        let folder = context.journal()?.unlock();
        let _lock = folder.lock_follower()?;
        let limit = context.input_limit()?;
        let host = self.host.clone().unwrap_or_else(host_name);
        let (sender, events) = mpsc::channel();
        let open = |location: &Location, arguments: &StoreArguments| {
            if !location.is_encrypted(arguments) {
                print_error(&format!("warning: {location}: the connection is not encrypted"));
            }
            store::open(location, arguments, limit)
        };
        let documents = open(source, &self.store)?;
        let of_reports = |location: &Location| {
            if source.path().is_some() || !self.store.has_secrets() || location.has_servers_of(source) {
                return self.store.clone();
            }
            print_error(&format!("note: {location}: other servers than those of SOURCE; no token or password is sent"));
            self.store.without_secrets()
        };
        let reporter = self.report.as_ref().map(|location| {
            Reporter::start(open(location, &of_reports(location))?, sender.clone(), self.rollout.is_needed())
        });
        let reporter = reporter.transpose()?;
        signals::catch(sender.clone()).context("cannot handle signals")?;
        watch::start(documents, sender.clone(), &host)?;
        let mut follower = self.follower(context, source, folder, host, (reporter, sender))?;
        loop {
            let wait = follower.step(now());
            match events.recv_timeout(wait) {
                Ok(Event::End) => return Ok(code::DONE),
                Ok(event) => follower.record(event, now()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the source is no longer read"),
            }
        }
    }

    fn follower<'c>(
        self,
        context: &'c Context,
        source: &Location,
        folder: Folder,
        host: String,
        outside: (Option<Reporter>, Sender<Event>),
    ) -> anyhow::Result<Follower<'c>> {
        let selection = Selection {
            only: self.only,
            protect: self.protect,
            keep_weights: self.keep_weights,
            reorder: self.reorder,
            ..Selection::default()
        };
        let applier = Applier {
            context,
            source: source.to_string(),
            selection,
            keep_others: self.keep_others,
            bounds: self.bounds,
            drains: self.no_cut || !self.drain.is_zero(),
            draining: Draining::new((!self.no_cut).then_some(self.drain)),
            kept_drained: 0,
            table: if outside.0.is_some() { LastTable::Kept(Config::default()) } else { LastTable::NotKept },
        };
        let reader = Reader {
            format: self.format,
            options: DaemonOptions {
                is_remote: source.path().is_none(),
                ..self.config_id.options(context.input_limit()?)
            },
            allow_warnings: self.allow_warnings,
            allow_empty: self.allow_empty,
        };
        let pace = Pace::new(self.quiet, self.splay, &host);
        let settings = Settings {
            host,
            report_only: self.report_only,
            check: self.check,
            start_within: self.start_within,
            rollout: self.rollout,
            health: self.health,
            store: self.store.without_secrets(),
        };
        Ok(Follower::new(settings, applier, reader, folder, pace, outside, now()))
    }
}

/// Returns the time since the boot. Without /proc, always 0: then nothing but new revisions is acted on.
fn now() -> Duration {
    uptime().unwrap_or_default()
}
