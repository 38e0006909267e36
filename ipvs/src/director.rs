//! The interface to a table: the kernel's, or one in memory.

use crate::change::Change;
use crate::error::Error;
use crate::state::State;

/// A table that can be read and changed: the kernel's ([`Client`](crate::Client)), or one in memory
/// ([`Model`](crate::Model)).
pub trait Director {
    /// Reads the whole table.
    ///
    /// # Errors
    ///
    /// If the director cannot be read: IPVS is not available, the caller has no permission, or a reply was lost.
    fn state(&mut self) -> Result<State, Error>;

    /// Makes changes, in order. Returns the refused ones, each with its index in `changes`. After a refusal the
    /// remaining changes are still made.
    ///
    /// # Errors
    ///
    /// If one of the changes is invalid ([`Change::validate`]): then nothing is sent. Also if IPVS is not available, or
    /// if it is unknown which changes were made ([`ErrorKind::NoAnswer`](crate::ErrorKind::NoAnswer)).
    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error>;
}

/// A borrowed director is a director, too.
impl<D: Director + ?Sized> Director for &mut D {
    fn state(&mut self) -> Result<State, Error> {
        (**self).state()
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error> {
        (**self).submit(changes)
    }
}
