//! Manual pages and shell completions, made from the tables and texts of the program.

pub(crate) mod commands;
pub(crate) mod man;
