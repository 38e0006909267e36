//! Message types and flags of netlink.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/netlink.h>

pub(crate) const NLMSG_NOOP: u16 = 1;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// In a refusal: the request is not echoed (`NETLINK_CAP_ACK`).
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
/// In a refusal: attributes follow (extended ACK).
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;
