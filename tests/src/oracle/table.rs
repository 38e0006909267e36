//! What a network namespace's IPVS holds, as text: every attribute that the kernel tells, and its own table in /proc.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use ipvs_sys::uapi::{Command, CommandAttrs, ServiceAttrs};
use ipvs_sys::{Request, Socket};

use super::mask::Mask;

/// The whole of it; services, whose order is random, sorted. Counters change by themselves, and are left out.
pub fn table(connection: &mut Socket) -> Result<String> {
    let mut services = Vec::new();
    for service in dump(connection, Command::GetService, None)? {
        let mut service = service.service.context("a service without attributes")?;
        (service.stats, service.stats64) = (None, None);
        let mut text = format!("{service:?}\n");
        for server in dump(connection, Command::GetDest, Some(service))? {
            let mut server = server.dest.context("a server without attributes")?;
            (server.stats, server.stats64) = (None, None);
            writeln!(text, "  {server:?}")?;
        }
        services.push(text);
    }
    services.sort_unstable();
    let mut text = services.concat();
    for daemon in dump(connection, Command::GetDaemon, None)? {
        writeln!(text, "{:?}", daemon.daemon)?;
    }
    let timeouts: CommandAttrs = connection.get(&Request::new(Command::GetConfig))?;
    writeln!(text, "{timeouts:?}")?;
    Ok(text + &own_table().context("/proc/net/ip_vs")?)
}

/// The kernel's own table. What is longer than a page comes in pieces, and up to 7.0 a piece begins too late when other
/// namespaces have services (`ip_vs_info_seq_next` counts theirs, `ip_vs_info_array` does not): that is left out.
fn own_table() -> std::io::Result<String> {
    let mut file = File::open("/proc/thread-self/net/ip_vs")?;
    let mut page = vec![0; 64 << 10];
    let length = file.read(&mut page)?;
    let rest = file.read(&mut [0; 64])?;
    let text = String::from_utf8_lossy(&page[..length]);
    Ok(if rest == 0 { Mask::SortServices.apply(&text) } else { "more than a page\n".to_owned() })
}

pub(super) fn dump(connection: &mut Socket, what: Command, of: Option<ServiceAttrs>) -> Result<Vec<CommandAttrs>> {
    let request = Request { command: what, attributes: CommandAttrs { service: of, ..CommandAttrs::default() } };
    Ok(connection.dump(&request)?.collect::<Result<_, _>>()?)
}
