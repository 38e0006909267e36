//! `--listen`: an HTTP server for Prometheus.
//!
//! The HTTP library is hyper, because it limits the time and the size of a request's head, which tiny_http does not. It
//! runs on one thread. The kernel is read on a second one, so that time limits hold meanwhile.

mod address;
mod connections;
mod privileges;
mod reader;
mod server;

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(super) use address::Address;

use super::scrape::Options;
use crate::context::Context;
use crate::terminal::exit::print_error;
use reader::Reader;

/// Serves the metrics until a signal ends the process. Returns only if this fails.
pub(super) fn serve(address: &Address, options: Options, context: &Context) -> anyhow::Result<()> {
    let listeners = address.open()?;
    enter_namespace(context)?;
    let (mut table, of_reader) = (None, options.clone());
    let mut reader = Reader::new(options, move || of_reader.read(&mut table));
    // This also opens files that only root can open.
    if let Some(error) = reader.read() {
        print_error(&format!("warning: {error}"));
    }
    privileges::drop_all_but_net_admin()?;
    for listener in &listeners {
        print_error(&format!("listening on {}", listener.name()));
    }
    server::run(listeners, reader, server::Limits::default())
}

/// Moves this thread, which is the only one, into the namespace of `--netns`. The sockets of the server are those of the
/// namespace from before.
fn enter_namespace(context: &Context) -> anyhow::Result<()> {
    let Some(namespace) = &context.netns else { return Ok(()) };
    let file = namespace.within(|| File::open("/proc/thread-self/ns/net"))?;
    let enter = |file: File| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?);
    file.and_then(enter).with_context(|| format!("cannot enter the network namespace {namespace}"))
}
