//! The IPVS table of a network namespace as text: every attribute the kernel lists, and /proc/net/ip_vs.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use ipvs_sys::uapi::{Command, CommandAttrs, ServiceAttrs};
use ipvs_sys::{Request, Socket};

use super::mask::Mask;

/// Returns the table. Services are sorted, since their order is random. Counters are omitted, since they change.
pub fn table(socket: &mut Socket) -> Result<String> {
    let mut services = Vec::new();
    for service in dump(socket, Command::GetService, None)? {
        let mut service = service.service.context("a service without attributes")?;
        (service.stats, service.stats64) = (None, None);
        let mut text = format!("{service:?}\n");
        for server in dump(socket, Command::GetDest, Some(service))? {
            let mut server = server.dest.context("a server without attributes")?;
            (server.stats, server.stats64) = (None, None);
            writeln!(text, "  {server:?}")?;
        }
        services.push(text);
    }
    services.sort_unstable();
    let mut text = services.concat();
    for daemon in dump(socket, Command::GetDaemon, None)? {
        writeln!(text, "{:?}", daemon.daemon)?;
    }
    let timeouts: CommandAttrs = socket.get(&Request::new(Command::GetConfig))?;
    writeln!(text, "{timeouts:?}")?;
    Ok(text + &proc_table().context("/proc/net/ip_vs")?)
}

/// Returns /proc/net/ip_vs, or a fixed text if it is longer than a page.
///
/// The kernel returns a longer one in pieces. Up to Linux 7.0 a piece starts too late if other namespaces have
/// services: `ip_vs_info_seq_next` counts theirs, `ip_vs_info_array` does not.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>
fn proc_table() -> std::io::Result<String> {
    let mut file = File::open("/proc/thread-self/net/ip_vs")?;
    let mut page = vec![0; 64 << 10];
    let length = file.read(&mut page)?;
    let rest = file.read(&mut [0; 64])?;
    let text = String::from_utf8_lossy(&page[..length]);
    Ok(if rest == 0 { Mask::SortServices.apply(&text) } else { "more than a page\n".to_owned() })
}

pub(super) fn dump(socket: &mut Socket, what: Command, of: Option<ServiceAttrs>) -> Result<Vec<CommandAttrs>> {
    let request = Request { command: what, attributes: CommandAttrs { service: of, ..CommandAttrs::default() } };
    Ok(socket.dump(&request)?.collect::<Result<_, _>>()?)
}
