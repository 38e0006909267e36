//! `ipvsadm-rs save`: the whole table, with nothing lost.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use ipvs::{Config, Director, rules};

use super::{Context, code};
use crate::durable;

/// Write the whole table: services, servers, thresholds, timeouts, sync daemons, and the order of servers
///
/// The rules can be read by ipvsadm-restore of 1.31, too.
#[derive(Args, Debug)]
pub(super) struct Save {
    /// The form
    #[arg(long, value_enum, default_value = "rules")]
    format: Form,
    /// Write to this file, which is replaced in one step, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Form {
    Rules,
    Json,
}

impl Save {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let state = context.open()?.state()?;
        let mut config = Config::from(&state);
        config.services.sort_by_key(|service| service.service.key);
        let mut text = Vec::new();
        if self.format == Form::Json || context.json {
            text = serde_json::to_vec_pretty(&config).context("cannot be written as JSON")?;
            text.push(b'\n');
        } else {
            rules::write_config(&mut text, &config);
        }
        match &self.output {
            Some(path) => {
                durable::write(path, &text).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => context.write(|out| out.write_all(&text))?,
        }
        Ok(code::DONE)
    }
}
