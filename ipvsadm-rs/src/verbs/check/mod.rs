//! `ipvsadm-rs check`: checks a file without reading the table, or the table.

mod live;
mod nagios;

use std::path::{Path, PathBuf};

use clap::Args;
use ipvs::document::SCHEMA;
use serde::Serialize;

use crate::context::{Context, code};
use crate::file::diagnostic::Diagnostic;
use crate::file::{self, ConfigId, Format};
use crate::terminal::plural::count;
use live::Live;
pub(super) use live::usage_error_code;

/// Check FILE for errors, and for valid but probably unintended settings; with --live, check the table
///
/// Needs neither root nor IPVS in the kernel. All errors are printed with their line and column.
///
/// With --live, the table in the kernel is checked instead. A service that refuses all new clients is critical: it has no
/// servers, only servers of weight 0, or only full ones. Services that refuse some new clients and full servers are
/// warnings. So is a table that differs from FILE, if there is one. Draining servers are listed without a warning.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Check {
    /// File to check: rules as ipvsadm-save writes them, JSON, TOML, or a configuration of keepalived or ldirectord; `-`
    /// for standard input; optional with --live
    #[arg(required_unless_present = "live")]
    file: Option<PathBuf>,
    /// Format of FILE [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    config_id: ConfigId,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    live: Live,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  No errors; there may be warnings
  1  FILE cannot be read
  2  FILE has errors; with --strict, also if there are warnings

Exit codes with --live, as those of a plugin of Nagios:
  0  No problems
  1  Warning: some new clients are refused, servers are full, or the table
     differs from FILE
  2  Critical: a service refuses all new clients
  3  Unknown: the table or FILE cannot be read";

#[derive(Serialize)]
struct Verdict {
    schema: u32,
    file: String,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let read = |path: &Path| {
            let options = self.config_id.options(context.input_limit()?);
            file::read(path, self.format, &options)
        };
        if self.live.live {
            let file = self.file.as_deref().map(read);
            return self.live.run(context, file);
        }
        let path = self.file.unwrap_or_else(|| "-".into());
        let mut input = read(&path)?;
        let contents = input.config.as_ref().map(|config| {
            let servers: usize = config.services.iter().map(|service| service.destinations.len()).sum();
            format!("{}, {}", count(config.services.len(), "service"), count(servers, "server"))
        });
        let contents = contents.unwrap_or_default();
        if input.is_blank {
            input.warnings.push(Diagnostic::about_all("the file contains no rules"));
        }
        if !context.json {
            input.print_diagnostics();
            input.print_left();
        }
        let errors = input.config.err().unwrap_or_default();
        let is_standard_input = path == Path::new("-");
        // JSON escapes by itself, and programs compare the name with that of the file.
        let file = if context.json && !is_standard_input { path.display().to_string() } else { input.name };
        let verdict = Verdict { schema: SCHEMA, file, errors, warnings: input.warnings };
        if context.json {
            context.write_json(&verdict)?;
        } else {
            let summary = match (verdict.errors.len(), verdict.warnings.len()) {
                (0, 0) => format!("no errors: {contents}"),
                (0, warnings) => format!("no errors, {}: {contents}", count(warnings, "warning")),
                (errors, _) => count(errors, "error"),
            };
            context.write(|out| writeln!(out, "{}: {summary}", verdict.file))?;
        }
        let is_good = verdict.errors.is_empty() && (!self.strict || verdict.warnings.is_empty());
        Ok(if is_good { code::DONE } else { code::CHANGES })
    }
}
