//! `ipvs_fuzz::targets::keepalived`, for cargo-fuzz.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_fuzz::targets::keepalived(bytes);
});
