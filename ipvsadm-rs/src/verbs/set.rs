//! `ipvsadm-rs set`: changes single settings. Its options are made from the rows of ipvsadm's language.

use std::net::IpAddr;

use anyhow::{anyhow, bail};
use clap::{Arg, ArgMatches, Args, FromArgMatches, ValueEnum};
use ipvs::hash::TableSizes;
use ipvs::rules::program::{OPTIONS, OptionRow, Value, Verb};
use ipvs::rules::{self, Command, Numeric, ParseError, Resolver};
use ipvs::{Change, Client, Counters, Destination, DestinationKey, ErrorKind, Family, Plan, ServiceKey, State};

use crate::context::{Context, code};
use crate::hints::{self, Once};
use crate::journal::{Entry, Folder, Phase};
use crate::plan::recorded;
use crate::plan::report::Report;
use crate::plan::transaction::Transaction;
use crate::resolver::System;
use crate::sight::server_name::address_and_port;
use crate::terminal::exit::print_error;

/// Change single settings of a service or a server
///
/// Settings that are not specified keep their values. With -r, the settings of that server are changed, otherwise those
/// of the service. With -r and without a service, the server is changed in every service that has it. For example,
/// `ipvsadm-rs set -r 10.0.0.7 --weight 0` sends it no new clients. Known clients of persistent services keep connecting
/// to it, unless the sysctl net.ipv4.vs.expire_quiescent_template is 1. New clients that are refused are reported.
///
/// --weight +N adds N to the weight, and --weight -N subtracts N from it. --persistent accepts seconds, and durations such
/// as 5m.
///
/// `undo` reverts the change. Changes of the same services or servers within 10 minutes are one plan in the journal.
/// Otherwise health checkers would fill the journal.
///
/// While a plan is pending, or while `apply --drain` waits for connections to end, settings can be changed. A note
/// names the plan, because its rollback or its end may revert the change.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES, group = clap::ArgGroup::new("service").multiple(false))]
pub(super) struct Set {
    /// TCP service
    #[arg(short, long, value_name = "HOST[:PORT]", group = "service")]
    tcp_service: Option<String>,
    /// UDP service
    #[arg(short, long, value_name = "HOST[:PORT]", group = "service")]
    udp_service: Option<String>,
    /// SCTP service
    #[arg(long, value_name = "HOST[:PORT]", group = "service")]
    sctp_service: Option<String>,
    /// Service of a firewall mark, 1 to 4294967295
    #[arg(short, long, value_name = "MARK", group = "service")]
    fwmark_service: Option<String>,
    /// With -f: the service for IPv6 packets instead of IPv4 packets
    #[arg(short = '6', long, requires = "fwmark_service")]
    ipv6: bool,
    /// Server; without a port, the servers on all ports of HOST
    #[arg(short, long, value_name = "HOST[:PORT]")]
    real_server: Option<String>,
    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    forwarding: Forwarding,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done, or nothing to change
  1  Error, or the kernel refused a change
  2  Only with --dry-run: there are changes to make";

/// The long spelling of the option for weights.
const WEIGHT: &str = "weight";

/// Returns a duration such as `5m` in seconds, as ipvsadm reads it, and every other text unchanged.
fn in_seconds(text: &str) -> String {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.subsec_nanos() == 0 => duration.as_secs().to_string(),
        _ => text.to_owned(),
    }
}

/// Returns the weight that `+N` or `-N` makes of another one. `None` for every other text.
fn changed_weight(server: &Destination, text: &str) -> anyhow::Result<Option<String>> {
    let Some((sign, Ok(by))) = text.split_at_checked(1).map(|(sign, digits)| (sign, digits.parse::<u32>())) else {
        return Ok(None);
    };
    let (key, weight) = (server.key, server.weight);
    let changed = match sign {
        "+" => weight.saturating_add(by),
        "-" => weight
            .checked_sub(by)
            .ok_or_else(|| anyhow!("server {key} has weight {weight}: it cannot be lowered by {by}"))?,
        _ => return Ok(None),
    };
    Ok(Some(changed.to_string()))
}

/// The options that `set` has in common with ipvsadm, from the rows of ipvsadm's language: long spelling and value.
#[derive(Debug, Default)]
struct Settings {
    of_service: Vec<(&'static str, String)>,
    of_server: Vec<(&'static str, String)>,
}

fn settable(verb: Verb) -> impl Iterator<Item = &'static OptionRow> {
    OPTIONS.iter().filter(move |row| row.settable && row.allowed.contains(&verb))
}

/// Returns an option of `set`. It has no default, because a setting that is not specified keeps its value.
fn argument(row: &'static OptionRow, heading: &'static str) -> Arg {
    let argument = Arg::new(row.long).long(row.long).help(row.help).help_heading(heading);
    let argument = match row.shorts.chars().next() {
        Some(letter) => argument.short(letter),
        None => argument,
    };
    match row.value {
        Value::None => argument.value_name("on|off").value_parser(["on", "off"]).hide_possible_values(true),
        Value::Required(_) if row.long == WEIGHT => argument.value_name("WEIGHT|+N|-N").allow_hyphen_values(true),
        Value::Required(name) | Value::Optional(name) => {
            let off = if row.has_off() { "|off" } else { "" };
            argument.value_name(format!("{}{off}", name.to_uppercase()))
        }
    }
}

impl Settings {
    fn is_empty(&self) -> bool {
        self.of_service.is_empty() && self.of_server.is_empty()
    }
}

impl Args for Settings {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .args(settable(Verb::EditService).map(|row| argument(row, "Settings of a service")))
            .args(settable(Verb::EditServer).map(|row| argument(row, OF_A_SERVER)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |row: &'static OptionRow| {
            let value = matches.get_one::<String>(row.long)?;
            Some((row.long, if row.long == "persistent" { in_seconds(value) } else { value.clone() }))
        };
        Ok(Self {
            of_service: settable(Verb::EditService).filter_map(given).collect(),
            of_server: settable(Verb::EditServer).filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const OF_A_SERVER: &str = "Settings of a server (-r)";

/// The options for the forwarding method. `--forwarding` replaces ipvsadm's -g, -i, -m and --tun-type. `--tun-checksum`
/// replaces --tun-nocsum, --tun-csum and --tun-remcsum.
#[derive(Args, Debug)]
#[command(next_help_heading = OF_A_SERVER)]
struct Forwarding {
    /// Forward packets by this method
    #[arg(long, value_enum, value_name = "METHOD")]
    forwarding: Option<Method>,
    /// Checksums of the packets in a gue or gre tunnel
    #[arg(long, value_enum, value_name = "CHECKSUM")]
    tun_checksum: Option<Checksum>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Method {
    /// Masquerading (NAT)
    Masquerade,
    /// Direct routing
    DirectRoute,
    /// IP-in-IP tunnel
    Ipip,
    /// Tunnel with generic UDP encapsulation; it needs --tun-port
    Gue,
    /// GRE tunnel
    Gre,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Checksum {
    /// No checksum
    None,
    /// A checksum of the whole packet
    Full,
    /// Remote checksum offload, for gue only
    Remote,
}

impl Forwarding {
    /// Returns the options in ipvsadm's spelling.
    fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        let method: &[(&str, &str)] = match self.forwarding {
            None => &[],
            Some(Method::Masquerade) => &[("masquerading", "on")],
            Some(Method::DirectRoute) => &[("gatewaying", "on")],
            Some(Method::Ipip) => &[("ipip", "on"), ("tun-type", "ipip")],
            Some(Method::Gue) => &[("ipip", "on"), ("tun-type", "gue")],
            Some(Method::Gre) => &[("ipip", "on"), ("tun-type", "gre")],
        };
        let checksum: &[(&str, &str)] = match self.tun_checksum {
            None => &[],
            Some(Checksum::None) => &[("tun-nocsum", "on")],
            Some(Checksum::Full) => &[("tun-csum", "on")],
            Some(Checksum::Remote) => &[("tun-remcsum", "on")],
        };
        method.iter().chain(checksum).copied()
    }
}

/// Returns the error with the options of `set` in place of those of ipvsadm.
fn in_words_of_set(problem: ParseError) -> anyhow::Error {
    let spelled = |option| match option {
        "tun-nocsum" => "--tun-checksum none".to_owned(),
        "tun-csum" => "--tun-checksum full".to_owned(),
        "tun-remcsum" => "--tun-checksum remote".to_owned(),
        option => format!("--{option}"),
    };
    match problem {
        ParseError::TunnelOptionsWithoutTunnel => anyhow!("--tun-port and --tun-checksum require a gue or gre tunnel"),
        ParseError::MissingForTunnel { option, tunnel } => anyhow!("a {tunnel} tunnel needs {}", spelled(option)),
        ParseError::IllegalForTunnel { option, tunnel } => {
            anyhow!("{} does not apply to {tunnel} tunnels", spelled(option))
        }
        other => other.into(),
    }
}

impl Set {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let key = self.service()?;
        if key.is_none() && self.real_server.is_none() {
            bail!("no service or server specified\nUse -t, -u, --sctp-service or -f for a service, -r for a server.");
        }
        if self.settings.is_empty() && self.forwarding.options().next().is_none() {
            bail!(
                "no setting specified\nSpecify at least one, such as --weight or --scheduler. `set --help` lists them."
            );
        }
        // Before the table is locked, because a name server may be slow.
        let server = self.real_server.as_deref().map(Server::read).transpose()?;
        let transaction = if self.dry_run { None } else { Some(Transaction::open(context)?) };
        let mut director = context.open()?;
        let state = self.read(&mut director, key)?;
        let changes = match &server {
            Some(server) => self.server_changes(&state, server, key)?,
            None => self.service_change(&state)?.into_iter().collect(),
        };
        for change in &changes {
            change.validate().map_err(|why| anyhow!("{}: {why}", change.describe()))?;
        }
        let plan = Plan::from(changes);
        let Some(transaction) = transaction else {
            print_warnings(&plan);
            return Report::new(&plan, &state, TableSizes::default(), context).print_plan(context);
        };
        let refused = director.submit(&plan.changes)?;
        let unrecorded = recorded::record_made(&transaction, "set", &plan, &refused, &state);
        let notes = transaction.journal().map(|journal| notes(journal, &plan)).unwrap_or_default();
        // Nothing is printed or computed before the table is unlocked, because a terminal that was cut off may block
        // this process.
        drop(transaction);
        print_warnings(&plan);
        print_error(&unrecorded.unwrap_or_default());
        notes.iter().for_each(|note| print_error(note));
        let mut hints = Once::default();
        for (index, error) in &refused {
            print_error(&hints::refused_change(&plan.changes[*index], error));
            hints.print(hints::for_refusal(&plan.changes[*index], error));
        }
        if !refused.is_empty() {
            bail!("{} refused", crate::terminal::plural::count(refused.len(), "change"));
        }
        Report::new(&plan, &state, TableSizes::default(), context).print_result(context)?;
        Ok(code::DONE)
    }

    /// Returns the specified service, parsed in the same way as by ipvsadm. `None` if no service is specified.
    fn service(&self) -> anyhow::Result<Option<ServiceKey>> {
        let mut words: Vec<&[u8]> = vec![b"-Z"];
        let spelled = [
            (&b"-t"[..], &self.tcp_service),
            (b"-u", &self.udp_service),
            (b"--sctp-service", &self.sctp_service),
            (b"-f", &self.fwmark_service),
        ];
        for (option, value) in spelled {
            if let Some(value) = value {
                words.extend([option, value.as_bytes()]);
            }
        }
        if self.ipv6 {
            words.push(b"-6");
        }
        let read = rules::parse(&words, &mut System::default());
        match read.map_err(|error| hints::with_hint(&error, hints::for_words(&error, &words)))? {
            Command::Change(Change::Zero(key)) => Ok(key),
            _ => Ok(None),
        }
    }

    /// Reads the specified service, or all services if none is specified.
    fn read(&self, director: &mut Client, key: Option<ServiceKey>) -> anyhow::Result<State> {
        let Some(key) = key else {
            return Ok(director.state_with(Counters::Skip)?);
        };
        let mut service = director.service(&key).map_err(|error| match error.kind() {
            ErrorKind::NoSuchService => {
                anyhow!("no service {key}\nTo list the services, use `ipvsadm-rs show`.")
            }
            _ => error.into(),
        })?;
        service.destinations = director.destinations_with(&key, Counters::Skip)?;
        Ok(vec![service].into())
    }

    // Settings are not resolved by name, because the table is locked meanwhile, and a name server may be slow.
    fn service_change(&self, state: &State) -> anyhow::Result<Option<Change>> {
        if self.server_options().next().is_some() {
            bail!("weight, forwarding and thresholds are settings of a server\nUse -r to specify the server.");
        }
        let Some(held) = state.services.first() else { return Ok(None) };
        let options: Vec<_> = self.settings.of_service.iter().map(|(long, value)| (*long, value.as_str())).collect();
        let service = rules::edit_service(&held.service, &options, &mut Numeric).map_err(in_words_of_set)?;
        Ok((service != held.service).then_some(Change::EditService(service)))
    }

    fn server_options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.of_server.iter().map(|(long, value)| (*long, value.as_str())).chain(self.forwarding.options())
    }

    fn server_changes(
        &self,
        state: &State,
        server: &Server,
        service: Option<ServiceKey>,
    ) -> anyhow::Result<Vec<Change>> {
        if !self.settings.of_service.is_empty() {
            bail!("scheduler and persistence are settings of a service\nOmit -r.");
        }
        let weight = self.settings.of_server.iter().find(|(long, _)| *long == WEIGHT).map(|(_, value)| value);
        let mut found = false;
        let mut changes = Vec::new();
        for service in &state.services {
            let key = service.service.key;
            for held in service.destinations.iter().filter(|held| server.is(&held.destination.key)) {
                found = true;
                let weight = weight.map(|text| changed_weight(&held.destination, text)).transpose()?.flatten();
                let options: Vec<_> = self
                    .server_options()
                    .map(|(long, value)| (long, weight.as_deref().filter(|_| long == WEIGHT).unwrap_or(value)))
                    .collect();
                let destination = rules::edit_destination(&key, &held.destination, &options, &mut Numeric)
                    .map_err(in_words_of_set)?;
                if destination != held.destination {
                    changes.push(Change::EditDestination(key, destination));
                }
            }
        }
        if !found {
            let place = service.map_or("no service".into(), |service| format!("service {service}"));
            let verb = if service.is_some() { "has no" } else { "has" };
            bail!("{place} {verb} server {}\nTo list the servers, use `ipvsadm-rs show`.", server.text);
        }
        Ok(changes)
    }
}

fn print_warnings(plan: &Plan) {
    for change in &plan.changes {
        change.warnings().iter().for_each(|warning| print_error(&format!("warning: {change}: {warning}")));
    }
}

/// Returns notes about a plan that may revert these changes.
fn notes(folder: &Folder, plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    let Some((Entry { number, changes, pending, .. }, phase)) = folder.unfinished() else { return notes };
    if pending.is_some() && phase != Phase::NeverConfirmed {
        notes.push(format!("note: plan {number} is pending; if it is rolled back, so is this change"));
    }
    if phase == Phase::Draining {
        let is_deleted = plan.changes.iter().any(|change| deletion(change).any(|line| changes.contains(&line)));
        let end = if is_deleted { "it deletes the server afterwards" } else { "it may revert this change afterwards" };
        notes.push(format!("note: plan {number} is draining servers; {end}"));
    }
    notes
}

/// Returns the lines of the plans that delete the server of a change.
fn deletion(change: &Change) -> impl Iterator<Item = String> {
    let lines = match change {
        Change::EditDestination(service, server) => {
            vec![Change::DeleteDestination(*service, server.key), Change::DeleteService(*service)]
        }
        _ => Vec::new(),
    };
    lines.into_iter().map(|change| change.to_string())
}

/// A server, in all services or one.
struct Server {
    /// The text that specifies it, for messages.
    text: String,
    address: IpAddr,
    /// `None` for all ports.
    port: Option<u16>,
}

impl Server {
    /// Reads an address or a name, with or without a port.
    fn read(text: &str) -> anyhow::Result<Self> {
        let with = |address, port| Ok(Self { text: text.to_owned(), address, port });
        if let Some((address, port)) = address_and_port(text) {
            return with(address, port);
        }
        let (name, port) = text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
        let port = port.map(str::parse).transpose().map_err(|_| anyhow!("invalid port in `{text}'"))?;
        if name.is_empty() || name.contains([':', '[', ']', '/']) {
            bail!("invalid server `{text}': expected HOST or HOST:PORT");
        }
        match System::default().host(name, &[Family::V4, Family::V6]) {
            Ok(address) => with(address, port),
            Err(error) => {
                let message = format!("server {name}: {error}");
                Err(hints::with_hint(&message, hints::for_host(error).map(str::to_owned)))
            }
        }
    }

    fn is(&self, key: &DestinationKey) -> bool {
        key.address == self.address && self.port.is_none_or(|port| key.port == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_weights_and_durations() {
        let destination =
            Destination { weight: 3, ..Destination::new(([10, 0, 0, 1], 80), ipvs::Forwarding::Masquerade) };
        let weight = |text| changed_weight(&destination, text).expect("a weight");
        assert_eq!(weight("+2").as_deref(), Some("5"));
        assert_eq!(weight("-3").as_deref(), Some("0"));
        assert_eq!(weight("7"), None);
        assert_eq!(weight("+"), None);
        assert_eq!(weight(""), None);
        let error = changed_weight(&destination, "-4").expect_err("too low").to_string();
        assert_eq!(error, "server 10.0.0.1:80 has weight 3: it cannot be lowered by 4");
        assert_eq!(
            (in_seconds("5m"), in_seconds("300"), in_seconds("off")),
            ("300".into(), "300".into(), "off".into())
        );
    }
}
