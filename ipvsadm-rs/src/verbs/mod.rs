//! The modern verbs: one file each, from arguments to library call to output.

mod apply;
mod check;
mod confirm;
mod drain;
mod generate;
mod plan;
mod record;
mod rs_setup;
mod save;
mod set;
mod show;
mod snat_rules;
mod undo;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ipvs::{ApplyError, Client, Namespace};

use crate::arguments::Arguments;
use crate::failure::{Failure, conclude, say};
use crate::journal::{Folder, Journal};
use crate::messages;
use crate::output;
use crate::style::{Color, Palette};

/// A director of the Linux Virtual Server: ipvsadm's language, and more.
///
/// Called with an option first, this is ipvsadm: `ipvsadm-rs -Ln`, `ipvsadm-rs -A -t 192.0.2.1:80 -s rr`; `ipvsadm-rs -h`
/// shows that language.
#[derive(Debug, Parser)]
#[command(name = "ipvsadm-rs", version, max_term_width = 100, subcommand_required = true)]
struct Modern {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    verb: Verb,
}

/// A duration that clocks can be asked for.
fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX => Err("more than 30 days".into()),
        duration => duration.map_err(|error| error.to_string()),
    }
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = crate::manual::COMMON)]
pub(crate) struct Context {
    /// The director of another network namespace: a name of `ip netns`, a path, or a process
    #[arg(long, global = true, value_name = "NAME|PATH|PID")]
    netns: Option<Namespace>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Where applied plans are kept
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/ipvsadm-rs")]
    state_dir: PathBuf,
    /// How long to wait for another ipvsadm-rs that is changing the table
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "20s")]
    wait: Duration,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::Plan),
    Apply(apply::Apply),
    Undo(undo::Undo),
    Confirm(confirm::Confirm),
    Save(save::Save),
    Check(check::Check),
    Show(show::Show),
    Set(Box<set::Set>),
    RsSetup(rs_setup::RsSetup),
    SnatRules(snat_rules::SnatRules),
    Generate(generate::Generate),
    #[command(hide = true)]
    Watch(watch::Watch),
}

/// Run as `ipvsadm-rs VERB …`.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    let words = std::iter::once("ipvsadm-rs".into()).chain(arguments.os_words().iter().cloned());
    let found = command().try_get_matches_from(words).and_then(|found| Modern::from_arg_matches(&found));
    let Modern { context, verb } = match found {
        Ok(modern) => modern,
        Err(error) => {
            // Help and version go to standard output and are no errors.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let result = match verb {
        Verb::Plan(verb) => verb.run(&context),
        Verb::Apply(verb) => verb.run(&context),
        Verb::Undo(verb) => verb.run(&context),
        Verb::Confirm(verb) => verb.run(&context),
        Verb::Save(verb) => verb.run(&context),
        Verb::Check(verb) => verb.run(&context),
        Verb::Show(verb) => verb.run(&context),
        Verb::Set(verb) => verb.run(&context),
        Verb::RsSetup(verb) => verb.run(&context),
        Verb::SnatRules(verb) => verb.run(&context),
        Verb::Generate(verb) => verb.run(&context),
        Verb::Watch(verb) => verb.run(&context),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast::<NotTaken>() {
            Ok(NotTaken(error)) => conclude(Err(Failure::Output(error))),
            Err(error) => {
                say(&format!("ipvsadm-rs: {error:#}"));
                say(what_to_do(&error).unwrap_or_default());
                ExitCode::from(code::ERROR)
            }
        },
    }
}

/// What is to be done about an error, if that is known.
fn what_to_do(error: &anyhow::Error) -> Option<&'static str> {
    let of_director = |cause: &'_ (dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(ApplyError::Director(error)) => messages::what_to_do(error),
        _ => cause.downcast_ref().and_then(messages::what_to_do),
    };
    error.chain().find_map(of_director)
}

/// Standard output did not take what was written.
#[derive(Debug)]
struct NotTaken(std::io::Error);

impl std::fmt::Display for NotTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write to standard output: {}", self.0)
    }
}

impl std::error::Error for NotTaken {}

/// Exit codes of the verbs.
mod code {
    pub(super) const DONE: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    /// Of `plan`: there is something to change. Of `check`: something is wrong.
    pub(super) const CHANGES: u8 = 2;
}

/// The command line of the verbs, also for what is made from it.
fn command() -> clap::Command {
    Modern::command()
}

impl Context {
    /// The director. Its counters are not read.
    fn open(&self) -> anyhow::Result<Client> {
        let mut client = self.open_with_counters()?;
        client.leave_counters();
        Ok(client)
    }

    /// The director, to show it.
    fn open_with_counters(&self) -> anyhow::Result<Client> {
        let client = match &self.netns {
            Some(namespace) => Client::open_in(namespace),
            None => Client::open(),
        };
        Ok(client?)
    }

    /// Where the applied plans of the director are.
    fn folder(&self) -> anyhow::Result<Folder> {
        Folder::of(&self.state_dir, self.netns.as_ref())
    }

    /// The applied plans, and the right to change the table.
    fn journal(&self) -> anyhow::Result<Journal> {
        Journal::open(self.folder()?, self.wait)
    }

    /// The colours of standard output.
    fn palette(&self) -> Palette {
        Palette::of(self.color, &std::io::stdout())
    }

    /// Write to standard output, all of it or an error.
    fn write(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
        let mut out = output::standard();
        write(&mut out).and_then(|()| out.flush()).map_err(|error| NotTaken(error).into())
    }

    /// Write a value as JSON.
    fn write_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("cannot be written as JSON")?;
        self.write(|out| writeln!(out, "{text}"))
    }
}
