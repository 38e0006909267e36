//! `ipvsadm-rs save`: saves the whole table.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use ipvs::rules::{self, Numeric};
use ipvs::{Config, Counters, Service, ServiceConfig, ServiceKey, SyncDaemon};

use crate::context::{Context, code};
use crate::terminal::exit::print_error;

/// Save the whole table
///
/// Saves services, servers with their thresholds and order, timeouts and sync daemons. ipvsadm-restore of ipvsadm 1.31
/// also reads the rules format.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Save {
    /// Format of the output
    #[arg(long, value_enum, default_value = "rules")]
    format: OutputFormat,
    /// Write to FILE instead of standard output; `-` means standard output
    ///
    /// A regular file is replaced atomically and keeps its owner, group and mode. Hard links to it keep the old
    /// contents. A file that cannot be replaced, such as a mount point, is overwritten, and a note is printed.
    ///
    /// Symbolic links are followed. Links and files of other users in a directory such as /tmp are refused. If FILE is
    /// a device or a pipe, the output is written to it. /dev/stdout and /dev/fd/N mean the open descriptors.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OutputFormat {
    /// Lines for ipvsadm-restore
    Rules,
    /// JSON, as `show --json` prints it but without counters
    Json,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

impl Save {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let state = context.open()?.state_with(Counters::Skip)?;
        let mut config = Config::from(&state);
        config.services.sort_by_key(|service| service.service.key);
        let mut text = Vec::new();
        if self.format == OutputFormat::Json || context.json {
            text = serde_json::to_vec_pretty(&config).context("cannot write JSON")?;
            text.push(b'\n');
        } else {
            rules::write_config(&mut text, &config);
            note_inexpressible(&config, &text);
        }
        context.write_file(self.output.as_deref(), &text)?;
        Ok(code::DONE)
    }
}

/// Prints a note for each setting that the rules format cannot express, and a hint. Other programs may have made such
/// settings.
fn note_inexpressible(config: &Config, text: &[u8]) {
    let found = inexpressible(config, text);
    for what in &found {
        print_error(&format!("note: the rules format cannot fully express {what}"));
    }
    if !found.is_empty() {
        print_error("Use --format json.");
    }
}

fn inexpressible(config: &Config, text: &[u8]) -> Vec<String> {
    let read = rules::read_config(text, &mut Numeric).map(|read| read.config);
    // If a line cannot be read, each part is read separately.
    let read = read.unwrap_or_else(|_| read_one_by_one(config));
    let mut found = Vec::new();
    if read.timeouts != config.timeouts {
        found.push("the timeouts".to_owned());
    }
    for daemon in config.daemons.iter().flatten() {
        if !read.daemons.iter().flatten().any(|other| other == daemon) {
            found.push(format!("the {} sync daemon", daemon.role));
        }
    }
    let services: HashMap<ServiceKey, &ServiceConfig> =
        read.services.iter().map(|service| (service.service.key, service)).collect();
    for service in &config.services {
        let key = service.service.key;
        // The rules format omits a netmask without persistence, which has no effect.
        let same = |other: &&ServiceConfig| {
            let netmask = service.service.netmask;
            other.destinations == service.destinations && Service { netmask, ..other.service } == service.service
        };
        if services.get(&key).copied().filter(same).is_none() {
            found.push(key.to_string());
        }
    }
    found
}

/// Returns the parts of a table (timeouts, daemons, services) that can be read again after each is written separately.
fn read_one_by_one(config: &Config) -> Config {
    let read = |part: Config| {
        let mut text = Vec::new();
        rules::write_config(&mut text, &part);
        rules::read_config(&text, &mut Numeric).map(|read| read.config).unwrap_or_default()
    };
    let daemon = |daemon: &SyncDaemon| read(Config { daemons: Some(vec![*daemon]), ..Config::default() }).daemons;
    let service = |service: &ServiceConfig| Config { services: vec![service.clone()], ..Config::default() };
    Config {
        timeouts: read(Config { timeouts: config.timeouts, ..Config::default() }).timeouts,
        daemons: Some(config.daemons.iter().flatten().filter_map(daemon).flatten().collect()),
        services: config.services.iter().flat_map(|one| read(service(one)).services).collect(),
        order: config.order,
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{Destination, Forwarding, Protocol, Scheduler, Timeouts};

    use super::*;

    fn found(config: &Config) -> Vec<String> {
        let mut text = Vec::new();
        rules::write_config(&mut text, config);
        inexpressible(config, &text)
    }

    #[test]
    fn finds_what_rules_cannot_express() {
        let service = |protocol, port| ServiceConfig {
            service: Service::new(ServiceKey::new(protocol, [192, 0, 2, 1], port), Scheduler::RR),
            destinations: vec![Destination::new(([10, 0, 0, 1], port), Forwarding::Masquerade)],
        };
        let mut long = service(Protocol::Tcp, 443);
        long.service.persistence = Some(3_000_000);
        let mut local = service(Protocol::Udp, 53);
        local.destinations[0].forwarding = Forwarding::Local;
        let services = vec![service(Protocol::Tcp, 80), service(Protocol::Other(99), 80), long, local];
        let mut config = Config { daemons: Some(Vec::new()), services, ..Config::default() };
        let nameless = ["protocol 99 192.0.2.1:80", "UDP 192.0.2.1:53"];
        assert_eq!(found(&config), nameless);
        // ipvsadm has no syntax for port 0 without persistence: its line cannot be read.
        config.services.push(service(Protocol::Tcp, 0));
        config.timeouts = Some(Timeouts { tcp: 3_000_000, tcp_fin: u32::MAX, udp: 1 });
        assert_eq!(found(&config), ["the timeouts", nameless[0], nameless[1], "TCP 192.0.2.1:0"]);
    }
}
