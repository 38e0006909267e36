//! What is restored: lines, and tables made of them.

#![no_main]

use ipvs::rules::{Lines, Numeric, read_config, write_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let count = text.split(|byte| *byte == b'\n').count();
    for line in Lines::new(text, &mut Numeric) {
        match line {
            Ok(line) => assert!((1..=count).contains(&line.number)),
            Err(error) => {
                assert!((1..=count).contains(&error.number) && error.column >= 1, "{error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
    let Ok(read) = read_config(text, &mut Numeric) else { return };
    let written = |config| {
        let mut text = Vec::new();
        write_config(&mut text, config);
        text
    };
    let once = written(&read.config);
    match read_config(&once, &mut Numeric) {
        Ok(again) => assert_eq!(written(&again.config), once),
        Err(errors) => panic!("{}\n{errors:?}", String::from_utf8_lossy(&once)),
    }
});
