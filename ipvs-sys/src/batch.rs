//! Batches of requests: the fence at the end, and sending them again.

use crate::message::{Head, NETLINK_HEADER, u32_at, write_message};
use crate::netlink::{NLM_F_ACK, NLMSG_NOOP};

/// Sets `NLM_F_ACK` in the message at the start of `bytes`, so that the kernel also replies on success.
pub(crate) fn request_ack(bytes: &mut [u8]) {
    let ack = NLM_F_ACK.to_ne_bytes();
    bytes.iter_mut().skip(6).zip(ack).for_each(|(byte, flag)| *byte |= flag);
}

/// Appends a message that has only one effect: the kernel replies to it with an ACK. The ACK occupies less of the
/// receive buffer than the data that any IPVS command returns.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c> (`netlink_rcv_skb`)
pub(crate) fn write_fence(out: &mut Vec<u8>, sequence: u32) {
    let head = Head { family: NLMSG_NOOP, flags: NLM_F_ACK, sequence, command: 0, version: 0 };
    write_message(out, head, |_| {});
}

/// Sets the family of all messages in `bytes`, except for fences.
pub(crate) fn readdress(bytes: &mut [u8], family: u16) {
    let mut at = 0;
    while let Some(message) = bytes.get_mut(at..).filter(|rest| rest.len() >= NETLINK_HEADER) {
        if message[4..6] != NLMSG_NOOP.to_ne_bytes() {
            message[4..6].copy_from_slice(&family.to_ne_bytes());
        }
        at += (u32_at(message, 0) as usize).next_multiple_of(4).max(NETLINK_HEADER);
    }
}
