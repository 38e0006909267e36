//! Tests: no line is wider than the terminal, whatever the addresses and numbers are.

use std::time::Duration;

use ipvs::rules::Numeric;
use ipvs::{State, Stats};
use unicode_width::UnicodeWidthStr;

use super::table::{Layout, Table};
use super::{Limited, Reading, table, totals};
use crate::plan::testing::state;
use crate::sight::rates::TableRates;
use crate::sight::selection::Selection;
use crate::terminal::color::Palette;

/// The longest addresses, ports and names of options.
const RULES: &str = "\
-A -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -s sh -p 2678400 -M 64 -b sh-fallback,sh-port
-a -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r [2001:db8:1111:2222:3333:4444:5555:7777]:65535 -i --tun-type gue --tun-port 65535 -w 0 -x 1000000000 -y 500000000
-a -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r [2001:db8:1111:2222:3333:4444:5555:8888]:65535 -m -w 2147483647
-A -u [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -s sh -p 2678400 -M 64 -b sh-port --pe sip -o
-a -u [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r [2001:db8:1111:2222:3333:4444:5555:7777]:65535 -m -w 0 -x 5
-a -u [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r [2001:db8:1111:2222:3333:4444:5555:8888]:65535 -m -x 5
-A -t 255.255.255.254:65535 -s mh -b mh-fallback,mh-port -p 2678400 -M 255.255.255.0
-a -t 255.255.255.254:65535 -r 255.255.255.253:65535 -m -w 0
-A -f 4294967295 -6 -s ovf -p 2678400 -M 64
-a -f 4294967295 -6 -r [2001:db8:1111:2222:3333:4444:5555:8888]:65535 -m
";

/// Returns the table with these numbers everywhere.
fn table_with(connections: u32, templates: u32, counter: u64) -> State {
    let mut state = state(RULES);
    let set = |stats: &mut Stats| {
        for number in [
            &mut stats.connections,
            &mut stats.incoming_packets,
            &mut stats.outgoing_packets,
            &mut stats.incoming_bytes,
            &mut stats.outgoing_bytes,
            &mut stats.rates.connections,
        ] {
            *number = counter;
        }
    };
    for service in &mut state.services {
        set(&mut service.stats);
        for server in &mut service.destinations {
            set(&mut server.stats);
            (server.active_connections, server.inactive_connections) = (connections, connections);
            server.persistent_connections = templates;
        }
    }
    state
}

#[test]
fn no_line_is_wider_than_80_columns() {
    let selected = Selection::default().resolve().expect("no names");
    let none = table_with(0, 0, 0);
    for (connections, templates, counter) in
        [(0, 0, 0), (0, 99_999, 7), (9999, 0, 9999), (12_345, 99_999, u64::MAX / 8), (u32::MAX, u32::MAX, u64::MAX / 8)]
    {
        let state = table_with(connections, templates, counter);
        let measured = TableRates::between(&none, &state, Duration::from_secs(2));
        for rates in [None, Some(measured)] {
            let reading = Reading { state: state.clone(), rates };
            let all = || selected.of(&reading.state.services).expect("all");
            let shown = Limited { services: all(), omitted: all() };
            for has_servers in [false, true] {
                let layout = Layout { has_servers, rates: reading.rates.as_ref() };
                let mut text = Vec::new();
                table::write_head(&mut text, &reading.state).expect("written");
                let table = Table::new(&shown.services, layout, &mut Numeric);
                table.write(&mut text, Some(80), &Palette::default()).expect("written");
                totals::write(&mut text, &shown, &reading).expect("written");
                let text = String::from_utf8(text).expect("text");
                let wide: Vec<&str> = text.lines().filter(|line| line.width() > 80).collect();
                assert!(wide.is_empty(), "{connections} {counter}: {wide:#?}\n{text}");
            }
        }
    }
}
