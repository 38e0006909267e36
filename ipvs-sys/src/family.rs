//! The lookup of the family at the generic netlink controller. The kernel assigns the number of a family when the
//! module is loaded.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/genetlink.h>

use crate::table::attributes;
use crate::wire::Name;

/// The message type of the controller.
pub const GENL_ID_CTRL: u16 = 16;
/// The command that looks up a family.
pub const CTRL_CMD_GETFAMILY: u8 = 3;
/// The version of the controller's commands, in requests.
pub const CTRL_VERSION: u8 = 2;

attributes! {
    /// The attributes `CTRL_ATTR_*` that the lookup needs.
    FamilyAttrs, FamilyAttr {
        /// The message type of the family. It changes when the module is loaded again.
        1 CTRL_ATTR_FAMILY_ID => Id, id: u16;
        /// The name of the family.
        2 CTRL_ATTR_FAMILY_NAME => Name, name: Name;
        skip 3 CTRL_ATTR_VERSION;
        skip 4 CTRL_ATTR_HDRSIZE;
        skip 5 CTRL_ATTR_MAXATTR;
        skip 6 CTRL_ATTR_OPS;
    }
}
