//! Changes as requests to the kernel.

use std::mem::ManuallyDrop;

use ipvs_sys::ToRequest;
use ipvs_sys::uapi::{Command, DaemonAttrs, IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use ipvs_sys::wire::Attributes;

use crate::change::Change;

/// The request that makes the change. Programs with sockets of their own encode it without a [`Client`](crate::Client):
///
/// ```
/// use ipvs::Change;
/// use ipvs::ipvs_sys::message::{Mode, encode};
///
/// # fn main() -> Result<(), ipvs::ipvs_sys::Error> {
/// let (mut message, family, sequence) = (Vec::new(), 37, 1);
/// encode(&mut message, &Change::Flush, Mode::Change, family, sequence)?;
/// assert_eq!(message.len(), 20);
/// # Ok(())
/// # }
/// ```
///
/// The values are not validated: call [`Change::validate`] before.
// Writes each attribute list directly. A `CommandAttrs` of all lists would be filled, moved and dropped for each change.
impl ToRequest for Change {
    fn command(&self) -> Command {
        self.command()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::AddService(service) | Self::EditService(service) => {
                write_list(service.to_attributes(), IPVS_CMD_ATTR_SERVICE, out);
            }
            other => {
                if let Some(key) = other.service() {
                    write_list(key.to_attributes(), IPVS_CMD_ATTR_SERVICE, out);
                }
            }
        }
        match self {
            Self::AddDestination(_, destination) | Self::EditDestination(_, destination) => {
                write_list(destination.to_attributes(), IPVS_CMD_ATTR_DEST, out);
            }
            Self::DeleteDestination(_, key) => write_list(key.to_attributes(), IPVS_CMD_ATTR_DEST, out),
            Self::SetTimeouts(timeouts) => timeouts.to_attributes().write(out),
            Self::StartDaemon(daemon) => write_list(daemon.to_attributes(), IPVS_CMD_ATTR_DAEMON, out),
            Self::StopDaemon(role) => {
                let daemon = DaemonAttrs { state: Some(role.number()), ..DaemonAttrs::default() };
                write_list(daemon, IPVS_CMD_ATTR_DAEMON, out);
            }
            Self::AddService(_) | Self::EditService(_) | Self::DeleteService(_) | Self::Zero(_) | Self::Flush => {}
        }
    }
}

/// Appends a list of attributes. The list of a change owns no memory, so it need not be dropped. Without the drop, the
/// compiler need not build the list in memory.
#[inline]
fn write_list(list: impl Attributes, number: u16, out: &mut Vec<u8>) {
    ManuallyDrop::new(list).write_as(number, out);
}
