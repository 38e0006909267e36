//! The listings of ipvsadm.

mod columns;
mod connections;
mod number;
mod service;

use std::io::Write;

use ipvs::rules::{self, Listing, Namer};
use ipvs::{Client, Counters, DestinationState, ServiceKey, ServiceState};

use crate::classic::messages;
use crate::terminal::exit::Failure;
use columns::{Column, Layout};
pub(crate) use connections::connections;

/// Prints all services.
pub(crate) fn table(
    out: &mut impl Write,
    director: &mut Client,
    listing: &Listing,
    names: &mut dyn Namer,
) -> Result<(), Failure> {
    let info = director.info().map_err(|error| messages::read_error(&error))?;
    writeln!(out, "IP Virtual Server version {} (size={})", info.version, info.connection_table_size)?;
    let mut view = View::new(listing, names);
    view.write_titles(out)?;
    let mut services = director.services_with(view.counters).map_err(|error| messages::read_error(&error))?;
    if listing.sorted {
        services.sort_unstable_by_key(|state| state.service.key);
    }
    for state in &services {
        view.write_block(out, director, state)?;
    }
    Ok(())
}

/// Prints one service.
pub(crate) fn service(
    out: &mut impl Write,
    director: &mut Client,
    key: &ServiceKey,
    listing: &Listing,
    names: &mut dyn Namer,
) -> Result<(), Failure> {
    let state = director.service(key).map_err(|error| messages::read_error(&error))?;
    let mut view = View::new(listing, names);
    view.write_titles(out)?;
    view.write_block(out, director, &state)
}

/// Prints the timeouts.
pub(crate) fn timeouts(out: &mut impl Write, director: &mut Client) -> Result<(), Failure> {
    let timeouts = director.timeouts().map_err(|error| messages::read_error(&error))?;
    Ok(writeln!(out, "Timeout (tcp tcpfin udp): {} {} {}", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)?)
}

/// Prints the running sync daemons.
pub(crate) fn daemons(out: &mut impl Write, director: &mut Client) -> Result<(), Failure> {
    for daemon in director.daemons().map_err(|error| messages::read_error(&error))? {
        write!(out, "{} sync daemon (mcast=", daemon.role)?;
        out.write_all(daemon.interface.as_bytes())?;
        write!(out, ", syncid={}", daemon.sync_id)?;
        if let Some(bytes) = daemon.max_length.filter(|bytes| *bytes != 0) {
            write!(out, ", maxlen={bytes}")?;
        }
        if let Some(group) = daemon.group {
            write!(out, ", group={group}")?;
        }
        if let Some(port) = daemon.port.filter(|port| *port != 0) {
            write!(out, ", port={port}")?;
        }
        if let Some(ttl) = daemon.ttl.filter(|ttl| *ttl != 0) {
            write!(out, ", ttl={ttl}")?;
        }
        writeln!(out, ")")?;
    }
    Ok(())
}

/// Prints the table as lines for `--restore`.
pub(crate) fn rules(out: &mut impl Write, director: &mut Client, names: &mut dyn Namer) -> Result<(), Failure> {
    let mut services = director.services_with(Counters::Skip).map_err(|error| messages::read_error(&error))?;
    services.sort_unstable_by_key(|state| state.service.key);
    let (mut text, mut servers) = (Vec::new(), Vec::new());
    for state in &services {
        text.clear();
        rules::write_service(&mut text, &state.service, names);
        text.push(b'\n');
        read_servers(director, &state.service.key, Counters::Skip, true, &mut servers)?;
        for server in &servers {
            rules::write_destination(&mut text, &state.service.key, &server.destination, names);
            text.push(b'\n');
        }
        out.write_all(&text)?;
    }
    Ok(())
}

/// Reads the servers of a service into a list that all services share. A new list for each service would cost two
/// system calls, because musl's allocator gets it from the kernel and returns it.
fn read_servers(
    director: &mut Client,
    key: &ServiceKey,
    counters: Counters,
    sorted: bool,
    servers: &mut Vec<DestinationState>,
) -> Result<(), Failure> {
    director.destinations_into(key, counters, servers).map_err(|error| messages::read_error(&error))?;
    if sorted {
        // The kernel returns the newest server first. Servers are often added in ascending order. The reversed list is
        // then already sorted, which makes sorting cheap.
        servers.reverse();
        servers.sort_unstable_by_key(|state| state.destination.key);
    }
    Ok(())
}

/// The options of a listing, with buffers that all its services share.
struct View<'a> {
    columns: &'static [Column],
    layout: Layout,
    counters: Counters,
    exact: bool,
    sorted: bool,
    names: &'a mut dyn Namer,
    text: Vec<u8>,
    servers: Vec<DestinationState>,
}

impl<'a> View<'a> {
    fn new(listing: &Listing, names: &'a mut dyn Namer) -> Self {
        let (columns, layout) = columns::of(listing.columns);
        Self {
            columns,
            layout,
            counters: if layout == Layout::Counters { Counters::Read } else { Counters::Skip },
            exact: listing.exact,
            sorted: listing.sorted,
            names,
            text: Vec::new(),
            servers: Vec::new(),
        }
    }

    fn write_titles(&mut self, out: &mut impl Write) -> Result<(), Failure> {
        let mut titles = String::new();
        let columns = self.columns.iter();
        match self.layout {
            Layout::Servers => {
                titles += "Prot LocalAddress:Port Scheduler Flags\n";
                titles += &format!("  -> {:<28}", "RemoteAddress:Port");
                columns.for_each(|column| titles += &format!(" {:<width$}", column.title, width = column.width));
                // As in 1.31, the last title is not padded.
                titles.truncate(titles.trim_end().len());
            }
            Layout::Titled => {
                titles += &format!("{:<33}", "Prot LocalAddress:Port");
                columns.for_each(|column| titles += &format!(" {:<width$}", column.title, width = column.width));
                titles += "\n  -> RemoteAddress:Port";
            }
            Layout::Counters => {
                titles += &format!("{:<33}", "Prot LocalAddress:Port");
                columns.for_each(|column| titles += &format!(" {:>width$}", column.title, width = column.width));
                titles += "\n  -> RemoteAddress:Port";
            }
        }
        Ok(writeln!(out, "{titles}")?)
    }

    /// Prints a service and its servers.
    fn write_block(
        &mut self,
        out: &mut impl Write,
        director: &mut Client,
        state: &ServiceState,
    ) -> Result<(), Failure> {
        self.text.clear();
        self.service(state);
        let mut servers = std::mem::take(&mut self.servers);
        read_servers(director, &state.service.key, self.counters, self.sorted, &mut servers)?;
        for server in &servers {
            self.server(&state.service.key, server);
        }
        self.servers = servers;
        Ok(out.write_all(&self.text)?)
    }
}
