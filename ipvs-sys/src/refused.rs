//! The requests that the kernel refused.

use std::ops::Deref;

use crate::error::Error;

/// The refused requests of a batch: the index and the error of each, in order. It dereferences to a slice.
///
/// All other requests of the batch were carried out. A program that drops this value does not notice that a write was
/// refused, so the compiler warns about it. [`into_result`](Self::into_result) makes the first refusal an `Err`:
///
/// ```no_run
/// # use ipvs_sys::{Request, Socket, uapi::Command};
/// # fn main() -> Result<(), ipvs_sys::Error> {
/// Socket::open()?.submit([Request::new(Command::Flush)])?.into_result()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a refused write has no effect: read the refusals, or call `into_result`"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<E = Error>(Vec<(usize, E)>);

impl<E> Refused<E> {
    /// Returns the first refusal as an error, and `Ok` if there is none.
    ///
    /// # Errors
    ///
    /// Fails if the list is not empty.
    pub fn into_result(self) -> Result<(), E> {
        self.0.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Returns the refusals for which `is_expected` returns false, such as those other than "already exists".
    pub fn except(mut self, mut is_expected: impl FnMut(&E) -> bool) -> Self {
        self.0.retain(|(_, error)| !is_expected(error));
        self
    }

    /// Appends the refusals of the next batch. `offset` is added to their indices.
    pub fn append(&mut self, offset: usize, next: Self) {
        self.0.extend(next.0.into_iter().map(|(index, error)| (offset + index, error)));
    }
}

impl<E> Default for Refused<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Deref for Refused<E> {
    type Target = [(usize, E)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<E> From<Vec<(usize, E)>> for Refused<E> {
    fn from(refused: Vec<(usize, E)>) -> Self {
        Self(refused)
    }
}

impl<E> FromIterator<(usize, E)> for Refused<E> {
    fn from_iter<I: IntoIterator<Item = (usize, E)>>(refused: I) -> Self {
        Self(refused.into_iter().collect())
    }
}

impl<E> Extend<(usize, E)> for Refused<E> {
    fn extend<I: IntoIterator<Item = (usize, E)>>(&mut self, refused: I) {
        self.0.extend(refused);
    }
}

impl<E> IntoIterator for Refused<E> {
    type Item = (usize, E);
    type IntoIter = std::vec::IntoIter<(usize, E)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Refused<E> {
    type Item = &'a (usize, E);
    type IntoIter = std::slice::Iter<'a, (usize, E)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_refusal_is_the_error() {
        assert_eq!(Refused::<&str>::default().into_result(), Ok(()));
        let refused = Refused::from(vec![(1, "one"), (4, "four")]);
        assert_eq!((refused.len(), refused[1].0), (2, 4));
        assert_eq!(refused.clone().into_result(), Err("one"));
        let rest = refused.clone().except(|error| *error == "one");
        assert_eq!(rest.clone().into_result(), Err("four"));
        let mut both = refused;
        both.append(10, rest);
        assert_eq!(both.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 4, 14]);
        assert_eq!(both.except(|_| true), Refused::default());
    }
}
