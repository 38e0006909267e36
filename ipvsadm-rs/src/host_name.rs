//! The name of this host.

/// Returns the name of this host, as `uname -n` prints it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
