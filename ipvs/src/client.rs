//! The kernel's table, over netlink and `/proc`.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::hash::Hash;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use ipvs_sys::uapi::{Command, CommandAttrs, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE, InfoAttrs};
use ipvs_sys::wire::{Attributes, Wire};
use ipvs_sys::{DecodeError, Namespace, Request, Socket};

use crate::change::Change;
use crate::connections::Connections;
use crate::daemon::{Role, SyncDaemon};
use crate::destination::Destination;
use crate::director::{Director, Ensured, Refused};
use crate::error::Error;
use crate::info::Info;
use crate::key::{DestinationKey, ServiceKey};
use crate::service::Service;
use crate::state::{DestinationState, ServiceState, State};
use crate::stats::Counters;
use crate::timeouts::Timeouts;

/// The kernel's table in one network namespace, over a netlink socket. Open one for each thread.
///
/// ```no_run
/// use ipvs::{Client, Destination, Forwarding, Scheduler, Service, ServiceKey};
///
/// # fn main() -> Result<(), ipvs::Error> {
/// let mut client = Client::open()?;
/// let web = ServiceKey::tcp([192, 0, 2, 1], 80);
/// client.add_service(&Service::new(web, Scheduler::RR))?;
/// client.add_destination(&web, &Destination::new(([10, 0, 0, 1], 8080), Forwarding::Masquerade))?;
/// # Ok(())
/// # }
/// ```
///
/// # Descriptors
///
/// A client holds at most three descriptors: its socket, a second socket after the first read of destinations, and with
/// [`open_in`](Self::open_in) the namespace. The namespace exists as long as one of them is open. All are closed when
/// the program executes another one. Each result of [`connections`](Self::connections) has a file of its own.
///
/// # Threads, async code and fork
///
/// Every method waits for the kernel, and fails after 5 s without a reply. In async code, call them on a thread for
/// blocking work (`spawn_blocking`, example `tokio`), or use the functions of [`ipvs_sys::message`] with a socket of your
/// runtime (example `async_fd` of that crate). A client can be moved to another thread. It stays in its namespace,
/// even if the thread enters another one. After `fork`, the child must open a client of its own: both processes would
/// read replies from the same socket.
///
/// # Errors
///
/// Every read can fail with [`ErrorKind::NotLoaded`](crate::ErrorKind::NotLoaded),
/// [`ErrorKind::NoPermission`](crate::ErrorKind::NoPermission) or [`ErrorKind::NoReply`](crate::ErrorKind::NoReply).
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    /// A second socket for the dumps of destinations. After a long dump of services, the kernel allocates and clears 32
    /// KiB for each datagram to the first socket. This makes the dump of a service with few destinations expensive.
    /// `None`: the next such dump opens it.
    ///
    /// With one socket, `-Ln` of 100 services executes 13.8 million instructions instead of 7.9 million (`cargo bench
    /// -p ipvs-tests --bench compare -- --quick`). The difference is one instruction for each byte of 2 × 28 KiB that
    /// the kernel clears for a service. Unlike hardware, QEMU counts each step of `rep stosb`. The difference in time
    /// was below the noise.
    details: Option<Socket>,
    /// The namespace passed to [`open_in`](Self::open_in). `None` for a client made by [`open`](Self::open).
    namespace: Option<File>,
}

impl Client {
    /// Opens the table of the calling thread's network namespace.
    ///
    /// Nothing is sent yet. The kernel loads the module `ip_vs` at the first read or write.
    ///
    /// # Errors
    ///
    /// Fails if no netlink socket can be opened.
    pub fn open() -> Result<Self, Error> {
        Self::connect(None)
    }

    /// Opens the table of another network namespace. The namespace of the calling thread does not change.
    ///
    /// # Errors
    ///
    /// Fails if the namespace does not exist or cannot be entered (`EPERM` without `CAP_SYS_ADMIN`), or if no netlink
    /// socket can be opened.
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        Self::connect(Some(namespace))
    }

    fn connect(namespace: Option<&Namespace>) -> Result<Self, Error> {
        let opened = match namespace {
            Some(namespace) => namespace.within(|| Ok((Socket::open()?, File::open(OWN_NAMESPACE).ok()))),
            None => Ok(Socket::open().map(|socket| (socket, None))),
        };
        let opened =
            opened.and_then(|opened| opened).map(|(socket, namespace)| Self { socket, details: None, namespace });
        opened.map_err(|error| Error::asking("open the table", error))
    }

    /// Reads the version of IPVS and the size of its connection table.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_INFO")]
    pub fn info(&mut self) -> Result<Info, Error> {
        self.socket
            .get::<InfoAttrs>(&Request::new(Command::GetInfo))
            .map(Info::from_attributes)
            .map_err(|error| Error::asking("read the IPVS version", error))
    }

    /// Reads the connection timeouts.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_CONFIG")]
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.socket
            .get::<CommandAttrs>(&Request::new(Command::GetConfig))
            .map(Timeouts::from_attributes)
            .map_err(|error| Error::asking("read the timeouts", error))
    }

    /// Reads the running sync daemons, the master first.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_DAEMON")]
    pub fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let read = |bytes: &[u8]| Ok(CommandAttrs::read(bytes)?.daemon.and_then(SyncDaemon::from_attributes));
        let mut daemons = Vec::new();
        dump(&mut self.socket, &Request::new(Command::GetDaemon), &mut daemons, read)
            .map_err(|error| Error::asking("read the sync daemons", error))?;
        Ok(daemons)
    }

    /// Reads all services. Their lists of destinations are empty.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn services(&mut self) -> Result<Vec<ServiceState>, Error> {
        self.services_with(Counters::Read)
    }

    /// Reads all services, with or without counters. Their lists of destinations are empty.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn services_with(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
        Ok(self.certain_services(counters)?.0)
    }

    /// Returns the services, and whether two readings agreed.
    fn certain_services(&mut self, counters: Counters) -> Result<(Vec<ServiceState>, bool), Error> {
        /// The maximum number of readings. Without a limit, they might never end, because another program may add
        /// services all the time.
        const MOST_READINGS: usize = 10;
        // Since 7.1 the kernel resizes its table a moment after services were added or deleted. A list that is read
        // during the resize lacks some services and repeats others, and the kernel does not report it. Its order
        // changes, too. So a list that is read twice in the same order is complete.
        let readings = if ipvs_sys::kernel_version() < (7, 1) { 1 } else { MOST_READINGS };
        whole(readings, || self.read_services(counters), |state| state.service.key)
    }

    fn read_services(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
        let read = |bytes: &[u8]| read_one(bytes, IPVS_CMD_ATTR_SERVICE, |bytes| ServiceState::read(bytes, counters));
        let mut services = Vec::new();
        dump(&mut self.socket, &Request::new(Command::GetService), &mut services, read)
            .map_err(|error| Error::asking("read the services", error))?;
        Ok(services)
    }

    /// Reads one service. Its list of destinations is empty.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`](crate::ErrorKind::NoSuchService) if the service does not exist, and
    /// otherwise as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn service(&mut self, key: &ServiceKey) -> Result<ServiceState, Error> {
        let mut request = Request::new(Command::GetService);
        request.attributes.service = Some(key.to_attributes());
        let read = |bytes: &[u8]| {
            read_one(bytes, IPVS_CMD_ATTR_SERVICE, |bytes| ServiceState::read(bytes, Counters::Read))?
                .ok_or(DecodeError::new("no service"))
        };
        self.socket.get_with(&request, read).map_err(|error| Error::asking(format_args!("read service {key}"), error))
    }

    /// Reads the destinations of a service, the newest first. For a service that does not exist, the result is empty:
    /// the kernel does not report an error.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_DEST")]
    pub fn destinations(&mut self, service: &ServiceKey) -> Result<Vec<DestinationState>, Error> {
        self.destinations_with(service, Counters::Read)
    }

    /// Reads the destinations of a service, with or without counters. Otherwise works as
    /// [`destinations`](Self::destinations) does.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    #[doc(alias = "IPVS_CMD_GET_DEST")]
    pub fn destinations_with(
        &mut self,
        service: &ServiceKey,
        counters: Counters,
    ) -> Result<Vec<DestinationState>, Error> {
        let mut destinations = Vec::new();
        self.destinations_into(service, counters, &mut destinations)?;
        Ok(destinations)
    }

    /// Reads the destinations of a service into `destinations`, and replaces its contents. Works as
    /// [`destinations_with`](Self::destinations_with) does, but reuses the allocation for several services.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    pub fn destinations_into(
        &mut self,
        service: &ServiceKey,
        counters: Counters,
        destinations: &mut Vec<DestinationState>,
    ) -> Result<(), Error> {
        destinations.clear();
        let mut request = Request::new(Command::GetDest);
        request.attributes.service = Some(service.to_attributes());
        let family = service.family();
        let read =
            |bytes: &[u8]| read_one(bytes, IPVS_CMD_ATTR_DEST, |bytes| DestinationState::read(bytes, family, counters));
        self.details()
            .and_then(|details| dump(details, &request, destinations, read))
            .map_err(|error| Error::asking(format_args!("read the servers of {service}"), error))?;
        keep_first(destinations, |state| state.destination.key);
        if destinations.len() < MANY {
            self.details.take_if(|details| details.expects_large_datagrams());
        }
        Ok(())
    }

    /// Reads the whole table, with or without counters.
    ///
    /// # Errors
    ///
    /// Fails as every [read](Self#errors) does.
    pub fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
        let info = self.info()?;
        let timeouts = self.timeouts()?;
        let daemons = self.daemons()?;
        let (mut services, is_certain) = self.certain_services(counters)?;
        for state in &mut services {
            state.destinations = self.destinations_with(&state.service.key, counters)?;
        }
        Ok(State { info, timeouts, daemons, services, is_uncertain: !is_certain })
    }

    /// Makes changes, in order, in batches of at most 128. Returns the refused changes. After a refusal, the remaining
    /// changes are still made.
    ///
    /// # Errors
    ///
    /// Fails as [`Director::submit`] does.
    pub fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
        for change in changes {
            change.validate().map_err(|why| Error::invalid(change, why))?;
        }
        let plural = if changes.len() == 1 { "" } else { "s" };
        let refused = self
            .socket
            .submit(changes)
            .map_err(|error| Error::asking(format_args!("submit {} change{plural}", changes.len()), error))?;
        Ok(refused.into_iter().map(|(index, error)| (index, Error::refused(&changes[index], error))).collect())
    }

    fn details(&mut self) -> Result<&mut Socket, ipvs_sys::Error> {
        let details = match self.details.take() {
            Some(details) => details,
            None => self.in_namespace(|| self.socket.open_again())??,
        };
        Ok(self.details.insert(details))
    }

    /// Runs `act` in the namespace of this client, even if the calling thread has moved to another one.
    ///
    /// A socket reports its namespace since Linux 4.10 (`SIOCGSKNS`), to callers with `CAP_NET_ADMIN` in it. For other
    /// callers `act` runs in their own namespace.
    fn in_namespace<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, ipvs_sys::Error> {
        let asked = match &self.namespace {
            Some(namespace) => namespace.try_clone(),
            None => self.socket.namespace().map(File::from),
        };
        match asked {
            Ok(namespace) if !is_own(&namespace) => Namespace::from(namespace).within(act),
            _ => Ok(act()),
        }
    }

    /// Opens the connection table. Its entries are read while the iterator is advanced.
    ///
    /// No privilege is required in the caller's own namespace. A client made by [`Client::open`] finds its namespace
    /// only with `CAP_NET_ADMIN`; without it, the table of the calling thread's namespace is opened.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotLoaded`](crate::ErrorKind::NotLoaded) if the module `ip_vs` is not loaded. Also fails
    /// if the file `/proc/net/ip_vs_conn` cannot be opened or has another format.
    #[doc(alias = "ip_vs_conn")]
    pub fn connections(&self) -> Result<Connections<File>, Error> {
        // Not /proc/self: each thread has a namespace of its own.
        const PATH: &str = "/proc/thread-self/net/ip_vs_conn";
        let file = self
            .in_namespace(|| File::open(PATH))
            .map_err(|error| Error::asking(format_args!("open {PATH}"), error))?;
        file.and_then(Connections::new).map_err(|error| Error::file(format_args!("open {PATH}"), error))
    }

    /// Returns the sysctl `net.ipv4.vs.expire_quiescent_template` of the namespace.
    ///
    /// If it is true, persistence templates do not send clients to a destination of weight 0. The default is false.
    ///
    /// # Errors
    ///
    /// Fails if the file of the sysctl cannot be read, for example in a container without it.
    #[doc(alias = "expire_quiescent_template")]
    pub fn expires_quiescent_templates(&self) -> Result<bool, Error> {
        // The file is that of the namespace of the thread that opens it.
        const PATH: &str = "/proc/sys/net/ipv4/vs/expire_quiescent_template";
        let text = self
            .in_namespace(|| std::fs::read_to_string(PATH))
            .map_err(|error| Error::asking(format_args!("read {PATH}"), error))?;
        text.map(|text| text.trim() != "0").map_err(|error| Error::file(format_args!("read {PATH}"), error))
    }
}

/// The number of destinations from which large datagrams save time. With fewer, they cost more than they save, because
/// the kernel clears each datagram before it fills it.
const MANY: usize = 64;

const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// Returns whether the calling thread is in that namespace.
fn is_own(namespace: &File) -> bool {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    // Without /proc, a new socket tells its namespace.
    let own = std::fs::metadata(OWN_NAMESPACE).or_else(|error| {
        let socket = Socket::open().map_err(|_| error)?;
        File::from(socket.namespace()?).metadata()
    });
    match (namespace.metadata(), own) {
        (Ok(this), Ok(own)) => id(this) == id(own),
        _ => false,
    }
}

/// The socket for all requests but the dumps of destinations.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Director for Client {
    fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
        self.state_with(counters)
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
        self.submit(changes)
    }

    fn info(&mut self) -> Result<Info, Error> {
        self.info()
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        self.timeouts()
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        self.daemons()
    }

    fn services_with(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
        self.services_with(counters)
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceState, Error> {
        self.service(key)
    }

    fn destinations_with(&mut self, service: &ServiceKey, counters: Counters) -> Result<Vec<DestinationState>, Error> {
        self.destinations_with(service, counters)
    }
}

/// Defines methods of the trait as methods of the type, so that they are found without importing the trait.
macro_rules! inherent {
    ($( $method:ident($($argument:ident: $type:ty),*) -> $output:ty, $effect:literal; )*) => {
        impl Client { $(
            #[doc = $effect]
            ///
            /// # Errors
            ///
            #[doc = concat!("Fails as [`Director::", stringify!($method), "`] does.")]
            pub fn $method(&mut self, $($argument: $type),*) -> Result<$output, Error> {
                Director::$method(self, $($argument),*)
            }
        )* }
    };
}

inherent! {
    state() -> State, "Reads the whole table.";
    destination(service: &ServiceKey, key: &DestinationKey) -> DestinationState, "Reads one destination.";
    change(change: Change) -> (), "Makes one change. A refusal is an `Err`.";
    add_service(service: &Service) -> (), "Adds a service.";
    edit_service(service: &Service) -> (), "Sets all settings of a service.";
    delete_service(key: &ServiceKey) -> (), "Deletes a service with its destinations.";
    add_destination(service: &ServiceKey, destination: &Destination) -> (), "Adds a destination to a service.";
    edit_destination(service: &ServiceKey, destination: &Destination) -> (), "Sets all settings of a destination.";
    delete_destination(service: &ServiceKey, key: &DestinationKey) -> (), "Deletes a destination.";
    set_timeouts(timeouts: &Timeouts) -> (), "Sets the connection timeouts. A timeout of 0 is not changed.";
    start_daemon(daemon: &SyncDaemon) -> (), "Starts a sync daemon.";
    stop_daemon(role: Role) -> (), "Stops the sync daemon of a role.";
    zero(service: Option<&ServiceKey>) -> (),
        "Sets the counters of a service and its destinations to 0, or all counters for `None`.";
    flush() -> (), "Deletes all services.";
    ensure_service(service: &Service) -> Ensured, "Adds a service, or gives the existing one these settings.";
    ensure_destination(service: &ServiceKey, destination: &Destination) -> Ensured,
        "Adds a destination, or gives the existing one these settings.";
    remove_service(key: &ServiceKey) -> bool, "Deletes a service. Returns false if it does not exist.";
    remove_destination(service: &ServiceKey, key: &DestinationKey) -> bool,
        "Deletes a destination. Returns false if it or its service does not exist.";
    update_service(key: &ServiceKey, edit: impl FnOnce(&mut Service)) -> Ensured,
        "Reads a service, lets `edit` change its settings, and writes them if they differ.";
    update_destination(service: &ServiceKey, key: &DestinationKey, edit: impl FnOnce(&mut Destination)) -> Ensured,
        "Reads a destination, lets `edit` change its settings, and writes them if they differ.";
}

/// Reads until two consecutive readings have the same keys, and returns the items and true. If no two do, returns the
/// items of all readings and false. Then no item is missing, but deleted items may be included. A single reading is
/// certain.
fn whole<T, K: Copy + Ord + Hash, E>(
    readings: usize,
    mut read: impl FnMut() -> Result<Vec<T>, E>,
    key: impl Fn(&T) -> K,
) -> Result<(Vec<T>, bool), E> {
    let mut items = read()?;
    let mut earlier = Vec::new();
    let mut is_certain = true;
    for reading in 1..readings {
        let before = std::mem::replace(&mut items, read()?);
        if before.iter().map(&key).eq(items.iter().map(&key)) {
            break;
        }
        earlier.push(before);
        if reading == readings - 1 {
            // The newest reading first: its version of a repeated item is kept.
            items.extend(earlier.drain(..).rev().flatten());
            is_certain = false;
        }
    }
    keep_first(&mut items, key);
    Ok((items, is_certain))
}

/// Reads the nested list `wanted` of a reply, or returns `None` if the reply does not have it.
#[inline]
pub(crate) fn read_one<T>(
    bytes: &[u8],
    wanted: u16,
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let mut list = None;
    CommandAttrs::each(bytes, |number, value| {
        if number == wanted {
            list = Some(value);
        }
        Ok(())
    })?;
    list.map(read).transpose()
}

/// Appends the replies of a dump to `items`.
fn dump<T>(
    socket: &mut Socket,
    request: &Request,
    items: &mut Vec<T>,
    read: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
) -> Result<(), ipvs_sys::Error> {
    let start = items.len();
    let had_room = socket.expects_large_datagrams();
    let mut once = || {
        items.truncate(start);
        let mut dump = socket.dump(request)?;
        let mut next = || {
            dump.next_with(|bytes| {
                items.extend(read(bytes)?);
                Ok(())
            })
        };
        while next()?.is_some() {}
        Ok(())
    };
    match once() {
        // The datagram was truncated: this kernel sends larger datagrams than any known kernel. The buffer is larger
        // now.
        Err(ipvs_sys::Error::Decode { .. }) if !had_room => once(),
        result => result,
    }
}

/// Removes repeated items: a dump of several datagrams repeats items if others are added during the dump.
fn keep_first<T, K: Ord + Hash>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    /// The number of items up to which comparing each pair is faster than hashing.
    const FEW: usize = 16;
    // The usual case: the items were added in the order of their keys, and the newest comes first.
    if items.is_sorted_by(|a, b| key(a) > key(b)) {
        return;
    }
    let is_repeated = |at: usize| items[..at].iter().any(|earlier| key(earlier) == key(&items[at]));
    if items.len() > FEW || (1..items.len()).any(is_repeated) {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(key(item)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result for these readings. Panics if more are needed.
    fn whole_of(readings: &[&[(u8, char)]]) -> (Vec<(u8, char)>, bool) {
        let mut next = readings.iter();
        let read = || next.next().map(|items| items.to_vec()).ok_or("one more was read");
        whole(readings.len(), read, |(key, _)| *key).expect("enough")
    }

    #[test]
    fn two_equal_readings_are_complete() {
        assert_eq!(whole_of(&[&[(1, 'a'), (2, 'b')]]), (vec![(1, 'a'), (2, 'b')], true));
        // The third is not read.
        assert_eq!(whole_of(&[&[(1, 'a')], &[(1, 'b')], &[(9, 'c')]]), (vec![(1, 'b')], true));
        let late = whole_of(&[&[(2, 'a')], &[(1, 'a'), (2, 'a')], &[(1, 'b'), (2, 'b')]]);
        assert_eq!(late, (vec![(1, 'b'), (2, 'b')], true));
    }

    #[test]
    fn readings_that_always_differ_are_merged() {
        let (mut all, is_certain) =
            whole_of(&[&[(1, 'a'), (2, 'a')], &[(2, 'b'), (3, 'b')], &[(3, 'c'), (4, 'c'), (5, 'c')]]);
        assert!(!is_certain);
        all.sort_unstable();
        assert_eq!(all, [(1, 'a'), (2, 'b'), (3, 'c'), (4, 'c'), (5, 'c')]);
    }
}
