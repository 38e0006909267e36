//! The connection table /proc/net/ip_vs_conn, which contains bytes chosen by clients.

#![no_main]

use ipvs::Connections;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for table in [text.to_vec(), [b"Pro \n", text].concat()] {
        let Ok(connections) = Connections::new(&table[..]) else { continue };
        let mut count = 0;
        for entry in connections {
            count += 1;
            match entry {
                Ok(entry) => drop((entry.is_template(), entry.fwmark(), entry.family())),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
        assert!(count <= table.split(|byte| *byte == b'\n').count());
    }
});
