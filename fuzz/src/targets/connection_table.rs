//! The connection table /proc/net/ip_vs_conn, which contains bytes chosen by clients.

use ipvs::Connections;

/// Reads a connection table.
pub fn connection_table(text: &[u8]) -> bool {
    let mut parsed = false;
    for table in [text.to_vec(), [b"Pro \n", text].concat()] {
        let Ok(connections) = Connections::new(&table[..]) else { continue };
        let mut count = 0;
        for entry in connections {
            count += 1;
            parsed |= entry.is_ok();
            match entry {
                Ok(entry) => drop((entry.is_template(), entry.fwmark(), entry.family())),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        assert!(count <= table.split(|byte| *byte == b'\n').count());
    }
    parsed
}
