//! Names that the kernel limits in length: schedulers, persistence engines, interfaces.

use std::borrow::Cow;
use std::fmt;

use ipvs_sys::wire::Name;

use crate::invalid_value::InvalidValue;

macro_rules! names {
    ($( $(#[$meta:meta])* $name:ident, $what:literal, $max:literal; )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) Name);

        impl $name {
            /// The maximum length in bytes, without the NUL that the kernel adds.
            pub const MAX: usize = $max;

            /// Returns a name. Does not check whether the kernel knows it, and accepts blanks and control characters.
            /// [`Config::validate`](crate::Config::validate) refuses these.
            ///
            /// # Errors
            ///
            /// Fails if the name is empty, contains a NUL byte, or is longer than [`MAX`](Self::MAX).
            pub fn new(name: impl AsRef<[u8]>) -> Result<Self, InvalidValue> {
                let name = name.as_ref();
                if name.is_empty() {
                    return Err(InvalidValue::name(format_args!("{} name is empty", $what)));
                }
                if name.len() > $max {
                    return Err(InvalidValue::name(format_args!("{} name is longer than {} bytes", $what, $max)));
                }
                let nul = || InvalidValue::name(format_args!("{} name contains a NUL byte", $what));
                Name::new(name).map(Self).ok_or_else(nul)
            }

            /// Returns the name, usually ASCII.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                *self == **other
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidValue;

            fn from_str(name: &str) -> Result<Self, InvalidValue> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

names! {
    /// A scheduler, which selects the server of a new connection.
    ///
    /// Every name of 1 to 15 bytes is valid. The kernel loads the module `ip_vs_NAME` when a service first uses it.
    Scheduler, "scheduler", 15;

    /// A persistence engine, which distinguishes clients by more than their address. The kernel has `sip` (SIP
    /// Call-ID).
    Engine, "persistence engine", 16;

    /// A network interface, by name.
    Interface, "interface", 15;
}

/// Returns whether a name is visible in full and has no blanks. Only such a name is one word of a rules line. Bytes
/// that are not UTF-8 count as visible, because they are replaced when they are printed.
pub(crate) fn is_visible(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
        || String::from_utf8_lossy(name).chars().all(|c| match c.is_ascii() {
            true => c.is_ascii_graphic(),
            // Escapes control characters, blanks, and characters without a glyph, such as bidirectional controls.
            false => c.escape_debug().len() == 1,
        })
}

/// Returns a name as one word of a line, with its bytes escaped if it is not visible. No kernel has such a scheduler or
/// persistence engine. If there were one, the rest of its name must not become another option or another line.
pub(crate) fn visible(name: &[u8]) -> Cow<'_, [u8]> {
    match is_visible(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(name.escape_ascii().to_string().replace(' ', "\\x20").into_bytes()),
    }
}

macro_rules! schedulers {
    ($( #[doc = $help:literal] $constant:ident $name:literal; )*) => {
        impl Scheduler {
            $(
                #[doc = $help]
                pub const $constant: Self = Self(Name::new($name.as_bytes()).unwrap());
            )*

            /// The schedulers of Linux 6.1 to 7.3, each with a description of one line.
            pub const KNOWN: &'static [(Self, &'static str)] = &[ $( (Self::$constant, $help), )* ];
        }
    };
}

schedulers! {
    /// Round robin: all servers in turn.
    RR "rr";
    /// Weighted round robin: all servers in turn, each in proportion to its weight.
    WRR "wrr";
    /// Least connections: the server with the fewest connections.
    LC "lc";
    /// Weighted least connections: the fewest connections in proportion to the weight; ipvsadm's default.
    WLC "wlc";
    /// Locality-based least connections: a destination address keeps its server unless that is overloaded.
    LBLC "lblc";
    /// Like lblc, with a set of servers for each destination address.
    LBLCR "lblcr";
    /// Destination hashing: a table looked up by the packet's destination address.
    DH "dh";
    /// Source hashing: a table looked up by the client's address.
    SH "sh";
    /// Maglev hashing: like source hashing, but few clients move when a server is added or deleted.
    MH "mh";
    /// Shortest expected delay: (connections + 1) / weight.
    SED "sed";
    /// Never queue: an idle server if there is one, otherwise shortest expected delay.
    NQ "nq";
    /// Weighted failover: the available server with the highest weight.
    FO "fo";
    /// Weighted overflow: the server with the highest weight until its connections reach the weight, then the next.
    OVF "ovf";
    /// Power of two choices: the less loaded of two random servers.
    TWOS "twos";
    /// No scheduler: new connections are refused.
    NONE "none";
}

impl Scheduler {
    /// Returns whether the order in which servers were added determines the server of a client.
    ///
    /// This is so for dh, mh and sh, and for fo and ovf, which use the first of several servers with the highest weight.
    /// The other schedulers of the kernel use all servers in turn or by their load. An unknown scheduler may depend on
    /// the order.
    pub fn depends_on_order(&self) -> bool {
        ![Self::RR, Self::WRR, Self::LC, Self::WLC, Self::LBLC, Self::LBLCR, Self::SED, Self::NQ].contains(self)
    }

    /// Returns the description of the scheduler, or `None` if it is not one of [`Scheduler::KNOWN`].
    pub fn help(&self) -> Option<&'static str> {
        Self::KNOWN.iter().find(|(known, _)| known == self).map(|(_, help)| help.trim())
    }
}

/// `wlc`, ipvsadm's default.
impl Default for Scheduler {
    fn default() -> Self {
        Self::WLC
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_with_texts() {
        assert!(Scheduler::WLC == "wlc" && Scheduler::WLC != *"wl");
        assert_eq!("eth0".parse::<Interface>().expect("a name"), "eth0");
    }
}
