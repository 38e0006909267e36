//! The state of the process that follows a source, as metrics.

use std::path::Path;
use std::time::SystemTime;

use ipvs::Namespace;

use crate::journal::{Folder, FollowerFile};
use crate::terminal::exit::print_error;
use crate::verbs::follow::{RevisionId, Status};

/// The last state, and whether the process is running.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) is_running: bool,
    pub(super) status: Status,
}

impl Follower {
    /// Reads the state of the follower of a namespace. `None`: no source was ever followed, or the state cannot be read.
    pub(super) fn read(state_dir: &Path, namespace: Option<&Namespace>) -> Option<Self> {
        let read = Folder::of(state_dir, namespace).and_then(|folder| {
            let status = folder.read_follower(FollowerFile::Status)?;
            Ok(status.map(|status| Self { is_running: folder.is_followed(), status }))
        });
        read.unwrap_or_else(|error| {
            print_error(&format!("note: the state of `follow` is omitted: {error:#}"));
            None
        })
    }

    /// Returns whether a person should look at it.
    pub(super) fn needs_attention(&self) -> bool {
        !self.is_running || self.status.has_problem()
    }

    /// Returns the revision that the table was last changed to.
    pub(super) fn applied(&self) -> Option<&RevisionId> {
        self.status.applied.as_ref().map(|applied| &applied.id)
    }

    /// Returns the time at which the table was last changed to a revision, in seconds since 1970.
    pub(super) fn applied_at(&self) -> Option<u64> {
        let time = humantime::parse_rfc3339(&self.status.applied.as_ref()?.time).ok()?;
        Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
    }
}
