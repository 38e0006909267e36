//! `virtual_server_group`: addresses, ranges and firewall marks.

use super::address::{Range, port};
use super::table::{Entry, Group, Table};
use super::tree::Statement;
use super::values::{ensure_end, number};
use crate::convert::Report;
use crate::family::Family;

pub(super) fn read(block: &Statement, table: &mut Table, report: &mut Report) {
    let Some(name) = block.word(1) else {
        return report.error(block.position(), "`virtual_server_group' needs a name");
    };
    if let Some(word) = block.word(2) {
        report.error(block.at(2), format_args!("`{word}' is not used by `virtual_server_group'"));
    }
    let Some(statements) = &block.block else {
        return report.error(block.position(), "`virtual_server_group' needs a block");
    };
    let errors = report.errors.len();
    let entries: Vec<Entry> = statements.iter().filter_map(|statement| entry(statement, report)).collect();
    if entries.is_empty() && report.errors.len() == errors {
        report.error(block.position(), format_args!("the group {name} is empty"));
    }
    if let Some(other) = table.groups.get(name) {
        report.error(block.at(1), format_args!("the group {name} is already defined at {}", other.position));
        return;
    }
    let is_complete = report.errors.len() == errors;
    table.groups.insert(name.to_owned(), Group { position: block.position(), entries, is_complete });
}

fn entry(statement: &Statement, report: &mut Report) -> Option<Entry> {
    if statement.keyword() == "fwmark" {
        let mark = number(statement, 1, 1..=u32::MAX, report)?;
        let family = match statement.word(2) {
            None => None,
            Some("inet") => Some(Family::V4),
            Some("inet6") => Some(Family::V6),
            Some(word) => {
                report.error(statement.at(2), format_args!("`{word}' is not one of inet, inet6"));
                return None;
            }
        };
        ensure_end(statement, 3, report);
        return Some(Entry::Mark { mark, family });
    }
    ensure_end(statement, 2, report);
    match Range::parse(statement.keyword()) {
        Ok(range) => Some(Entry::Addresses { range, port: port(statement, 1, report)? }),
        Err(message) => {
            report.error(statement.position(), message);
            None
        }
    }
}
