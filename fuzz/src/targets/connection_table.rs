//! The connection table /proc/net/ip_vs_conn, which contains bytes chosen by clients.

use ipvs::{ConnectionCounts, Connections, ServiceIndex};

/// Reads a connection table.
pub fn connection_table(text: &[u8]) -> bool {
    let mut parsed = false;
    for table in [text.to_vec(), [b"Pro \n", text].concat()] {
        let Ok(connections) = Connections::new(&table[..]) else { continue };
        let mut count = 0;
        let mut networks = ConnectionCounts::with_limit(2);
        let services = ServiceIndex::default();
        for entry in connections {
            count += 1;
            parsed |= entry.is_ok();
            match entry {
                Ok(entry) => {
                    networks.add(entry.client_network(24, 64), &entry);
                    let _ = (entry.is_template(), entry.fwmark(), entry.family(), services.find(&entry).one());
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        assert!(networks.total().total() <= count as u64);
        assert!(count <= table.split(|byte| *byte == b'\n').count());
    }
    parsed
}
