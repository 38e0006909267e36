//! The thread that reads the source.

use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Context as _;

use super::follower::Event;
use crate::store::{Backoff, Store};

/// Starts a thread that sends each revision. It ends with the process, or when nobody receives any more.
pub(super) fn start(mut store: Box<dyn Store>, events: Sender<Event>, host: &str) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(host);
    let read = move || {
        loop {
            let (event, pause) = match store.next() {
                Ok(None) => {
                    backoff.succeeded();
                    continue;
                }
                Ok(Some(snapshot)) => {
                    backoff.succeeded();
                    (Event::Read(snapshot), None)
                }
                Err(error) => (Event::Unreadable(format!("{error:#}")), Some(backoff.failed())),
            };
            if events.send(event).is_err() {
                return;
            }
            pause.into_iter().for_each(thread::sleep);
        }
    };
    thread::Builder::new().name("source".into()).spawn(read).map(drop).context("cannot start a thread")
}
