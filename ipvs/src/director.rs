//! The interface to a table: the kernel's table, or one in memory.

use crate::change::Change;
use crate::error::Error;
use crate::state::State;

/// A table that can be read and changed: the kernel's table ([`Client`](crate::Client)), or one in memory
/// ([`Model`](crate::Model)).
pub trait Director {
    /// Reads the whole table.
    ///
    /// # Errors
    ///
    /// Fails if IPVS is not available, if the caller has no permission, or if a reply was lost.
    fn state(&mut self) -> Result<State, Error>;

    /// Makes changes, in order. Returns the index and the error of each refused change. After a refusal, the remaining
    /// changes are still made.
    ///
    /// # Errors
    ///
    /// Fails if one of the changes is invalid ([`Change::validate`]); then nothing is sent. Also fails if IPVS is not
    /// available, or if it is unknown which changes were made ([`ErrorKind::NoReply`](crate::ErrorKind::NoReply)).
    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error>;
}

/// Forwards every call to the borrowed value.
impl<D: Director + ?Sized> Director for &mut D {
    fn state(&mut self) -> Result<State, Error> {
        (**self).state()
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error> {
        (**self).submit(changes)
    }
}
