//! Netlink replies of the kernel: messages, and the attributes in them.

#![no_main]

use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{CommandAttrs, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs, StatsAttrs};
use ipvs_sys::wire::{Attributes, Wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for reply in replies(bytes).flatten() {
        if let Content::Data { attributes, .. } = reply.content {
            read(attributes);
        }
    }
    read(bytes);
});

fn read(bytes: &[u8]) {
    let _ = format!("{:?}", ServiceAttrs::read(bytes));
    let _ = format!("{:?}", DestAttrs::read(bytes));
    let _ = format!("{:?}", DaemonAttrs::read(bytes));
    let _ = format!("{:?}", StatsAttrs::read(bytes));
    let _ = format!("{:?}", InfoAttrs::read(bytes));
    // Attributes that were read can be written, and are read again as the same attributes.
    if let Ok(attributes) = CommandAttrs::read(bytes) {
        let mut written = Vec::new();
        attributes.write(&mut written);
        assert_eq!(CommandAttrs::read(&written).expect("reads what it wrote"), attributes);
    }
}
