//! Readings of a running director: the condition of services and servers, rates, and their texts.
//!
//! The verbs that show a director share these parts: show, connections, top, monitor, metrics, and `check --live`.

pub(crate) mod condition;
pub(crate) mod grid;
pub(crate) mod interval;
pub(crate) mod limit;
pub(crate) mod number;
pub(crate) mod rates;
pub(crate) mod reading;
pub(crate) mod selection;
pub(crate) mod server_name;
pub(crate) mod service_options;
