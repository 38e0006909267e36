//! Readings of the kernel's table in which a service that was deleted meanwhile does not seem to have lost its servers.

use ipvs::{Client, Error, ErrorKind, State};

/// Reads the table. The kernel lists the servers of a service that was deleted meanwhile as none. Such a service is
/// removed from the reading.
pub(crate) fn read(client: &mut Client) -> Result<State, Error> {
    let mut state = client.state()?;
    let mut kept = Vec::with_capacity(state.services.len());
    for service in state.services {
        let is_deleted = |error: Error| matches!(error.kind(), ErrorKind::NoSuchService);
        let exists = !service.destinations.is_empty() || !client.service(&service.service.key).is_err_and(is_deleted);
        if exists {
            kept.push(service);
        }
    }
    state.services = kept;
    Ok(state)
}
