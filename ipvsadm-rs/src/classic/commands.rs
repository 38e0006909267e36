//! The commands of ipvsadm, one function each.

use std::io::Write;

use ipvs::rules::{Listing, Namer, Numeric, Subject};
use ipvs::{Change, Client};

use crate::classic::history::History;
use crate::classic::list;
use crate::classic::messages;
use crate::classic::warnings;
use crate::resolver::{Restorable, System};
use crate::terminal::exit::Failure;
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
    warnings::print(director, change);
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
