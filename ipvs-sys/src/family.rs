//! The generic-netlink controller: which number the family has in this kernel, today.

use crate::table::attributes;
use crate::wire::Name;

/// Message type of the controller itself (`GENL_ID_CTRL`).
pub const GENL_ID_CTRL: u16 = 16;
/// `CTRL_CMD_GETFAMILY`.
pub const CTRL_CMD_GETFAMILY: u8 = 3;
/// The version that such requests carry.
pub const CTRL_VERSION: u8 = 2;

attributes! {
    /// `CTRL_ATTR_*`, as far as they are needed.
    FamilyAttrs, FamilyAttr {
        /// Message type of the family; changes when its module is loaded anew.
        1 CTRL_ATTR_FAMILY_ID => Id, id: u16;
        /// Name of the family.
        2 CTRL_ATTR_FAMILY_NAME => Name, name: Name;
        skip 3 CTRL_ATTR_VERSION;
        skip 4 CTRL_ATTR_HDRSIZE;
        skip 5 CTRL_ATTR_MAXATTR;
        skip 6 CTRL_ATTR_OPS;
    }
}
