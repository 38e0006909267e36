//! `ipvsadm-rs which`: prints the server that a client gets.

mod clients;
mod decision;
mod entries;
mod last_weights;
mod output;
mod servers;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::estimate::Scheduling;
use ipvs::hash::TableSizes;
use ipvs::plan::Options;
use ipvs::{Change, Client, Config, Counters, Scope, Selector, ServiceConfig, ServiceKey, ServiceState, State};

use super::directors;
use crate::context::{Context, code};
use crate::file::{self, ConfigId, DaemonOptions, Format};
use crate::plan::clients::{ClientEffects, Limits};
use crate::sight::reading;
use crate::sight::server_name::{ServerName, address_and_port};
use crate::sight::service_options::ServiceOptions;
use crate::terminal::exit::print_error;
use crate::terminal::text;
use decision::Side;
use output::Answers;

/// Show the server that a client gets, or compare two directors
///
/// Clients are looked up in one service, which must be selected. --compare compares all services, or those selected.
///
/// The connection table is read first. Packets of a connection go to the server of the connection. A new connection goes
/// to the server of the client's persistence template, if there is one. Otherwise it goes to the server that the
/// scheduler selects. For sh, dh and mh this server is computed as the kernel does, with weights, thresholds and
/// fallback flags. The other schedulers decide when the client connects. Then their servers are listed.
///
/// --without and --with also show the server that new connections get after a change, and the share of all new clients
/// that get another server or are refused. The table is not changed, and no module is loaded.
///
/// --compare shows for each service whether another director sends clients to the same servers. A service by firewall
/// mark takes precedence over others, but the rules that set marks are not read.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Which {
    #[command(flatten)]
    services: ServiceOptions,
    /// Client to look up, ADDRESS or ADDRESS:PORT; can be repeated, or separated by commas
    ///
    /// An IPv6 address with a port is written in brackets. Without a port, the connections of the address are counted.
    #[arg(long, value_name = "CLIENT", value_delimiter = ',', conflicts_with = "compare")]
    client: Vec<String>,
    /// Look up the clients in FILE, one on each line, at most 100000; `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    clients: Option<PathBuf>,
    /// Address, or address and port, to which the clients connect, for a service of a firewall mark
    ///
    /// The scheduler dh hashes this address.
    #[arg(long, value_name = "DESTINATION", conflicts_with = "compare")]
    to: Option<String>,
    /// Also show the result if these servers were deleted; can be repeated, or separated by commas
    ///
    /// HOST is an address, or a name for all its addresses. Without a port, all ports of the host are selected.
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["with", "compare"])]
    without: Vec<String>,
    /// Also show the result if the table in FILE was applied; `-` for standard input
    ///
    /// FILE contains rules, JSON or TOML, or is a configuration of keepalived or ldirectord.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    with: Option<PathBuf>,
    /// Compare this director with the table of another one in FILE; `-` for standard input
    ///
    /// FILE is output of `show --json` or `save`, another file of rules, JSON or TOML, or a configuration of keepalived or
    /// ldirectord.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Format of the FILE of --with or --compare [default: detected from the name and contents]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    config_id: ConfigId,
    /// CONFIG_IP_VS_SH_TAB_BITS of the kernel, 4 to 20
    #[arg(long, value_name = "BITS", default_value_t = TableSizes::default().sh_bits, value_parser = clap::value_parser!(u8).range(4..=20))]
    sh_bits: u8,
    /// CONFIG_IP_VS_MH_TAB_INDEX of the kernel, 8 to 17
    #[arg(long, value_name = "INDEX", default_value_t = TableSizes::default().mh_index, value_parser = clap::value_parser!(u8).range(8..=17))]
    mh_index: u8,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done; with --compare, both directors send clients to the same servers
  1  Error
  2  With --compare: they send clients to different servers, or a service could
     not be compared";

impl Which {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let sizes = TableSizes { sh_bits: self.sh_bits, mh_index: self.mh_index };
        let options = self.config_id.options(context.input_limit()?);
        if let Some(path) = &self.compare {
            return directors::compare(context, path, self.format, &options, &self.services.selectors(), sizes);
        }
        if self.client.is_empty() && self.clients.is_none() && self.without.is_empty() && self.with.is_none() {
            bail!("nothing to look up\nSpecify --client, --clients, --without, --with or --compare.");
        }
        let from_standard_input = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if from_standard_input(&self.clients) && from_standard_input(&self.with) {
            bail!("--clients and --with cannot both read standard input");
        }
        let clients = clients::read(&self.client, self.clients.as_deref(), context.input_limit()?)?;
        let to = self.to.as_deref().map(destination).transpose()?;
        let without = ServerName::read_all(&self.without)?;
        let with = self.with.as_ref().map(|path| read_table(path, self.format, &options)).transpose()?;
        let selectors = self.services.selectors();
        let mut director = context.open_loaded()?;
        let state = find_service(&mut director, &selectors, clients.first().map(|client| client.address))?;
        let key = state.service.key;
        clients::ensure_family(&clients, key)?;
        if let (ServiceKey::Address { address, .. }, Some((to, _))) = (key, to)
            && to != address
        {
            bail!("--to {to}: the address of the service is {address}");
        }
        let changes = match (&with, without.is_empty()) {
            (Some(config), _) => Some(changes_of_table(&state, config)?),
            (None, false) => Some(changes_without(&state, &without)?),
            (None, true) => None,
        };
        let remembered = last_weights::of_drained(&state, context);
        let scheduling = Scheduling::new(&state).with_last_weights(|server| remembered.get(server).copied());
        let now = Side::of(scheduling, sizes, director.expires_quiescent_templates().ok());
        let then = changes.as_ref().map(|plan| now.after(&plan.changes, sizes)).transpose()?;
        let effects = changes.as_ref().map(|plan| {
            let service = (now.scheduling.clone(), plan.changes.iter().collect());
            ClientEffects::of_services(std::iter::once(service), sizes, Limits::default(), context)
        });
        let held =
            if clients.is_empty() { Vec::new() } else { entries::find(&mut director, &state.service, &clients, to)? };
        let answers = Answers {
            state: &state,
            clients: &clients,
            to,
            held: &held,
            now: &now,
            then: then.as_ref(),
            effects,
            remembered: &remembered,
        };
        answers.print(context)?;
        Ok(code::DONE)
    }
}

/// Reads the value of `--to`.
fn destination(text: &str) -> anyhow::Result<(IpAddr, Option<u16>)> {
    address_and_port(text)
        .with_context(|| format!("invalid --to `{}': expected ADDRESS or ADDRESS:PORT", text::escaped(text)))
}

/// Reads the file of `--with`.
fn read_table(path: &std::path::Path, format: Option<Format>, options: &DaemonOptions) -> anyhow::Result<Config> {
    let input = file::read(path, format, options)?;
    let is_blank = input.is_blank;
    let name = input.name.clone();
    let config = input.into_config()?;
    if is_blank {
        bail!("{name}: the file contains no rules");
    }
    Ok(config)
}

/// Reads the service that was selected, with its servers.
///
/// A packet whose port has no service is for the service with port 0 of its address. Such a service is found, too.
fn find_service(director: &mut Client, selectors: &[Selector], client: Option<IpAddr>) -> anyhow::Result<ServiceState> {
    if selectors.is_empty() {
        bail!("no service was specified\nSpecify one with -t, -u, --sctp-service or -f.");
    }
    let services = reading::services(director)?;
    let selected: Vec<&ServiceState> =
        services.iter().filter(|state| selectors.iter().any(|one| one.selects(&state.service.key))).collect();
    let of_family =
        |state: &&&ServiceState| client.is_none_or(|client| state.service.key.family() == ipvs::Family::of(client));
    let mut state = match selected.as_slice() {
        [one] => (*one).clone(),
        [] => of_all_ports(&services, selectors)?,
        several => match several.iter().filter(of_family).collect::<Vec<_>>().as_slice() {
            [one] => (**one).clone(),
            _ => bail!("{} services are selected\nSelect one, for example with -t or -f.", several.len()),
        },
    };
    state.destinations = director.destinations_with(&state.service.key, Counters::Skip)?;
    if state.destinations.is_empty() {
        // The kernel lists the servers of a service that was deleted meanwhile as none.
        director.service(&state.service.key)?;
    }
    Ok(state)
}

/// Returns the service with port 0 of the selected address.
fn of_all_ports(services: &[ServiceState], selectors: &[Selector]) -> anyhow::Result<ServiceState> {
    if let [selector @ Selector::Service(ServiceKey::Address { protocol, address, .. })] = selectors {
        let all = ServiceKey::new(*protocol, *address, 0);
        if let Some(state) = services.iter().find(|state| state.service.key == all) {
            print_error(&format!("note: there is no service {selector}: {all} gets its clients"));
            return Ok(state.clone());
        }
    }
    let names: Vec<String> = selectors.iter().map(ToString::to_string).collect();
    bail!("no service {}\nTo list the services, use `ipvsadm-rs show`.", names.join(", "))
}

/// Returns the changes that make the service match a table.
fn changes_of_table(state: &ServiceState, config: &Config) -> anyhow::Result<ipvs::Plan> {
    let key = state.service.key;
    if !config.services.iter().any(|service| service.service.key == key) {
        bail!("the file of --with has no service {key}");
    }
    Ok(plan_of(state, config))
}

fn plan_of(state: &ServiceState, config: &Config) -> ipvs::Plan {
    let scope = Scope { only: vec![Selector::Service(state.service.key)], ..Scope::default() };
    ipvs::plan(config, &State::from(vec![state.clone()]), &Options::default().scope(scope))
}

/// Returns the changes that delete servers.
fn changes_without(state: &ServiceState, without: &[ServerName]) -> anyhow::Result<ipvs::Plan> {
    let mut service = ServiceConfig::from(state);
    for name in without {
        if !state.destinations.iter().any(|server| name.is(&server.destination.key)) {
            bail!("no server {} in {}", text::escaped(&name.text), state.service.key);
        }
    }
    service.destinations.retain(|server| !without.iter().any(|name| name.is(&server.key)));
    let plan = plan_of(state, &Config { services: vec![service], ..Config::default() });
    debug_assert!(plan.changes.iter().all(|change| matches!(change, Change::DeleteDestination(..))));
    Ok(plan)
}

/// An address and port, or an address alone.
fn endpoint(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}
