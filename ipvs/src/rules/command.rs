//! What a line of ipvsadm's language says.

use crate::change::Change;
use crate::key::ServiceKey;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write something.
    Change(Change),
    /// Show something.
    List(Listing),
    /// Write the table as lines.
    Save {
        /// With numbers instead of names.
        numeric: bool,
    },
    /// Carry out lines.
    Restore {
        /// One by one as they come.
        stream: bool,
    },
    /// Show help.
    Help,
    /// Show the version.
    Version,
}

/// What `--list` is to show, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Of what.
    pub subject: Subject,
    /// Which columns.
    pub columns: Columns,
    /// Numbers instead of names.
    pub numeric: bool,
    /// Counters in full instead of `123M`.
    pub exact: bool,
    /// Sorted, not in the kernel's order.
    pub sorted: bool,
}

/// What a listing is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All services.
    Table,
    /// One service.
    Service(ServiceKey),
    /// The connections.
    Connections,
    /// The timeouts.
    Timeouts,
    /// The sync daemons.
    Daemons,
}

/// Which columns a listing has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Forwarding method, weight, connections.
    #[default]
    Default,
    /// The same with tunnels.
    Tunnels,
    /// Counters.
    Stats,
    /// Counters per second.
    Rates,
    /// Thresholds and connections.
    Thresholds,
    /// Weight, persistent and other connections; for connections, persistence engines.
    PersistentConnections,
}

/// What `ipvsadm` without arguments does.
impl Default for Listing {
    fn default() -> Self {
        Self { subject: Subject::Table, columns: Columns::Default, numeric: false, exact: false, sorted: true }
    }
}
