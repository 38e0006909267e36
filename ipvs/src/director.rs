//! The seam between what is wanted and who holds it.

use crate::change::Change;
use crate::error::Error;
use crate::state::State;

/// Something that holds services: the kernel ([`Client`](crate::Client)) or memory ([`Model`](crate::Model)).
pub trait Director {
    /// Everything it holds.
    fn state(&mut self) -> Result<State, Error>;

    /// Carry out changes in order. Answers those that were refused, by index; a refusal does not keep the others from
    /// being carried out.
    ///
    /// Nothing is carried out if one of them can be told to be invalid beforehand: that is an `Err`, as is everything
    /// after which it is not known how far the work has come.
    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error>;
}

/// Whoever takes a director takes a borrowed one.
impl<D: Director + ?Sized> Director for &mut D {
    fn state(&mut self) -> Result<State, Error> {
        (**self).state()
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error> {
        (**self).submit(changes)
    }
}
