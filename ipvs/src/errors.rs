//! All errors of a text.

use std::error::Error;
use std::fmt;
use std::ops::Deref;

/// All errors of a rules file or a document, in the order of the text. There is at least one. It dereferences to a
/// slice, and prints one line for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors<E>(Vec<E>);

impl<E> Errors<E> {
    /// Returns `value` if there are no errors.
    pub(crate) fn none_or<T>(errors: Vec<E>, value: impl FnOnce() -> T) -> Result<T, Self> {
        if errors.is_empty() { Ok(value()) } else { Err(Self(errors)) }
    }
}

impl<E: fmt::Display> fmt::Display for Errors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> Error for Errors<E> {}

impl<E> Deref for Errors<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.0
    }
}

impl<E> IntoIterator for Errors<E> {
    type Item = E;
    type IntoIter = std::vec::IntoIter<E>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Errors<E> {
    type Item = &'a E;
    type IntoIter = std::slice::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Numeric, read_config};

    #[test]
    fn errors_have_a_line_each() {
        let read =
            |text: &str| -> Result<usize, Box<dyn Error>> { Ok(read_config(text.as_bytes(), &mut Numeric)?.lines) };
        assert_eq!(read("-A -f 1 -s rr\n").expect("reads"), 1);
        let error = read("-A\n-A -f 1 -s rr\n-X\n").expect_err("two lines").to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with("line 1") && error.contains("\nline 3"), "{error}");
    }
}
