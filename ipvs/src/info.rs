//! Version and size of the kernel's IPVS.

use std::fmt;

use ipvs_sys::uapi::InfoAttrs;

/// Version of IPVS and size of its connection table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// The version of IPVS: 1.2.1 since 2008.
    #[doc(alias = "IPVS_INFO_ATTR_VERSION")]
    pub version: Version,
    /// The number of buckets of the connection table. Up to Linux 7.0 the machine has one table of fixed size. Since
    /// 7.1 each network namespace has its own, which is resized at run time. It is 0 before the first service.
    #[doc(alias = "IPVS_INFO_ATTR_CONN_TAB_SIZE")]
    pub connection_table_size: u32,
}

impl Info {
    /// Returns a version and a size.
    pub fn new(version: Version, connection_table_size: u32) -> Self {
        Self { version, connection_table_size }
    }
}

/// A version: major, minor, patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u8, pub u8, pub u8);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Info {
    pub(crate) fn from_attributes(attributes: InfoAttrs) -> Self {
        let InfoAttrs { version, conn_tab_size, unknown: _ } = attributes;
        let [_, major, minor, patch] = version.unwrap_or_default().to_be_bytes();
        Self { version: Version(major, minor, patch), connection_table_size: conn_tab_size.unwrap_or_default() }
    }
}
