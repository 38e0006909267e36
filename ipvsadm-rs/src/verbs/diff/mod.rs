//! `ipvsadm-rs diff`: the differences of the table from a file, apart from those that failed checks explain.

mod maybe_down;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use ipvs::document::SCHEMA;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Counters, Scope, Selector, State};
use serde::Serialize;

use super::directors;
use crate::context::{Context, code};
use crate::file::{self, ConfigId, Format};
use crate::plan::impact::TableIndex;
use crate::plan::report::Row;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;
use maybe_down::{MaybeDown, explain};

/// Print the differences of the table from FILE, apart from servers that failed checks may have taken out
///
/// FILE is a configuration of keepalived or ldirectord, or rules, JSON or TOML. Each difference is printed as the line of
/// ipvsadm that would remove it. No change is made, and the module ip_vs is not loaded. Without the module, the table is
/// empty.
///
/// While keepalived or ldirectord runs, a failed check deletes a server or sets its weight to 0, and a sorry or fallback
/// server may be present. Such servers are printed as "maybe down". They do not count as differences. The other settings
/// of these servers are compared. The state of the checks is not read.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Diff {
    /// File to compare the table with; `-` for standard input
    #[arg(required_unless_present = "director")]
    file: Option<PathBuf>,
    /// Compare the servers that this director and another one select, as `which --compare` does
    ///
    /// FILE is the table of the other director: output of `show --json` or `save`, or rules, JSON or TOML; `-` for
    /// standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "listed_only"])]
    director: Option<PathBuf>,
    /// Format of FILE [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    config_id: ConfigId,
    /// Compare only these services; can be repeated
    ///
    /// SCOPE is as in `plan --only`. Timeouts and sync daemons are not compared.
    #[arg(long, value_name = "SCOPE")]
    only: Vec<Selector>,
    /// Ignore services that FILE does not list
    #[arg(long)]
    listed_only: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  No differences; servers may be down. With --director: both directors send
     clients to the same servers
  1  Error: FILE cannot be read, has errors, or contains no rules; or the table
     cannot be read
  2  The table differs from FILE. With --director: the directors differ, or a
     service could not be compared";

/// The JSON document.
#[derive(Serialize)]
struct Document<'d> {
    schema: u32,
    file: &'d str,
    /// The changes that would remove the differences, as in the JSON of `plan`.
    changes: &'d [Row],
    maybe_down: &'d [MaybeDown],
}

impl Diff {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let options = self.config_id.options(context.input_limit()?);
        if let Some(path) = &self.director {
            return directors::compare(context, path, self.format, &options, &self.only, TableSizes::default());
        }
        let path = self.file.unwrap_or_else(|| "-".into());
        let mut input = file::read(&path, self.format, &options)?;
        input.print_diagnostics();
        input.print_left();
        let config = match input.config {
            Ok(config) => config,
            Err(errors) => bail!("{}: {}: the table was not compared", input.name, count(errors.len(), "error")),
        };
        if input.is_blank {
            bail!("{} contains no rules: the table was not compared", input.name);
        }
        let state = match context.open_if_loaded()? {
            Some(mut director) => director.state_with(Counters::Skip)?,
            None => {
                print_error("note: IPVS is not in the kernel: the table is empty");
                State::default()
            }
        };
        let scope = Scope { only: self.only, listed: self.listed_only, ..Scope::default() };
        input.managed.retain(|managed| scope.contains(&managed.service));
        let (expected, maybe_down) = explain(config, &input.managed, &state);
        let plan = ipvs::plan(&expected, &state, &Options::default().scope(scope));
        let is_same = plan.changes.is_empty();
        if context.json {
            let held = TableIndex::new(&state);
            let changes: Vec<Row> = plan.changes.iter().map(|change| Row::new(change, &state, &held)).collect();
            let (file, changes, maybe_down) = (&*input.name, &*changes, &*maybe_down);
            context.write_json(&Document { schema: SCHEMA, file, changes, maybe_down })?;
        } else {
            context.write(|out| {
                for server in &maybe_down {
                    writeln!(out, "maybe down: {server}")?;
                }
                for change in &plan.changes {
                    writeln!(out, "{}", text::escaped(&change.to_string()))?;
                }
                let summary = match plan.changes.len() {
                    0 => "the table does not differ".to_owned(),
                    1 => "the table differs: 1 change is needed".to_owned(),
                    changes => format!("the table differs: {} are needed", count(changes, "change")),
                };
                let down = match maybe_down.len() {
                    0 => String::new(),
                    servers => format!("; {} may be down", count(servers, "server")),
                };
                writeln!(out, "{}: {summary}{down}", input.name)
            })?;
        }
        Ok(if is_same { code::DONE } else { code::CHANGES })
    }
}
