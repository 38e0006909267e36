//! `ipvsadm-rs check`: a file read and judged, with no director at all.

use clap::Args;
use ipvs::document::SCHEMA;
use serde::Serialize;

use crate::context::{Context, code};
use crate::file::diagnostic::Diagnostic;
use crate::file::{self, Format};
use crate::terminal::plural::count;

/// Read FILE and tell all that is wrong with it, and what is legal but hardly meant
///
/// Needs neither root nor the kernel.
///
/// Exit code: 0 good, 2 something is wrong, 1 it cannot be read.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Rules as ipvsadm-save writes them, JSON, or TOML; `-` is standard input
    file: String,
    /// The form of FILE, instead of what it looks like
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Serialize)]
struct Verdict {
    schema: u32,
    file: String,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let mut input = file::read(&self.file, self.format)?;
        let contents = input.config.as_ref().map(|config| {
            let servers: usize = config.services.iter().map(|service| service.destinations.len()).sum();
            format!("{}, {}", count(config.services.len(), "service"), count(servers, "server"))
        });
        let contents = contents.unwrap_or_default();
        if input.is_blank {
            input.warnings.push(Diagnostic::about_all("this says nothing at all"));
        }
        if !context.json {
            input.print_diagnostics();
        }
        let errors = input.config.err().unwrap_or_default();
        let verdict = Verdict { schema: SCHEMA, file: input.name, errors, warnings: input.warnings };
        if context.json {
            context.write_json(&verdict)?;
        } else {
            let summary = match (verdict.errors.len(), verdict.warnings.len()) {
                (0, 0) => format!("good: {contents}"),
                (0, warnings) => format!("good, with {}: {contents}", count(warnings, "warning")),
                (errors, _) => count(errors, "error"),
            };
            context.write(|out| writeln!(out, "{}: {summary}", verdict.file))?;
        }
        Ok(if verdict.errors.is_empty() { code::DONE } else { code::CHANGES })
    }
}
