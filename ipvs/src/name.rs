//! Names that the kernel limits in length: schedulers, persistence engines, interfaces.

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

            /// Returns a name. Does not check whether the kernel knows it.
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
