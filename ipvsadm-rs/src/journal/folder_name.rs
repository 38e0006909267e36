//! The directory of the journal of a network namespace: its name, its creation, and its end.
//!
//! The file `namespace` in it records the namespace. A namespace with several names therefore has one directory.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ipvs::Namespace;
use rustix::fs::{AtFlags, fstat, unlinkat};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Origin, Place};
use super::living::Living;
use super::lock::{Lock, is_locked, lock_in_time, open_lock};
use super::untrusted::open_folder;
use crate::file::directory::Directory;
use crate::terminal::text;

/// The file that records the namespace of a directory.
pub(super) const RECORD: &str = "namespace";

/// The file in the state directory that is locked while a directory is created.
const STATE_LOCK: &str = ".lock";

/// The maximum number of directories of earlier boots whose names no namespace has. The others are removed, because
/// some programs give each namespace a new name.
const MAX_UNUSED: usize = 100;

/// The directory of the namespace of process 1.
const FIRST: &str = "init";

/// The namespace of a directory, as recorded in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    identity: Identity,
    /// The number of the file in /proc/PID/ns, to find out whether the namespace still exists.
    inode: Option<u64>,
}

impl Record {
    fn of(place: &Place) -> Self {
        Self { identity: place.identity.clone(), inode: place.inode }
    }

    fn read(directory: &Directory) -> Option<Self> {
        /// More than a record ever has.
        const LIMIT: u64 = 4096;
        let mut text = Vec::new();
        directory.open_file(RECORD).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Returns whether it is the record of this namespace. Without a cookie the number of the file decides.
    fn is_of(&self, place: &Place) -> bool {
        self.identity == place.identity && (place.identity.namespace.is_some() || self.inode == place.inode)
    }
}

/// A directory that was found by its record or by its name.
pub(super) struct Found {
    pub(super) name: String,
    /// `None` if it does not exist.
    pub(super) directory: Option<Directory>,
    record: Option<Record>,
}

impl Found {
    fn named(state: Option<&Directory>, name: String) -> anyhow::Result<Self> {
        let directory = state.map(|state| open_folder(state, &name, false)).transpose()?.flatten();
        let record = directory.as_ref().and_then(Record::read);
        Ok(Self { name, directory, record })
    }

    /// Returns whether the directory exists and is that of this namespace.
    pub(super) fn is_of(&self, place: &Place) -> bool {
        self.record.as_ref().is_some_and(|record| record.is_of(place))
    }

    /// Returns the reason why the entries in the directory are of another table.
    pub(super) fn origin(&self, place: &Place) -> Origin {
        place.identity.origin(self.record.as_ref().map(|record| &record.identity))
    }
}

/// Finds the directory of a namespace by its record, or else by its name. The name is `init` for the namespace of
/// process 1, `netns-NAME` for a namespace of `ip netns`, otherwise `cookie-NUMBER`.
pub(super) fn find(state: Option<&Directory>, place: &Place, namespace: Option<&Namespace>) -> anyhow::Result<Found> {
    let is_unique = place.identity.boot.is_some() && place.identity.namespace.is_some();
    if let Some(state) = state.filter(|_| is_unique) {
        for name in folder_names(state) {
            // A directory that cannot be read has no known namespace. It is an error only if its name is used.
            let Ok(found) = Found::named(Some(state), name) else { continue };
            if found.is_of(place) {
                return Ok(found);
            }
        }
    }
    let found = Found::named(state, name_of(place, namespace))?;
    if is_in_use(&found, place) { Found::named(state, number_of(place)) } else { Ok(found) }
}

/// Returns whether the directory belongs to another namespace of this boot that still exists, although its name was
/// given to a new one.
fn is_in_use(found: &Found, place: &Place) -> bool {
    let (Some(record), Some(directory)) = (&found.record, &found.directory) else { return false };
    found.name != FIRST
        && place.identity.origin(Some(&record.identity)) == Origin::OtherNamespace
        && (has_locked_mark(directory)
            || record.inode != place.inode && record.inode.is_some_and(|inode| Living::scan().has(inode) == Some(true)))
}

fn name_of(place: &Place, namespace: Option<&Namespace>) -> String {
    if place.is_first {
        return FIRST.into();
    }
    /// NAME_MAX, the maximum length of a file name.
    const LONGEST: usize = 255;
    if let Some(Namespace::Name(name)) = namespace {
        let named = format!("netns-{name}");
        return if named.len() <= LONGEST { named } else { number_of(place) };
    }
    for named in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if place.inode.is_some() && fs::metadata(named.path()).ok().map(|found| found.ino()) == place.inode {
            return format!("netns-{}", named.file_name().to_string_lossy());
        }
    }
    number_of(place)
}

fn number_of(place: &Place) -> String {
    match (place.identity.namespace, place.inode) {
        (Some(cookie), _) => format!("cookie-{cookie}"),
        (None, Some(inode)) => format!("inode-{inode}"),
        (None, None) => "unknown".into(),
    }
}

/// Creates the directory of a namespace, or takes over the directory of an earlier one with the same name. Directories
/// of namespaces that have ended are removed. The file `.lock` in the state directory is locked meanwhile, so that a
/// namespace does not get two directories.
///
/// Returns the directory, and the origin of its entries if it was taken over.
pub(super) fn settle(
    state: &Directory,
    place: &Place,
    namespace: Option<&Namespace>,
    wait: Duration,
) -> anyhow::Result<(Directory, Option<Origin>)> {
    // Not the directory itself: every user who can open it could lock it.
    let path = text::path(state.path());
    let lock = open_lock(state, STATE_LOCK).with_context(|| format!("cannot lock {path}"))?;
    lock_in_time(&lock, &path, wait)?;
    let found = find(Some(state), place, namespace)?;
    let existed = found.directory.is_some();
    let origin = found.origin(place);
    let is_settled = found.is_of(place);
    let directory = match found.directory {
        Some(directory) => directory,
        None => open_folder(state, &found.name, true)?.context("the new directory was removed")?,
    };
    if is_settled {
        return Ok((directory, None));
    }
    directory.replace(RECORD, &serde_json::to_vec(&Record::of(place))?, None)?;
    remove_ended(state, &found.name, place);
    Ok((directory, existed.then_some(origin)))
}

/// Returns the names that directories of journals have.
fn folder_names(state: &Directory) -> Vec<String> {
    let is_folder =
        |name: &String| name == FIRST || ["netns-", "cookie-", "inode-"].iter().any(|prefix| name.starts_with(prefix));
    let names = state.names().unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.filter(is_folder).collect();
    names.sort_unstable();
    names
}

/// Removes the directories of namespaces that have ended, except for `keep` and for the last [`MAX_UNUSED`] of earlier
/// boots with a name. Errors are ignored: a directory that is left takes room, but does no harm.
fn remove_ended(state: &Directory, keep: &str, place: &Place) {
    let (mut living, mut unused) = (None, Vec::new());
    let mut exists = |inode| living.get_or_insert_with(Living::scan).has(inode);
    for name in folder_names(state).into_iter().filter(|name| name != keep && name != FIRST) {
        let Ok(Some(directory)) = open_folder(state, &name, false) else { continue };
        let record = Record::read(&directory);
        if has_ended(&name, record.as_ref(), place, &mut exists) {
            remove(state, &name, &directory);
        } else if is_unused(&name, record.as_ref(), place) {
            // Changed when a plan begins or ends.
            unused.push((fstat(&directory).map_or((0, 0), |found| (found.st_mtime, found.st_mtime_nsec)), name));
        }
    }
    unused.sort_unstable();
    let excess = unused.len().saturating_sub(MAX_UNUSED);
    for (_, name) in unused.into_iter().take(excess) {
        if let Ok(Some(directory)) = open_folder(state, &name, false) {
            remove(state, &name, &directory);
        }
    }
}

/// Returns whether a directory is of an earlier boot, and no namespace of `ip netns` has its name now.
fn is_unused(name: &str, record: Option<&Record>, place: &Place) -> bool {
    let origin = place.identity.origin(record.map(|record| &record.identity));
    let is_free = |name| fs::exists(Path::new("/run/netns").join(name)).is_ok_and(|exists| !exists);
    origin == Origin::EarlierBoot && name.strip_prefix("netns-").is_some_and(is_free)
}

/// Returns whether the namespace of a directory has certainly ended.
fn has_ended(name: &str, record: Option<&Record>, place: &Place, exists: &mut impl FnMut(u64) -> Option<bool>) -> bool {
    let Some(record) = record else { return false };
    match place.identity.origin(Some(&record.identity)) {
        // After a reboot a namespace can get its name again, but not its number.
        Origin::EarlierBoot => !name.starts_with("netns-"),
        // The kernel gives the number of a namespace only to one namespace at a time.
        Origin::OtherNamespace => {
            record.inode.is_some_and(|inode| place.inode == Some(inode) || exists(inode) == Some(false))
        }
        Origin::ThisTable | Origin::Unknown => false,
    }
}

/// Removes a directory, unless a process uses it.
fn remove(state: &Directory, name: &str, directory: &Directory) {
    let Ok(Some(_lock)) = Lock::attempt(directory) else { return };
    if has_locked_mark(directory) {
        return;
    }
    for file in directory.names().unwrap_or_default() {
        let _ = directory.remove(file);
    }
    let _ = unlinkat(state, name, AtFlags::REMOVEDIR);
}

/// Returns whether a rollback timer or a drain is running.
fn has_locked_mark(directory: &Directory) -> bool {
    let names = directory.names().unwrap_or_default().into_iter().filter_map(|name| name.into_string().ok());
    names
        .filter(|name| name.ends_with(super::folder::TIMER) || name.ends_with(super::folder::DRAINING))
        .any(|name| directory.open_file(name).is_ok_and(|file| is_locked(&file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::Place as TestPlace;

    const WAIT: Duration = Duration::from_secs(5);

    fn place(boot: &str, cookie: u64) -> Place {
        let identity = Identity { boot: Some(boot.into()), namespace: Some(cookie) };
        // No namespace has this number.
        Place { identity, is_first: false, inode: Some(cookie) }
    }

    fn named(name: &str) -> Option<Namespace> {
        Some(Namespace::Name(name.into()))
    }

    /// Creates or takes over a directory and returns its name, and the origin of its entries.
    fn settled(state: &Directory, place: &Place, namespace: Option<Namespace>) -> (String, Option<Origin>) {
        let (directory, origin) = settle(state, place, namespace.as_ref(), WAIT).unwrap();
        (directory.path().file_name().unwrap().to_str().unwrap().to_owned(), origin)
    }

    #[test]
    fn a_namespace_with_two_names_has_one_directory() {
        let state = TestPlace::new("two-names");
        let state = state.directory();
        assert_eq!(settled(&state, &place("a", 1), named("blue")), ("netns-blue".into(), None));
        assert_eq!(settled(&state, &place("a", 1), named("azure")), ("netns-blue".into(), None));
        assert_eq!(settled(&state, &place("a", 1), None), ("netns-blue".into(), None));
        assert_eq!(find(Some(&state), &place("a", 1), None).unwrap().name, "netns-blue");
    }

    #[test]
    fn a_name_that_is_too_long_for_a_directory_is_replaced_by_the_number() {
        let test = TestPlace::new("long-name");
        let state = test.directory();
        let longest = "n".repeat(249);
        assert_eq!(settled(&state, &place("a", 1), named(&longest)).0, format!("netns-{longest}"));
        assert_eq!(settled(&state, &place("a", 2), named(&"n".repeat(250))).0, "cookie-2");
    }

    #[test]
    fn the_first_namespace_has_a_fixed_name() {
        let state = TestPlace::new("first");
        let state = state.directory();
        let first = |boot| Place { is_first: true, ..place(boot, 1) };
        assert_eq!(settled(&state, &first("a"), None), (FIRST.into(), None));
        assert_eq!(settled(&state, &first("b"), None), (FIRST.into(), Some(Origin::EarlierBoot)));
        assert_eq!(settled(&state, &first("b"), None), (FIRST.into(), None));
    }

    #[test]
    fn a_new_namespace_of_the_same_name_takes_over() {
        let state = TestPlace::new("same-name");
        let state = state.directory();
        settled(&state, &place("a", 1), named("blue"));
        assert!(!find(Some(&state), &place("a", 2), named("blue").as_ref()).unwrap().is_of(&place("a", 2)));
        assert_eq!(settled(&state, &place("b", 1), named("blue")), ("netns-blue".into(), Some(Origin::EarlierBoot)));
        assert!(find(Some(&state), &place("b", 1), None).unwrap().is_of(&place("b", 1)));
    }

    #[test]
    fn a_directory_in_use_is_not_taken_over() {
        let state = TestPlace::new("in-use");
        let state = state.directory();
        settled(&state, &place("a", 1), named("blue"));
        let timer = state.subdirectory("netns-blue", false).unwrap().create("000001.timer").unwrap();
        rustix::fs::flock(&timer, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(settled(&state, &place("a", 2), named("blue")), ("cookie-2".into(), None));
    }

    #[test]
    fn a_directory_without_a_record_is_taken_over() {
        let state = TestPlace::new("no-record");
        let state = state.directory();
        state.subdirectory("netns-blue", true).unwrap();
        assert_eq!(settled(&state, &place("a", 1), named("blue")), ("netns-blue".into(), Some(Origin::Unknown)));
    }

    #[test]
    fn directories_of_ended_namespaces_are_removed() {
        let gone = &mut |_| Some(false);
        let here = place("b", 1);
        let record = |boot, cookie| Some(Record::of(&place(boot, cookie)));
        for (name, record, ended) in [
            ("cookie-7", record("a", 7), true),
            ("netns-blue", record("a", 7), false),
            ("netns-blue", record("b", 7), true),
            ("cookie-1", record("b", 1), false),
            ("netns-blue", None, false),
            ("inode-7", None, false),
            ("cookie-7", None, false),
        ] {
            assert_eq!(has_ended(name, record.as_ref(), &here, gone), ended, "{name} {record:?}");
        }
        for exists in [Some(true), None] {
            assert!(!has_ended("netns-blue", record("b", 7).as_ref(), &here, &mut |_| exists));
        }
    }

    #[test]
    fn directories_of_an_earlier_boot_are_removed_unless_locked() {
        let test = TestPlace::new("removed-folders");
        let state = test.directory();
        for cookie in [1, 2] {
            // Without a number, it is not known that the namespaces have ended.
            settled(&state, &Place { inode: None, ..place("a", cookie) }, None);
        }
        state.create("unrelated").unwrap();
        let lock = Lock::attempt(&state.subdirectory("cookie-1", false).unwrap()).unwrap();
        settled(&state, &place("b", 3), None);
        let mut names = state.names().unwrap();
        names.sort();
        assert_eq!(names, [STATE_LOCK, "cookie-1", "cookie-3", "unrelated"]);
        drop(lock);
    }

    #[test]
    fn unused_directories_of_earlier_boots_are_limited() {
        let test = TestPlace::new("unused-folders");
        let state = test.directory();
        let record = serde_json::to_vec(&Record::of(&place("a", 7))).unwrap();
        let start = std::time::SystemTime::UNIX_EPOCH;
        for number in 0..MAX_UNUSED as u64 + 2 {
            // The last ones are the first of the alphabet.
            let name = format!("netns-{:03}", 999 - number);
            state.subdirectory(&name, true).unwrap().replace(RECORD, &record, None).unwrap();
            let opened = fs::File::open(test.path().join(name)).unwrap();
            opened.set_modified(start + Duration::from_secs(number)).unwrap();
        }
        let _lock = Lock::attempt(&state.subdirectory("netns-998", false).unwrap()).unwrap();
        fs::File::open(test.path().join("netns-998")).unwrap().set_modified(start).unwrap();
        settled(&state, &place("b", 1), named("blue"));
        let names = folder_names(&state);
        assert_eq!(names.len(), MAX_UNUSED + 2, "{names:?}");
        for (name, is_left) in [("netns-999", false), ("netns-998", true), ("netns-997", true), ("netns-blue", true)] {
            assert_eq!(names.contains(&name.to_owned()), is_left, "{name}");
        }
        // The name is given again, and the directory is taken over.
        assert_eq!(settled(&state, &place("b", 2), named("997")), ("netns-997".into(), Some(Origin::EarlierBoot)));
    }
}
