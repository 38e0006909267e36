//! Changes as requests to the kernel.

use std::mem::ManuallyDrop;

use ipvs_sys::ToRequest;
use ipvs_sys::uapi::{Command, DaemonAttrs, IPVS_CMD_ATTR_DAEMON, IPVS_CMD_ATTR_DEST, IPVS_CMD_ATTR_SERVICE};
use ipvs_sys::wire::Attributes;

use crate::change::Change;

/// Every list is written where it is made: `CommandAttrs`, which has room for everything, would be filled, moved and
/// dropped for each change.
impl ToRequest for Change {
    fn command(&self) -> Command {
        self.command()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::AddService(service) | Self::EditService(service) => {
                write_list(service.to_attributes(), IPVS_CMD_ATTR_SERVICE, out);
            }
            of_a_service => {
                if let Some(key) = of_a_service.service() {
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

/// Append a list that was made of a change: one that owns nothing. So nothing is lost if it is not dropped, and the
/// compiler need not make it in memory at all.
#[inline]
fn write_list(list: impl Attributes, number: u16, out: &mut Vec<u8>) {
    ManuallyDrop::new(list).write_as(number, out);
}
