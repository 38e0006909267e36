//! `ipvsadm-rs save`: the whole table, with nothing lost.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use ipvs::rules::{self, Numeric};
use ipvs::{Config, Director, Service, ServiceConfig, ServiceKey};

use super::{Context, code};
use crate::durable;
use crate::failure::say;

/// Write the whole table: services, servers, thresholds, timeouts, sync daemons, and the order of servers
///
/// The rules can be read by ipvsadm-restore of 1.31, too.
#[derive(Args, Debug)]
pub(super) struct Save {
    /// The form
    #[arg(long, value_enum, default_value = "rules")]
    format: Form,
    /// Write to this file, which is replaced in one step, instead of standard output; a device or a pipe is written to
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
            say_what_rules_cannot_say(&config, &text);
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

/// Another program may have put something into the kernel that ipvsadm's language has no words for.
fn say_what_rules_cannot_say(config: &Config, text: &[u8]) {
    let read = rules::read_config(text, &mut Numeric).map(|read| read.config).unwrap_or_default();
    if read.services == config.services {
        return;
    }
    let read: HashMap<ServiceKey, &ServiceConfig> =
        read.services.iter().map(|service| (service.service.key, service)).collect();
    for service in &config.services {
        let key = service.service.key;
        // Without persistence, a netmask does nothing and is not written.
        let same = |said: &&ServiceConfig| {
            let netmask = service.service.netmask;
            said.destinations == service.destinations && Service { netmask, ..said.service } == service.service
        };
        if read.get(&key).filter(|said| same(said)).is_none() {
            say(&format!("note: rules cannot say all of {key}; --format json can"));
        }
    }
}
