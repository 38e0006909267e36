//! The commands of ipvsadm, one function each.

use std::io::{IsTerminal, Write};

use ipvs::rules::{Listing, Namer, Numeric, Subject};
use ipvs::{Change, Client, Counters};

use crate::classic::history::History;
use crate::classic::list;
use crate::classic::messages;
use crate::resolver::{Restorable, System};
use crate::terminal::exit::{Failure, print_error};
use crate::terminal::stdout;

/// Opens a client in the namespace of this process.
pub(crate) fn open() -> Result<Client, Failure> {
    Client::open().map_err(|error| messages::read_error(&error))
}

pub(crate) fn write_out(write: impl FnOnce(&mut dyn Write) -> Result<(), std::io::Error>) -> Result<(), Failure> {
    let mut out = stdout::classic();
    write(&mut out)?;
    Ok(out.flush()?)
}

pub(crate) fn change(director: &mut Client, change: &Change) -> Result<(), Failure> {
    warn_of_direct_routing(director, change);
    director.change(*change).map_err(|error| messages::refused(change, &error))
}

/// Deletes all services, and records them in the history.
pub(crate) fn flush(director: &mut Client) -> Result<(), Failure> {
    let history = History::begin("ipvsadm -C", director, &[Change::Flush]);
    change(director, &Change::Flush)?;
    if let Some(history) = history {
        history.end(&[Change::Flush]);
    }
    Ok(())
}

/// Prints a note if `-e` without a forwarding method changes a masquerading server to direct routing. This is how
/// ipvsadm 1.31 behaves, and scripts may rely on it. The note is therefore printed only to a terminal.
fn warn_of_direct_routing(director: &mut Client, change: &Change) {
    use ipvs::Forwarding::{DirectRoute, Masquerade};
    let Change::EditDestination(key, new) = change else { return };
    if new.forwarding != DirectRoute || !std::io::stderr().is_terminal() {
        return;
    }
    let old = director.destinations_with(key, Counters::Skip).unwrap_or_default();
    let old = old.iter().find(|state| state.destination.key == new.key);
    if old.is_some_and(|state| state.destination.forwarding == Masquerade) {
        print_error(&format!(
            "note: {} changed from masquerading (-m) to direct routing (-g): -e resets options that are not specified",
            new.key
        ));
    }
}

pub(crate) fn list(director: &mut Client, listing: &Listing) -> Result<(), Failure> {
    let mut names: Box<dyn Namer> = if listing.numeric { Box::new(Numeric) } else { Box::new(System::default()) };
    let mut out = stdout::classic();
    match listing.subject {
        Subject::Table => list::table(&mut out, director, listing, &mut *names)?,
        Subject::Service(key) => list::service(&mut out, director, &key, listing, &mut *names)?,
        Subject::Connections => list::connections(&mut out, director, listing, &mut *names)?,
        Subject::Timeouts => list::timeouts(&mut out, director)?,
        Subject::Daemons => list::daemons(&mut out, director)?,
    }
    Ok(out.flush()?)
}

pub(crate) fn save(director: &mut Client, numeric: bool) -> Result<(), Failure> {
    let mut names: Box<dyn Namer> = if numeric { Box::new(Numeric) } else { Box::new(Restorable(System::default())) };
    let mut out = stdout::classic();
    list::rules(&mut out, director, &mut *names)?;
    Ok(out.flush()?)
}
