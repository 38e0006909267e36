//! `ipvsadm-rs connections`: prints or counts the entries of the connection table.

mod columns;
mod filter;
mod group;
mod groups;
mod json;
mod list;
mod state;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use ipvs::document::SCHEMA;
use ipvs::{EntryCount, IpNet, Name};
use serde_json::json;

use crate::context::{Context, code};
use crate::sight::server_name::ServerName;
use crate::sight::service_options::ServiceOptions;
use crate::sight::{limit, reading};
use filter::{Filter, Reading};
use group::Part;

/// List or count connections
///
/// Without --by and --count, each entry of the connection table is a row, in the kernel's order. An entry is a connection
/// or a persistence template. A template has a client without a port: it sends this client, or its network, to the
/// server. EXPIRES is the time until the kernel deletes the entry if no packet arrives.
///
/// The table is printed as it is read, and is never in memory as a whole. It changes while it is read, so an entry can
/// be missing, or be printed twice.
///
/// The kernel does not report the service of an entry, but only the address and port of its packets. A connection of a
/// firewall mark is recognised by its server, if no service has its address. SCOPE also selects entries by the address
/// and port of their packets.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Connections {
    #[command(flatten)]
    services: ServiceOptions,
    /// Select these servers; can be repeated, or separated by commas
    ///
    /// HOST is an address, or a name for all its addresses. Without a port, all ports of the host are selected. The server
    /// need not be in the table any more.
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Vec<String>,
    /// Select clients of this network: ADDRESS or ADDRESS/LENGTH; can be repeated, or separated by commas
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', value_parser = filter::network)]
    client: Vec<IpNet>,
    /// Select entries in this state, such as SYN_RECV; can be repeated, or separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state::parser(), ignore_case = true)]
    state: Vec<Name>,
    /// Select only persistence templates
    #[arg(long)]
    templates: bool,
    /// Select only connections, without persistence templates
    #[arg(long, conflicts_with = "templates")]
    no_templates: bool,
    /// Count the entries by GROUP: state, server, service, client or client/LENGTH; can be repeated, or separated by
    /// commas
    ///
    /// client/24 groups IPv4 clients by their first 24 bits, and IPv6 clients by their first 64 bits. client/24/56
    /// specifies both lengths. Several groups are combined: server,state counts each state of each server.
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    by: Vec<Part>,
    /// Print only the number of entries
    ///
    /// With --by, this option has no effect, because each group has its numbers.
    #[arg(long)]
    count: bool,
    /// Sort rows by KEY; numbers and times are sorted from the highest [default: count, with --by]
    ///
    /// Without --by, it needs --limit, because the rows to print are kept in memory.
    #[arg(long, value_name = "KEY", value_enum)]
    sort: Option<Key>,
    /// Print at most N rows; 0 means no limit; with --by, the row `others` has the sum of the rest
    #[arg(long, value_name = "N", value_parser = limit::parse)]
    limit: Option<usize>,
    /// Print a JSON object on a line for each row
    #[arg(long)]
    json_lines: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

/// The value that the rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Key {
    /// Number of entries, with --by
    Count,
    /// Address of the client
    Client,
    /// Protocol, address and port of the service
    Service,
    /// Address and port of the server
    Server,
    /// State
    State,
    /// Time until the entry expires, without --by
    Expires,
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    JsonLines,
}

impl Connections {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        self.ensure_consistent(context)?;
        let format = match (context.json, self.json_lines) {
            (true, _) => Format::Json,
            (false, true) => Format::JsonLines,
            (false, false) => Format::Text,
        };
        let filter = Filter {
            entries: self.entries(),
            servers: ServerName::read_all(&self.server)?,
            services: self.services.selectors(),
        };
        let mut director = context.open()?;
        // Fails if permission or IPVS is missing. Reading the file would report neither.
        director.info()?;
        let needs_services = !filter.services.is_empty() || self.by.contains(&Part::Service);
        let index = if needs_services { Some(reading::service_index(&mut director)?) } else { None };
        let entries = director.connections().context("cannot read the connection table")?;
        let mut reading = Reading::new(entries, &filter, index);
        let selected = if !self.by.is_empty() {
            groups::print(context, &mut reading, &self.by, self.sort, self.limit, format)?
        } else if self.count {
            print_count(context, &mut reading, format)?
        } else {
            list::print(context, &mut reading, self.sort, self.limit, format)?
        };
        reading.print_notes();
        if selected == 0 {
            filter.print_note(&mut director)?;
        }
        Ok(code::DONE)
    }

    /// Returns the selection that does not depend on the table.
    fn entries(&self) -> ipvs::ConnectionFilter {
        let mut entries = ipvs::ConnectionFilter::default();
        entries.states.clone_from(&self.state);
        entries.clients.clone_from(&self.client);
        entries.templates = match (self.templates, self.no_templates) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        };
        entries
    }

    /// Fails if options contradict each other.
    fn ensure_consistent(&self, context: &Context) -> anyhow::Result<()> {
        if context.json && self.json_lines {
            bail!("--json and --json-lines exclude each other");
        }
        group::ensure_unique(&self.by)?;
        if self.count && self.by.is_empty() && (self.sort.is_some() || self.limit.is_some()) {
            bail!("--count excludes --sort and --limit");
        }
        let Some(key) = self.sort else { return Ok(()) };
        let name = key.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        match (self.by.is_empty(), key) {
            (true, Key::Count) => bail!("--sort count needs --by"),
            (true, _) if self.limit.is_none() => {
                bail!("--sort needs --limit or --by\nThe rows to print are kept in memory, so their number is limited.")
            }
            (true, _) | (false, Key::Count) => Ok(()),
            (false, key) if self.by.iter().any(|part| part.is(key)) => Ok(()),
            (false, _) => bail!("--sort {name}: the rows of --by do not have this value"),
        }
    }
}

/// Prints the number of the selected entries, and returns it.
fn print_count(context: &Context, reading: &mut Reading<'_>, format: Format) -> anyhow::Result<u64> {
    let mut count = EntryCount::default();
    reading.each(|entry, _| count.add(entry))?;
    let object = || json!({ "schema": SCHEMA, "connections": count.connections, "templates": count.templates });
    match format {
        Format::Text => context.write(|out| writeln!(out, "{}", count.total()))?,
        Format::Json => context.write_json(&object())?,
        Format::JsonLines => context.write(|out| writeln!(out, "{}", object()))?,
    }
    Ok(count.total())
}
