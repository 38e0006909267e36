//! Netlink replies of the kernel: messages, and the attributes in them.

use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{CommandAttrs, DaemonAttrs, DestAttrs, InfoAttrs, ServiceAttrs, StatsAttrs};
use ipvs_sys::wire::{Attributes, Wire};

/// Reads the bytes as messages, and as attributes.
pub fn netlink_replies(bytes: &[u8]) -> bool {
    let mut parsed = false;
    for reply in replies(bytes).flatten() {
        if let Content::Data { attributes, .. } = reply.content {
            parsed |= read(attributes);
        }
    }
    parsed | read(bytes)
}

fn read(bytes: &[u8]) -> bool {
    let _ = format!("{:?}", ServiceAttrs::read(bytes));
    let _ = format!("{:?}", DestAttrs::read(bytes));
    let _ = format!("{:?}", DaemonAttrs::read(bytes));
    let _ = format!("{:?}", StatsAttrs::read(bytes));
    let _ = format!("{:?}", InfoAttrs::read(bytes));
    // Attributes that were read can be written, and are read again as the same attributes.
    let Ok(attributes) = CommandAttrs::read(bytes) else { return false };
    let mut written = Vec::new();
    attributes.write(&mut written);
    assert_eq!(CommandAttrs::read(&written).expect("reads what it wrote"), attributes);
    !bytes.is_empty()
}
