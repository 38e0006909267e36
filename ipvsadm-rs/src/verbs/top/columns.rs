//! The columns of the tables, and their cells.
//!
//! On the screen, the widths do not depend on the rows, as those of [`Grid`](crate::sight::grid::Grid) do. So no column
//! moves when a number changes or the screen is scrolled.

use crate::sight::number::{rate, short};
use crate::sight::rates::Rates;

use super::rows::{Item, Key, Row, View, bits, packets};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    /// The service of a server.
    Service,
    Up,
    State,
    Weight,
    Connections,
    Packets,
    PacketsIn,
    PacketsOut,
    Bits,
    BitsIn,
    BitsOut,
    Active,
    Inactive,
    SynRecv,
    Problem,
}

use Column::{
    Active, Bits, BitsIn, BitsOut, Connections, Inactive, Name, Packets, PacketsIn, PacketsOut, Problem, Service,
    State, SynRecv, Up, Weight,
};

/// The columns of services, the widest table first.
const SERVICES: [&[Column]; 5] = [
    &[Name, Up, Connections, PacketsIn, PacketsOut, BitsIn, BitsOut, Active, Inactive, SynRecv, Problem],
    &[Name, Up, Connections, PacketsIn, PacketsOut, BitsIn, BitsOut, Active, Inactive, SynRecv],
    &[Name, Up, Connections, Packets, Bits, Active, Inactive, SynRecv],
    &[Name, Connections, Packets, Bits, Active, SynRecv],
    &[Name, Connections],
];
/// The columns of the servers of a service.
const SERVICE: [&[Column]; 4] = [
    &[Name, State, Weight, Connections, PacketsIn, PacketsOut, BitsIn, BitsOut, Active, Inactive, SynRecv],
    &[Name, State, Weight, Connections, Packets, Bits, Active, SynRecv],
    &[Name, Connections, Packets, Bits, Active, SynRecv],
    &[Name, Connections],
];
/// The columns of the servers of all services.
const SERVERS: [&[Column]; 5] = [
    &[Name, Service, State, Weight, Connections, PacketsIn, PacketsOut, BitsIn, BitsOut, Active, Inactive, SynRecv],
    &[Name, Service, State, Weight, Connections, Packets, Bits, Active, Inactive, SynRecv],
    &[Name, Service, Connections, Packets, Bits, Active, SynRecv],
    &[Name, Connections, Packets, Bits, Active, SynRecv],
    &[Name, Connections],
];

/// The blanks between two columns.
pub(super) const GAP: usize = 2;

/// The minimum width of a name, with the mark of a service.
const NAME: usize = 21;

/// The minimum width of a name if the table also has the service of each server.
pub(super) const SHORT_NAME: usize = 18;

impl Column {
    pub(super) fn title(self, view: View) -> &'static str {
        match self {
            Name if view == View::Services => "SERVICE",
            Name => "SERVER",
            Service => "SERVICE",
            Up => "UP",
            State => "STATE",
            Weight => "WEIGHT",
            Connections => "CONN/S",
            Packets => "PKT/S",
            PacketsIn => "PKT/S IN",
            PacketsOut => "PKT/S OUT",
            Bits => "BIT/S",
            BitsIn => "BIT/S IN",
            BitsOut => "BIT/S OUT",
            Active => "ACTIVE",
            Inactive => "INACTIVE",
            SynRecv => "SYN_RECV",
            Problem => "PROBLEM",
        }
    }

    /// Returns whether cells are aligned on the left.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Name | Service | State | Problem)
    }

    /// Returns the width of the column on a screen. `None` for columns that share the remaining width.
    fn width(self) -> Option<usize> {
        match self {
            Name | Service => None,
            Up => Some(7),
            State => Some(8),
            Problem => Some(12),
            // Numbers have at most five characters, except weights.
            _ => Some(self.title(View::Services).len()),
        }
    }

    /// Returns the sort key of the column.
    pub(super) fn key(self) -> Option<Key> {
        match self {
            Name => Some(Key::Name),
            Connections => Some(Key::Rate),
            Packets | PacketsIn | PacketsOut => Some(Key::Packets),
            Bits | BitsIn | BitsOut => Some(Key::Bits),
            Active => Some(Key::Active),
            Inactive => Some(Key::Inactive),
            SynRecv => Some(Key::SynRecv),
            Service | Up | State | Weight | Problem => None,
        }
    }

    /// Returns the text of a cell. Unknown values are `-`.
    pub(super) fn cell(self, row: &Row) -> String {
        let of_rates = |value: fn(&Rates) -> f64| row.rates.as_ref().map(|rates| rate(value(rates)));
        let known = match self {
            Name => Some(row.item.name()),
            Service => Some(Item::Service(row.item.service()).name()),
            Up => Some(format!("{}/{}", row.up.0, row.up.1)),
            State => row.condition.map(|condition| condition.name().to_owned()),
            Weight => {
                row.weight.map(|weight| if weight < 1_000_000 { weight.to_string() } else { short(weight.into()) })
            }
            Connections => of_rates(|rates| rates.connections),
            Packets => of_rates(packets),
            PacketsIn => of_rates(|rates| rates.incoming_packets),
            PacketsOut => of_rates(|rates| rates.outgoing_packets),
            Bits => of_rates(bits),
            BitsIn => of_rates(|rates| 8.0 * rates.incoming_bytes),
            BitsOut => of_rates(|rates| 8.0 * rates.outgoing_bytes),
            Active => Some(short(row.active)),
            Inactive => Some(short(row.inactive)),
            SynRecv => row.syn_recv.map(short),
            Problem => return row.problem().map(|problem| problem.name().replace('_', " ")).unwrap_or_default(),
        };
        known.unwrap_or_else(|| "-".into())
    }
}

/// Returns the columns of a printed table. `width` is that of a terminal.
pub(super) fn printed(view: View, width: Option<usize>) -> &'static [Column] {
    const SERVICES: &[Column] = &[Name, Connections, Packets, Bits, Active, SynRecv, Problem];
    const SERVERS: &[Column] = &[Name, Service, Connections, Packets, Bits, Active, SynRecv];
    /// The width of a terminal for all columns, with short names.
    const WIDE: usize = 140;
    match view {
        _ if width.is_none_or(|width| width >= WIDE) => layouts(view)[0],
        View::Services => SERVICES,
        View::Servers | View::Service(_) => SERVERS,
    }
}

fn layouts(view: View) -> &'static [&'static [Column]] {
    match view {
        View::Services => &SERVICES,
        View::Servers => &SERVERS,
        View::Service(_) => &SERVICE,
    }
}

/// Returns the columns that fit a screen, with their widths.
pub(super) fn fitting(view: View, width: usize) -> Vec<(Column, usize)> {
    let layouts = layouts(view);
    let fits = |columns: &&&[Column]| {
        let names = columns.iter().filter(|column| column.width().is_none()).count();
        room(columns, width) >= if names > 1 { names * SHORT_NAME } else { NAME }
    };
    let columns: &[Column] = layouts.iter().find(fits).or(layouts.last()).copied().unwrap_or_default();
    let names = columns.iter().filter(|column| column.width().is_none()).count().max(1);
    let of_name = room(columns, width) / names;
    columns.iter().map(|column| (*column, column.width().unwrap_or(of_name))).collect()
}

/// Returns the width that is left for names.
fn room(columns: &[Column], width: usize) -> usize {
    let fixed: usize = columns.iter().filter_map(|column| column.width()).sum();
    width.saturating_sub(fixed + GAP * columns.len().saturating_sub(1))
}

/// Cuts a text that is wider than a column. The middle is omitted, because addresses and ports differ at their ends.
pub(super) fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else { return String::new() };
    let end = kept / 2;
    let start: String = text.chars().take(kept - end).collect();
    let rest: String = text.chars().skip(length - end).collect();
    format!("{start}…{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_every_width() {
        let service = View::Service("tcp:192.0.2.1:80".parse().expect("a key"));
        for view in [View::Services, View::Servers, service] {
            for width in 0..300 {
                let columns = fitting(view, width);
                let total: usize = columns.iter().map(|(_, width)| width).sum::<usize>() + GAP * (columns.len() - 1);
                assert!(total <= width.max(8), "{view:?} {width}: {columns:?}");
                assert!(width < 29 || columns[0].1 >= SHORT_NAME, "{view:?} {width}: {columns:?}");
            }
            let has_syn_recv = fitting(view, 80).iter().any(|(column, _)| *column == SynRecv);
            assert!(has_syn_recv, "{view:?}");
            assert!(fitting(view, 200).len() == printed(view, None).len());
        }
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(cut("TCP 192.0.2.1:80", 16), "TCP 192.0.2.1:80");
        assert_eq!(cut("TCP [2001:db8:1111::6666]:53", 21), "TCP [2001:…1::6666]:53".replace("1::", "::"));
        assert_eq!((cut("abc", 2), cut("abc", 1), cut("abc", 0)), ("a…".into(), "…".into(), String::new()));
    }
}
