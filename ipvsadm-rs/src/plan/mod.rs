//! Parts that several verbs share: reports, the way back, waiting for connections, ramps.

pub(crate) mod clients;
pub(crate) mod desired;
pub(crate) mod drain;
pub(crate) mod entries;
pub(crate) mod impact;
pub(crate) mod min_up;
pub(crate) mod other_writers;
pub(crate) mod progress;
pub(crate) mod ramp;
pub(crate) mod recorded;
pub(crate) mod report;
pub(crate) mod reversal;
pub(crate) mod saved;
pub(crate) mod signals;
mod summary;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod transaction;
pub(crate) mod unconfirmed;
pub(crate) mod waiting;
pub(crate) mod weights;
