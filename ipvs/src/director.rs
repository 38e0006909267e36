//! The interface to a table: the kernel's table, or one in memory.

use std::fmt;

use crate::change::{Change, Invalid};
use crate::daemon::{Role, SyncDaemon};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::info::Info;
use crate::key::{DestinationKey, ServiceKey};
use crate::service::Service;
use crate::state::{DestinationState, ServiceState, State};
use crate::stats::Counters;
use crate::timeouts::Timeouts;

/// The refused changes of [`Director::submit`].
///
/// The compiler warns about a program that drops them. With `deny(warnings)` the first program does not compile, and the
/// second does:
///
/// ```compile_fail
/// #![warn(unused_must_use)]
/// #![deny(warnings)]
/// use ipvs::{Change, Director, Error};
///
/// pub fn clear(director: &mut impl Director) -> Result<(), Error> {
///     director.submit(&[Change::Flush])?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// ```
/// #![warn(unused_must_use)]
/// #![deny(warnings)]
/// use ipvs::{Change, Director, Error};
///
/// pub fn clear(director: &mut impl Director) -> Result<(), Error> {
///     director.submit(&[Change::Flush])?.into_result()?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub type Refused = ipvs_sys::Refused<Error>;

/// The effect of `ensure_…` and `update_…` on the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ensured {
    /// It was added.
    Added,
    /// It existed with other settings, which were changed.
    Edited,
    /// It existed with these settings. Nothing was written.
    Unchanged,
}

/// Prints `added`, `edited` or `unchanged`.
impl fmt::Display for Ensured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Edited => "edited",
            Self::Unchanged => "unchanged",
        })
    }
}

/// A table that can be read and changed: the kernel's table ([`Client`](crate::Client)), or one in memory
/// ([`Model`](crate::Model)).
///
/// An implementation needs [`state_with`](Self::state_with) and [`submit`](Self::submit). All other methods have
/// defaults, so that a program can be tested with a table of its own. Such a table refuses a change with
/// [`Error::refusal`].
///
/// No method is atomic. Another program can change the table between the reading and the writing of a method, and
/// between two changes.
pub trait Director {
    /// Reads the whole table, with or without counters.
    ///
    /// # Errors
    ///
    /// Fails if IPVS is not available, if the caller has no permission, or if a reply was lost.
    fn state_with(&mut self, counters: Counters) -> Result<State, Error>;

    /// Makes changes, in order. Returns the refused changes. After a refusal, the remaining changes are still made.
    ///
    /// For a single change, [`change`](Self::change) returns the refusal as an `Err`.
    ///
    /// # Errors
    ///
    /// Fails if one of the changes is invalid ([`Change::validate`]); then nothing is sent. Also fails if IPVS is not
    /// available, or if it is unknown which changes were made ([`ErrorKind::NoReply`]).
    fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error>;

    /// Reads the whole table.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn state(&mut self) -> Result<State, Error> {
        self.state_with(Counters::Read)
    }

    /// Reads the version of IPVS and the size of its connection table.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn info(&mut self) -> Result<Info, Error> {
        Ok(self.state_with(Counters::Skip)?.info)
    }

    /// Reads the connection timeouts.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        Ok(self.state_with(Counters::Skip)?.timeouts)
    }

    /// Reads the running sync daemons, the master first.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        Ok(self.state_with(Counters::Skip)?.daemons)
    }

    /// Reads all services, with or without counters. Their lists of destinations are empty.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn services_with(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
        let mut services = self.state_with(counters)?.services;
        services.iter_mut().for_each(|state| state.destinations = Vec::new());
        Ok(services)
    }

    /// Reads all services. Their lists of destinations are empty.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn services(&mut self) -> Result<Vec<ServiceState>, Error> {
        self.services_with(Counters::Read)
    }

    /// Reads one service. Its list of destinations is empty.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, and otherwise as
    /// [`state_with`](Self::state_with) does.
    fn service(&mut self, key: &ServiceKey) -> Result<ServiceState, Error> {
        let found = self.services()?.into_iter().find(|state| state.service.key == *key);
        found.ok_or_else(|| Error::new(format!("read service {key}"), ErrorKind::NoSuchService))
    }

    /// Reads the destinations of a service, the newest first, with or without counters. For a service that does not
    /// exist, the result is empty: the kernel does not report an error.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn destinations_with(&mut self, service: &ServiceKey, counters: Counters) -> Result<Vec<DestinationState>, Error> {
        let found = self.state_with(counters)?.services.into_iter().find(|state| state.service.key == *service);
        Ok(found.map_or_else(Vec::new, |state| state.destinations))
    }

    /// Reads the destinations of a service, the newest first. For a service that does not exist, the result is empty.
    ///
    /// # Errors
    ///
    /// Fails as [`state_with`](Self::state_with) does.
    fn destinations(&mut self, service: &ServiceKey) -> Result<Vec<DestinationState>, Error> {
        self.destinations_with(service, Counters::Read)
    }

    /// Reads one destination. The kernel has no command for it: all destinations of the service are read.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchDestination`] if the destination or its service does not exist, and otherwise as
    /// [`state_with`](Self::state_with) does.
    fn destination(&mut self, service: &ServiceKey, key: &DestinationKey) -> Result<DestinationState, Error> {
        let found = self.destinations(service)?.into_iter().find(|state| state.destination.key == *key);
        found.ok_or_else(|| Error::new(format!("read server {key} of {service}"), ErrorKind::NoSuchDestination))
    }

    /// Makes one change. A refusal is an `Err`.
    ///
    /// # Errors
    ///
    /// Fails if the change is refused or invalid, and otherwise as [`submit`](Self::submit) does.
    fn change(&mut self, change: Change) -> Result<(), Error> {
        self.submit(&[change])?.into_result()
    }

    /// Adds a service.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::ServiceExists`] if the service exists, and otherwise as [`change`](Self::change) does.
    fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::AddService(*service))
    }

    /// Sets all settings of a service.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, and otherwise as
    /// [`change`](Self::change) does.
    fn edit_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::EditService(*service))
    }

    /// Deletes a service with its destinations.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, and otherwise as
    /// [`change`](Self::change) does.
    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.change(Change::DeleteService(*key))
    }

    /// Adds a destination to a service.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] or [`ErrorKind::DestinationExists`], and otherwise as
    /// [`change`](Self::change) does.
    fn add_destination(&mut self, service: &ServiceKey, destination: &Destination) -> Result<(), Error> {
        self.change(Change::AddDestination(*service, *destination))
    }

    /// Sets all settings of a destination.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] or [`ErrorKind::NoSuchDestination`], and otherwise as
    /// [`change`](Self::change) does.
    fn edit_destination(&mut self, service: &ServiceKey, destination: &Destination) -> Result<(), Error> {
        self.change(Change::EditDestination(*service, *destination))
    }

    /// Deletes a destination.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] or [`ErrorKind::NoSuchDestination`], and otherwise as
    /// [`change`](Self::change) does.
    fn delete_destination(&mut self, service: &ServiceKey, key: &DestinationKey) -> Result<(), Error> {
        self.change(Change::DeleteDestination(*service, *key))
    }

    /// Sets the connection timeouts. A timeout of 0 is not changed.
    ///
    /// # Errors
    ///
    /// Fails as [`change`](Self::change) does.
    fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        self.change(Change::SetTimeouts(*timeouts))
    }

    /// Starts a sync daemon.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::DaemonRuns`] if one of this role is running, with [`ErrorKind::NoSuchInterface`], and
    /// otherwise as [`change`](Self::change) does.
    fn start_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        self.change(Change::StartDaemon(*daemon))
    }

    /// Stops the sync daemon of a role.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoDaemon`] if none of this role is running, and otherwise as [`change`](Self::change)
    /// does.
    fn stop_daemon(&mut self, role: Role) -> Result<(), Error> {
        self.change(Change::StopDaemon(role))
    }

    /// Sets the counters of a service and its destinations to 0, or all counters for `None`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, and otherwise as
    /// [`change`](Self::change) does.
    fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Error> {
        self.change(Change::Zero(service.copied()))
    }

    /// Deletes all services.
    ///
    /// # Errors
    ///
    /// Fails as [`change`](Self::change) does.
    fn flush(&mut self) -> Result<(), Error> {
        self.change(Change::Flush)
    }

    /// Adds a service, or gives the existing one these settings. Its destinations stay.
    ///
    /// # Errors
    ///
    /// Fails as [`service`](Self::service) and [`change`](Self::change) do.
    fn ensure_service(&mut self, service: &Service) -> Result<Ensured, Error> {
        match self.service(&service.key) {
            Ok(held) if service.is_met_by(&held.service) => Ok(Ensured::Unchanged),
            Ok(_) => self.edit_service(service).map(|()| Ensured::Edited),
            Err(error) if matches!(error.kind(), ErrorKind::NoSuchService) => match self.add_service(service) {
                // Another program has added it since.
                Err(error) if matches!(error.kind(), ErrorKind::ServiceExists) => {
                    self.edit_service(service).map(|()| Ensured::Edited)
                }
                added => added.map(|()| Ensured::Added),
            },
            Err(error) => Err(error),
        }
    }

    /// Adds a destination, or gives the existing one these settings.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, and otherwise as
    /// [`destination`](Self::destination) and [`change`](Self::change) do.
    fn ensure_destination(&mut self, service: &ServiceKey, destination: &Destination) -> Result<Ensured, Error> {
        match self.destination(service, &destination.key) {
            Ok(held) if held.destination == *destination => Ok(Ensured::Unchanged),
            Ok(_) => self.edit_destination(service, destination).map(|()| Ensured::Edited),
            Err(error) if matches!(error.kind(), ErrorKind::NoSuchDestination) => {
                match self.add_destination(service, destination) {
                    // Another program has added it since.
                    Err(error) if matches!(error.kind(), ErrorKind::DestinationExists) => {
                        self.edit_destination(service, destination).map(|()| Ensured::Edited)
                    }
                    added => added.map(|()| Ensured::Added),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes a service with its destinations. Returns false if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails as [`change`](Self::change) does.
    fn remove_service(&mut self, key: &ServiceKey) -> Result<bool, Error> {
        was_there(self.delete_service(key))
    }

    /// Deletes a destination. Returns false if it or its service does not exist.
    ///
    /// # Errors
    ///
    /// Fails as [`change`](Self::change) does.
    fn remove_destination(&mut self, service: &ServiceKey, key: &DestinationKey) -> Result<bool, Error> {
        was_there(self.delete_destination(service, key))
    }

    /// Reads a service, lets `edit` change its settings, and writes them if they differ.
    ///
    /// ```
    /// # use ipvs::{Director, Model, Scheduler, Service, ServiceKey};
    /// # fn main() -> Result<(), ipvs::Error> {
    /// # let mut director = Model::new();
    /// # let web = ServiceKey::tcp([192, 0, 2, 1], 80);
    /// # director.add_service(&Service::new(web, Scheduler::WLC))?;
    /// director.update_service(&web, |service| service.scheduler = Scheduler::SH)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchService`] if the service does not exist, with [`Invalid::Key`] if `edit` changes
    /// the key, and otherwise as [`change`](Self::change) does.
    fn update_service(&mut self, key: &ServiceKey, edit: impl FnOnce(&mut Service)) -> Result<Ensured, Error>
    where
        Self: Sized,
    {
        let held = self.service(key)?.service;
        let mut service = held;
        edit(&mut service);
        if service == held {
            return Ok(Ensured::Unchanged);
        }
        let change = Change::EditService(service);
        if service.key != *key {
            return Err(Error::invalid(&change, Invalid::Key));
        }
        self.change(change).map(|()| Ensured::Edited)
    }

    /// Reads a destination, lets `edit` change its settings, and writes them if they differ.
    ///
    /// ```
    /// # use ipvs::{Destination, Director, Forwarding, Model, Scheduler, Service, ServiceKey};
    /// # fn main() -> Result<(), ipvs::Error> {
    /// # let mut director = Model::new();
    /// # let web = ServiceKey::tcp([192, 0, 2, 1], 80);
    /// # let server = Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade);
    /// # director.add_service(&Service::new(web, Scheduler::WLC))?;
    /// # director.add_destination(&web, &server)?;
    /// director.update_destination(&web, &server.key, |server| server.weight = 0)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoSuchDestination`] if the destination or its service does not exist, with
    /// [`Invalid::Key`] if `edit` changes the key, and otherwise as [`change`](Self::change) does.
    fn update_destination(
        &mut self,
        service: &ServiceKey,
        key: &DestinationKey,
        edit: impl FnOnce(&mut Destination),
    ) -> Result<Ensured, Error>
    where
        Self: Sized,
    {
        let held = self.destination(service, key)?.destination;
        let mut destination = held;
        edit(&mut destination);
        if destination == held {
            return Ok(Ensured::Unchanged);
        }
        let change = Change::EditDestination(*service, destination);
        if destination.key != *key {
            return Err(Error::invalid(&change, Invalid::Key));
        }
        self.change(change).map(|()| Ensured::Edited)
    }
}

/// Forwards every call that an implementation may make faster. The others are made of these.
impl<D: Director + ?Sized> Director for &mut D {
    fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
        (**self).state_with(counters)
    }

    fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
        (**self).submit(changes)
    }

    fn info(&mut self) -> Result<Info, Error> {
        (**self).info()
    }

    fn timeouts(&mut self) -> Result<Timeouts, Error> {
        (**self).timeouts()
    }

    fn daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        (**self).daemons()
    }

    fn services_with(&mut self, counters: Counters) -> Result<Vec<ServiceState>, Error> {
        (**self).services_with(counters)
    }

    fn service(&mut self, key: &ServiceKey) -> Result<ServiceState, Error> {
        (**self).service(key)
    }

    fn destinations_with(&mut self, service: &ServiceKey, counters: Counters) -> Result<Vec<DestinationState>, Error> {
        (**self).destinations_with(service, counters)
    }
}

/// Returns whether the deleted item existed.
fn was_there(deleted: Result<(), Error>) -> Result<bool, Error> {
    match deleted {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchService | ErrorKind::NoSuchDestination) => Ok(false),
        Err(error) => Err(error),
    }
}
