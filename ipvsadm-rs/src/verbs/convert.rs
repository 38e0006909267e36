//! `ipvsadm-rs convert`: the table that a file describes, in another format.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ipvs::document::Document;
use ipvs::rules;

use crate::context::{Context, code};
use crate::file::{self, ConfigId, Format};
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;

/// Convert a configuration of keepalived or ldirectord to rules, JSON or TOML
///
/// The result is the table that the program makes while all its checks succeed. It is written to standard output.
///
/// Settings without a counterpart in a table, such as checks, scripts and VRRP, are listed on standard error with their
/// line. So are settings that the program does not use as they are written. Lines that are not understood are errors,
/// and then nothing is written.
///
/// Files that keepalived.conf includes are read, too. The table in the kernel is neither read nor changed. With --json,
/// the output is that of --to json.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Convert {
    /// File to convert; `-` for standard input
    file: PathBuf,
    /// Format of FILE [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "rules")]
    to: OutputFormat,
    #[command(flatten)]
    config_id: ConfigId,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OutputFormat {
    /// Lines for ipvsadm-restore
    Rules,
    /// JSON, as `save --format json` prints it
    Json,
    /// TOML, with the keys of the JSON format
    Toml,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  FILE cannot be read, has errors, or contains no rules";

impl Convert {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let input = file::read(&self.file, self.format, &self.config_id.options(context.input_limit()?))?;
        input.print_diagnostics();
        let program = input.format.program().unwrap_or("the program");
        let config = match input.config {
            Ok(config) => config,
            Err(errors) => bail!("{}: {}", input.name, count(errors.len(), "error")),
        };
        for setting in &input.left {
            print_error(&setting.show_line(&input.name, &format!("left to {program}")));
        }
        if input.is_blank {
            bail!("{} contains no rules: nothing was written", input.name);
        }
        let mut text = Vec::new();
        let format = if context.json { OutputFormat::Json } else { self.to };
        match format {
            OutputFormat::Rules => rules::write_config(&mut text, &config),
            OutputFormat::Json => {
                text = serde_json::to_vec_pretty(&config).context("cannot write JSON")?;
                text.push(b'\n');
            }
            OutputFormat::Toml => {
                text = toml::to_string(&Document::from(&config)).context("cannot write TOML")?.into_bytes();
            }
        }
        context.write(|out| out.write_all(&text))?;
        Ok(code::DONE)
    }
}
