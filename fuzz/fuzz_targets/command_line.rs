//! `ipvs_fuzz::targets::command_line`, for cargo-fuzz.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_fuzz::targets::command_line(bytes);
});
