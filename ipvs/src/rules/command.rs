//! The meaning of a line of ipvsadm's language.

use crate::change::Change;
use crate::key::ServiceKey;

/// The command of a line, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Change the table, timeouts or sync daemons.
    Change(Change),
    /// Print a listing.
    List(Listing),
    /// Print the table as lines for [`Command::Restore`].
    Save {
        /// Whether addresses and ports are printed as numbers.
        numeric: bool,
    },
    /// Run the lines on standard input.
    Restore {
        /// Whether each line is run as it arrives. If false, all lines are checked first.
        stream: bool,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The options of `--list`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The items to list.
    pub subject: Subject,
    /// The columns to print.
    pub columns: Columns,
    /// Whether addresses and ports are printed as numbers.
    pub numeric: bool,
    /// Whether counters are printed in full instead of as `123M`.
    pub exact: bool,
    /// Whether services and servers are sorted by address. If false, they are in the kernel's order.
    pub sorted: bool,
}

/// The subject of a listing.
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

/// The columns of a listing. If several are requested, the first in this order is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Columns {
    /// Counters.
    Stats,
    /// Rates: counters per second.
    Rates,
    /// Thresholds and connections.
    Thresholds,
    /// Weight, persistent and other connections. In a listing of connections: persistence engines.
    PersistentConnections,
    /// Forwarding method, weight, connections and tunnel.
    Tunnels,
    /// Forwarding method, weight, connections.
    #[default]
    Default,
}

impl Listing {
    /// Requests columns. If several are requested, the first in the order of [`Columns`] is printed.
    pub(super) fn show(&mut self, columns: Columns) {
        self.columns = self.columns.min(columns);
    }
}

/// The listing of `ipvsadm` without arguments.
impl Default for Listing {
    fn default() -> Self {
        Self { subject: Subject::Table, columns: Columns::Default, numeric: false, exact: false, sorted: true }
    }
}
