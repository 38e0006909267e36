//! The targets. Each takes any bytes, panics if a property is violated, and returns whether the bytes got past parsing.

mod command_line;
mod connection_table;
mod documents;
mod keepalived;
mod ldirectord;
mod netlink_replies;
mod plans;
mod restore_lines;
mod saved_tables;

use proptest::test_runner::TestCaseError;

pub use command_line::command_line;
pub use connection_table::connection_table;
pub use documents::documents;
pub use keepalived::keepalived;
pub use ldirectord::ldirectord;
pub use netlink_replies::netlink_replies;
pub(crate) use plans::DESIRED;
pub use plans::plans;
pub use restore_lines::restore_lines;
pub use saved_tables::saved_tables;

/// A target.
pub type Target = fn(&[u8]) -> bool;

/// All targets with their names.
pub const ALL: [(&str, Target); 9] = [
    ("command_line", command_line),
    ("restore_lines", restore_lines),
    ("netlink_replies", netlink_replies),
    ("connection_table", connection_table),
    ("documents", documents),
    ("plans", plans),
    ("saved_tables", saved_tables),
    ("keepalived", keepalived),
    ("ldirectord", ldirectord),
];

/// Returns whether the property applies to the input. Panics if it is violated.
fn holds(result: Result<(), TestCaseError>) -> bool {
    match result {
        Ok(()) => true,
        Err(TestCaseError::Reject(_)) => false,
        Err(TestCaseError::Fail(reason)) => panic!("{reason}"),
    }
}
