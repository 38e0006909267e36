//! The connection table. Clients choose some of its bytes (the data of a persistence engine).

use ipvs::Connections;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Words of a line, and words that are similar to one.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let known =
        ["TCP", "UDP", "IP", "0A090001", "9C41", "0000", "2001:0db8:0000:0000:0000:0000:0000:0009", "ESTABLISHED"];
    let others = ["NONE", "899", "4294967296", "sip", "[::1]", "FFFFFFFFF", "", "\n"];
    prop_oneof![
        8 => select([known, others].concat()).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #[test]
    fn any_lines_are_read_or_explained(title in any::<bool>(), words in vec(word(), 0..40), cut in any::<Index>()) {
        let mut text = if title { b"Pro \n".to_vec() } else { Vec::new() };
        text.extend(words.join(&b' '));
        text.truncate(cut.index(text.len() + 1));
        let lines = text.split(|byte| *byte == b'\n').count();
        let Ok(connections) = Connections::new(&text[..]) else { return Ok(()) };
        let mut rows = 0;
        for entry in connections {
            rows += 1;
            match entry {
                Ok(entry) => prop_assert_eq!(entry.is_template(), entry.client.port() == 0),
                Err(error) => prop_assert_eq!(error.kind(), std::io::ErrorKind::InvalidData),
            }
        }
        prop_assert!(rows < lines.max(1));
    }
}
