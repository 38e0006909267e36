//! The journal: the changes made in a network namespace, each with the table from before, so that they can be undone.
//!
//! Each namespace has a directory with these files:
//! - `namespace`: the boot and the network namespace that the directory belongs to.
//! - `lock`: locked, together with the directory, by the process that changes the table or the journal. It contains the
//!   name of that process. Readers need no lock, because files are replaced atomically.
//! - `000007.json`: plan 7. The first line is the [`Entry`], the second the table from before.
//! - `000007.spare`: room for the next state of that entry, until the outcome of the plan is recorded.
//! - `000007.timer`: plan 7 is pending. The file is locked by the rollback timer, the process that rolls the plan back.
//!   It is empty until that process is ready, because no change is made before.
//! - `weights`: the weights that `drain` set to 0, so that `undrain` restores them.
//! - `follow.lock`, `follow.good`, `follow.bad`, `follow.status`, `follow.confirmed`: see `follower.rs`.
//! - `000007.draining`: the servers that plan 7 deletes are being drained. The file is locked by that process.
//!
//! The state directory also contains `.lock`, which is locked while such a directory is created.
//!
//! The entry records whether a plan is pending. Only the process that holds `lock` writes an entry. Therefore only one
//! process can confirm, undo or roll back a plan. The rollback timer is an exception: it waits for the lock for a short
//! time only.
//!
//! The entry also records the boot and the network namespace of its table. An entry of another table is history: it is
//! listed, but nothing is undone or rolled back because of it.
//!
//! The directories are used only if no other user could have written them. No symbolic link in them is followed.

pub(crate) mod audit;
mod author;
mod entry;
mod folder;
mod folder_name;
mod follower;
mod identity;
mod living;
mod lock;
#[cfg(test)]
mod mutations;
mod record;
mod room;
mod rule_lines;
mod untrusted;
mod weights;

use std::fmt::Write as _;
use std::ops::Deref;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use ipvs::{Config, Scope, State};

use crate::file::directory::Directory;
#[cfg(test)]
use crate::file::testing;
use crate::terminal::exit::{HeldMessages, print_error};
use author::Author;
use folder::{DRAINING, ENTRY, SPARE, TIMER, name};
use lock::Lock;

use entry::ScopeText;
pub(crate) use entry::{Entry, Pending, Status, inexpressible, rollback_plan, rollback_plan_of_any_table};
pub(crate) use folder::{Folder, Phase};
pub(crate) use follower::FollowerFile;
pub(crate) use identity::Origin;
pub(crate) use lock::{Busy, LockLost, in_time};
pub(crate) use record::{Record, changed_part};
pub(crate) use rule_lines::RuleLines;
pub(crate) use untrusted::Untrusted;
pub(crate) use weights::Remembered;

/// The maximum number of entries.
const MAX_ENTRIES: usize = 100;

/// The maximum number of entries of commands that programs run. They must not replace those of people.
const MAX_MINOR: usize = 50;

/// The maximum total size of the older entries, in bytes. The last entry is kept at any size.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The journal of a namespace, locked until it is dropped. Messages are printed after that.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: Folder,
    /// `None` after [`without_lock`](Self::without_lock).
    lock: Option<Lock>,
    /// Dropped after the lock.
    _messages: HeldMessages,
}

impl Deref for Journal {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

/// Returns whether a command must stop after this error, instead of changing the table without a journal.
pub(crate) fn is_fatal(error: &anyhow::Error) -> bool {
    error.is::<Busy>() || error.is::<Untrusted>() || error.is::<LockLost>()
}

/// A plan that is about to be applied.
pub(crate) struct Intent<'s> {
    /// The command that makes the changes.
    pub(crate) command: &'s str,
    /// The name of the file with the wanted table.
    pub(crate) file: Option<String>,
    /// The services that it may change.
    pub(crate) scope: &'s Scope,
    pub(crate) changes: RuleLines,
    /// The number of the plan that it undoes. `None` if it is not made by `undo`.
    pub(crate) undoes: Option<u64>,
    /// The time limit for confirming the plan. `None` if the plan needs no confirmation.
    pub(crate) confirm_within: Option<Duration>,
}

impl Journal {
    /// Locks the journal. Waits for at most `wait` and then fails with [`Busy`]. Fails with [`Untrusted`] if another
    /// user could have written the journal.
    pub(crate) fn open(mut folder: Folder, wait: Duration) -> anyhow::Result<Self> {
        let start = Instant::now();
        let failed = |folder: &Folder| format!("cannot open the journal {folder}");
        let note = match folder.settle(wait) {
            Err(error) if !is_fatal(&error) => return Err(error.context(failed(&folder))),
            note => note?,
        };
        // Another process may have held both locks.
        let rest = wait.saturating_sub(start.elapsed());
        let lock = match Lock::acquire(folder.directory()?, rest) {
            Err(error) if !is_fatal(&error) => return Err(error.context(failed(&folder))),
            lock => lock?,
        };
        let messages = HeldMessages::new();
        print_error(&note.unwrap_or_default());
        Ok(Self { folder, lock: Some(lock), _messages: messages })
    }

    /// Returns the journal without its lock, for a rollback that must not wait any longer.
    pub(crate) fn without_lock(folder: Folder) -> Self {
        Self { folder, lock: None, _messages: HeldMessages::new() }
    }

    /// Unlocks the table, and returns the directory, which can be locked again.
    pub(crate) fn unlock(self) -> Folder {
        self.folder.clone()
    }

    /// Creates an entry. When this returns, the table from before is on disk, and room for the outcome is reserved.
    ///
    /// Fails with [`LockLost`] if the lock or the network namespace was replaced since the journal was opened. Also fails
    /// if the table has names with control characters, because documents refuse those.
    pub(crate) fn begin(&self, intent: Intent<'_>, before: &State) -> anyhow::Result<Entry> {
        if !self.is_locked() {
            return Err(LockLost(format!("{}/{} was removed or replaced", self.folder, lock::LOCK)).into());
        }
        self.ensure_same_namespace()?;
        let table = Config::from(before);
        // An entry with such a table could not be read again.
        table.validate().context("the table cannot be restored")?;
        let entry = Entry {
            file: intent.file,
            status: Status::Started,
            scope: intent.scope.into(),
            undoes: intent.undoes,
            pending: intent.confirm_within.map(Pending::new),
            first_of_boot: before.services.is_empty() && self.is_first_of_boot(),
            ..self.new_entry(intent.command, intent.changes)?
        };
        let directory = self.directory()?;
        self.prune(directory);
        let created = self.create(directory, &entry, &table);
        if created.is_err() {
            room::remove(directory, entry.number);
        }
        created.with_context(|| format!("cannot write to {}", self.folder))?;
        self.set_begun(entry.number);
        Ok(entry)
    }

    /// Returns the next entry, of a plan that was made.
    fn new_entry(&self, command: &str, changes: RuleLines) -> anyhow::Result<Entry> {
        let last = self.numbers().last().copied().unwrap_or_default();
        Ok(Entry {
            number: last.checked_add(1).context("no plan number is left")?,
            time: now_text(),
            command: command.to_owned(),
            author: Some(Author::of_this_process()),
            file: None,
            repetitions: None,
            is_partial: false,
            status: Status::Applied,
            scope: ScopeText::default(),
            changes,
            undoes: None,
            pending: None,
            error: None,
            table: Some(self.identity().clone()),
            first_of_boot: false,
        })
    }

    /// Returns whether there are plans of an earlier boot, and none of this table.
    fn is_first_of_boot(&self) -> bool {
        let mut is_after_a_boot = false;
        // The last one first: usually it is of this table, and no other has to be read.
        for entry in self.numbers().into_iter().rev().filter_map(|number| self.read(number).ok()) {
            match self.origin(&entry) {
                Origin::ThisTable => return false,
                Origin::EarlierBoot => is_after_a_boot = true,
                Origin::OtherNamespace | Origin::Unknown => {}
            }
        }
        is_after_a_boot
    }

    fn create(&self, directory: &Directory, entry: &Entry, before: &Config) -> anyhow::Result<()> {
        if entry.pending.is_some() {
            directory.create(name(entry.number, TIMER))?;
        }
        Ok(room::create(directory, entry.number, both_lines(entry, before)?)?)
    }

    /// Writes the new state of an entry.
    pub(crate) fn write(&self, entry: &Entry) -> anyhow::Result<()> {
        let directory = self.directory()?;
        let failed = || format!("cannot write {}/{}", self.folder, name(entry.number, ENTRY));
        if self.lock.is_some() && !self.is_locked() {
            print_error(&format!(
                "note: {}/{} was removed or replaced; another program may have changed the table meanwhile",
                self.folder,
                lock::LOCK
            ));
        }
        let is_last = entry.status != Status::Started && entry.pending.is_none();
        let bytes = lines(entry, &self.second_line(entry.number)?)?;
        room::write(directory, entry.number, &bytes, is_last).with_context(failed)?;
        if entry.pending.is_none() {
            let _ = directory.remove(name(entry.number, TIMER));
        }
        if entry.status != Status::Started {
            let _ = directory.remove(name(entry.number, DRAINING));
        }
        Ok(())
    }

    /// Logs the outcome of a plan.
    pub(crate) fn log(&self, entry: &Entry) {
        let outcome = match (entry.status, &entry.pending) {
            (Status::Applied, Some(_)) => "applied, and pending",
            (Status::Applied, None) => "applied",
            (Status::RolledBack | Status::Expired | Status::Undone, _) => "rolled back",
            (Status::Started, _) => "interrupted",
            (Status::RollbackFailed, _) => "rollback failed",
        };
        audit::log_entry(entry, outcome);
    }

    /// Removes an entry whose plan changed nothing.
    pub(crate) fn remove(&self, entry: &Entry) {
        if let Ok(directory) = self.directory() {
            room::remove(directory, entry.number);
        }
    }

    /// Returns whether the lock still has its name.
    fn is_locked(&self) -> bool {
        match (&self.lock, self.directory()) {
            (Some(lock), Ok(directory)) => lock.is_intact(directory),
            _ => false,
        }
    }

    /// Fails if a plan is pending or draining, because a later plan would be confirmed or rolled back together with it,
    /// unnoticed. A plan whose rollback timer has died is no longer pending. Plans of other tables are ignored.
    pub(crate) fn ensure_none_pending(&self) -> anyhow::Result<()> {
        let Some((mut entry, phase)) = self.unfinished() else { return Ok(()) };
        let number = entry.number;
        let left = entry.pending.as_ref().and_then(Pending::left).map(|left| Duration::from_secs(left.as_secs()));
        let left =
            left.map(|left| format!(": rolling back in {}", humantime::format_duration(left))).unwrap_or_default();
        match phase {
            Phase::Draining => {
                let pid = self.drainer(number).map(|holder| format!(" (pid {})", holder.pid)).unwrap_or_default();
                anyhow::bail!(
                    "plan {number} is draining servers{pid}\nWait until it has finished, or run `ipvsadm-rs undo` to roll it back, then try again."
                );
            }
            Phase::Pending => anyhow::bail!(
                "plan {number} is pending{left}\nRun `ipvsadm-rs confirm` to keep it or `ipvsadm-rs undo` to roll it back, then try again."
            ),
            Phase::NeverConfirmed => {}
        }
        print_error(&format!("note: plan {number} was never confirmed, and {TIMER_DIED}; its changes stay"));
        entry.pending = None;
        if let Err(error) = self.write(&entry) {
            print_error(&format!("note: cannot update the journal: {error:#}"));
        }
        Ok(())
    }

    /// Removes the oldest entries, and files left by killed processes.
    fn prune(&self, directory: &Directory) {
        let (mut kept, mut minor, mut bytes) = (0, 0, 0);
        for number in self.numbers().into_iter().rev() {
            let size = directory.metadata(name(number, ENTRY)).map_or(0, |found| found.st_size);
            bytes += u64::try_from(size).unwrap_or_default();
            let is_minor = self.is_minor(number);
            minor += usize::from(is_minor);
            if kept + 1 >= MAX_ENTRIES || (is_minor && minor > MAX_MINOR) || (kept > 0 && bytes > MAX_BYTES) {
                room::remove(directory, number);
            } else {
                kept += 1;
            }
        }
        let is_in_use = |number| self.is_marked(number, TIMER) || self.is_marked(number, DRAINING);
        for ending in [SPARE, DRAINING] {
            for number in self.numbers_with(ending).into_iter().filter(|number| !is_in_use(*number)) {
                let _ = directory.remove(name(number, ending));
            }
        }
        directory.remove_all_leftovers();
    }
}

/// Returns the contents of the file of a new entry.
fn both_lines(entry: &Entry, before: &Config) -> anyhow::Result<Vec<u8>> {
    let mut bytes = lines(entry, &[])?;
    serde_json::to_writer(&mut bytes, before)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns the contents of an entry's file.
fn lines(entry: &Entry, second_line: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(entry)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(second_line);
    Ok(bytes)
}

/// The remark about an unconfirmed plan that will not be rolled back.
pub(crate) const TIMER_DIED: &str = "its rollback timer has died";

/// Formats a time in the form of RFC 3339. Returns an empty text for times after the year 9999.
pub(crate) fn time_text(time: SystemTime) -> String {
    let mut text = String::new();
    let _ = write!(text, "{}", humantime::format_rfc3339_seconds(time));
    text
}

/// Formats the present time.
pub(crate) fn now_text() -> String {
    time_text(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::testing::Place;
    use super::*;
    use crate::terminal::exit::take_held_messages;

    const WAIT: Duration = Duration::from_secs(5);

    fn open(place: &Place) -> Journal {
        Journal::open(Folder::of(place.path(), None).unwrap(), WAIT).unwrap()
    }

    fn begin_within(journal: &Journal, confirm_within: Option<Duration>) -> anyhow::Result<Entry> {
        let service = "-A -t 192.0.2.1:80 -s rr";
        let intent = Intent {
            command: "apply",
            file: None,
            scope: &Scope::default(),
            changes: std::iter::once(service).collect(),
            undoes: None,
            confirm_within,
        };
        journal.begin(intent, &State::default())
    }

    fn begin(journal: &Journal) -> Entry {
        begin_within(journal, None).unwrap()
    }

    fn end(journal: &Journal, entry: &mut Entry, status: Status) {
        entry.end(status);
        journal.write(entry).unwrap();
    }

    /// Returns the path of a file of the only journal.
    fn path_of(place: &Place, name: &str) -> PathBuf {
        let mut found = fs::read_dir(place.path()).unwrap().map(|found| found.unwrap().path());
        found.find(|path| path.is_dir()).unwrap().join(name)
    }

    fn names(journal: &Journal) -> Vec<String> {
        let names = journal.directory().unwrap().names().unwrap();
        let mut names: Vec<String> = names.into_iter().map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn room_is_reserved_until_the_outcome_is_recorded() {
        let place = Place::new("outcome");
        let journal = open(&place);
        let mut entry = begin_within(&journal, Some(WAIT)).unwrap();
        let all = ["000001.json", "000001.spare", "000001.timer", "lock", "namespace"];
        assert_eq!(names(&journal), all);
        entry.done();
        journal.write(&entry).unwrap();
        assert_eq!(names(&journal), all);
        assert_eq!(journal.read(1).unwrap().status, Status::Applied);
        end(&journal, &mut entry, Status::Expired);
        assert_eq!(names(&journal), ["000001.json", "lock", "namespace"]);
        assert_eq!(journal.read(1).unwrap().status, Status::Expired);
        assert_eq!(journal.before(1).unwrap(), Config::from(&State::default()));
    }

    #[test]
    fn a_plan_whose_timer_was_never_ready_changed_nothing() {
        let place = Place::new("ready");
        let journal = open(&place);
        let entry = begin_within(&journal, Some(WAIT)).unwrap();
        assert!(journal.is_unchanged(&entry) && journal.phase(&entry).is_none());
        let timer = journal.lock_timer(entry.number).unwrap();
        assert!(!journal.is_unchanged(&entry), "it is starting");
        Folder::set_ready(&timer, true).unwrap();
        drop(timer);
        assert!(!journal.is_unchanged(&entry));
        assert_eq!(journal.phase(&entry), Some(Phase::NeverConfirmed));
    }

    /// The first wait, for the lock of the state directory, takes three quarters of the time limit.
    #[test]
    fn both_waits_have_one_time_limit() {
        let place = Place::new("time-limit");
        let late = Folder::of(place.path(), None).unwrap();
        let lock = Lock::attempt(open(&place).unlock().directory().unwrap()).unwrap().unwrap();
        let state_lock = place.directory().create(".lock").unwrap();
        rustix::fs::flock(&state_lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            drop(state_lock);
            std::thread::sleep(Duration::from_millis(1700));
            drop(lock);
        });
        assert!(Journal::open(late, Duration::from_secs(2)).unwrap_err().is::<Busy>());
        holder.join().unwrap();
    }

    #[test]
    fn begin_fails_if_the_lock_was_removed() {
        let place = Place::new("begin");
        let journal = open(&place);
        let mut entry = begin(&journal);
        fs::remove_file(path_of(&place, "lock")).unwrap();
        let error = begin_within(&journal, None).unwrap_err();
        assert!(is_fatal(&error) && error.to_string().contains("/lock was removed or replaced while"), "{error}");
        assert_eq!(journal.numbers(), [1]);
        assert!(take_held_messages().is_empty());
        end(&journal, &mut entry, Status::Applied);
        assert!(take_held_messages()[0].contains("another program may have changed the table"));
        assert_eq!(journal.read(1).unwrap().status, Status::Applied);
    }

    /// The kernel accepts control characters in the name of an interface.
    #[test]
    fn begin_fails_if_the_table_cannot_be_restored() {
        let place = Place::new("name");
        let journal = open(&place);
        let daemon = ipvs::SyncDaemon::new(ipvs::Role::Master, "\u{1b}c".parse().unwrap(), 1);
        let mut before = State::default();
        before.daemons.push(daemon);
        let intent = Intent {
            command: "apply",
            file: None,
            scope: &Scope::default(),
            changes: RuleLines::default(),
            undoes: None,
            confirm_within: None,
        };
        let error = format!("{:#}", journal.begin(intent, &before).unwrap_err());
        assert!(error.starts_with("the table cannot be restored: the interface name \"\\u{1b}c\""), "{error}");
        assert_eq!(names(&journal), ["lock", "namespace"]);
    }

    #[test]
    fn begin_leaves_nothing_without_room() {
        let place = Place::new("no-room");
        let journal = open(&place);
        // A directory in place of the file with the reserved room.
        fs::create_dir(path_of(&place, "000001.spare")).unwrap();
        assert!(begin_within(&journal, Some(WAIT)).is_err());
        assert_eq!(names(&journal), ["000001.spare", "lock", "namespace"]);
    }

    #[test]
    fn entries_of_another_table_are_history() {
        let place = Place::new("history");
        let journal = open(&place);
        let mut entry = begin_within(&journal, Some(WAIT)).unwrap();
        entry.done();
        journal.write(&entry).unwrap();
        assert!(journal.unfinished().is_some());
        for table in [
            None,
            Some(identity::Identity { boot: Some("earlier".into()), namespace: journal.identity().namespace }),
            Some(identity::Identity { boot: journal.identity().boot.clone(), namespace: Some(u64::MAX) }),
        ] {
            entry.table = table;
            journal.write(&entry).unwrap();
            // Another process began the plan.
            journal.set_begun(0);
            let read = journal.read(1).unwrap();
            assert!(!journal.is_of_this_table(&read));
            assert!(journal.unfinished().is_none());
            journal.ensure_none_pending().unwrap();
            let why = rollback_plan(&journal, &read, &[]).unwrap_err().to_string();
            assert_eq!(why, format!("plan 1 {}", journal.origin(&read).texts().reason));
            rollback_plan_of_any_table(&journal, &read, &[]).unwrap();
        }
    }

    #[test]
    fn a_draining_plan_blocks_others_until_its_process_ends() {
        let place = Place::new("draining");
        let journal = open(&place);
        let mut entry = begin(&journal);
        let drain = journal.lock_draining(1).unwrap();
        assert!(journal.unfinished().is_some_and(|(entry, phase)| (entry.number, phase) == (1, Phase::Draining)));
        assert_eq!(journal.drainer(1).unwrap().pid, std::process::id());
        let error = journal.ensure_none_pending().unwrap_err().to_string();
        assert!(error.starts_with(&format!("plan 1 is draining servers (pid {})\n", std::process::id())), "{error}");
        begin(&journal);
        assert_eq!(journal.numbers_with(SPARE), [1, 2], "its room is kept");
        end(&journal, &mut entry, Status::Undone);
        assert!(journal.unfinished().is_none());
        drop(drain);
        begin(&journal);
        let drain = journal.lock_draining(3).unwrap();
        drop(drain);
        assert!(journal.unfinished().is_none(), "its process has ended");
        journal.ensure_none_pending().unwrap();
        begin(&journal);
        assert_eq!(journal.numbers_with(DRAINING), [0; 0]);
        assert_eq!(journal.numbers_with(SPARE), [4]);
    }

    #[test]
    fn a_failed_rollback_is_found_until_it_is_undone_or_replaced() {
        let place = Place::new("failed");
        let journal = open(&place);
        for status in [Status::Undone, Status::Applied] {
            let mut failed = begin(&journal);
            end(&journal, &mut failed, Status::RollbackFailed);
            let mut limited = begin(&journal);
            limited.scope = serde_json::from_str(r#"{"only":["fwmark"],"protect":[],"listed_only":false}"#).unwrap();
            end(&journal, &mut limited, Status::Applied);
            assert_eq!(journal.failed_rollback().unwrap().number, failed.number);
            if status == Status::Undone {
                end(&journal, &mut failed, Status::Undone);
            } else {
                let mut next = begin(&journal);
                end(&journal, &mut next, Status::Applied);
            }
            assert!(journal.failed_rollback().is_none());
        }
    }

    /// Without /proc the boot is not known.
    #[test]
    fn the_own_plan_is_of_this_table_without_a_boot() {
        let place = Place::new("no-boot");
        let journal = open(&place);
        let entry = begin(&journal);
        let unknown = Entry { table: None, ..entry.clone() };
        assert_eq!(journal.origin(&unknown), Origin::ThisTable);
        begin(&journal);
        assert_eq!(journal.origin(&unknown), Origin::Unknown);
        assert_eq!(journal.origin(&entry), Origin::ThisTable);
    }

    fn use_entry(folder: &Folder) {
        let Ok(entry) = folder.read(1) else { return };
        let _ = (folder.origin(&entry), entry.is_in_force(), inexpressible(&entry, &[]));
        let _ = rollback_plan_of_any_table(folder, &entry, &[]);
    }

    #[test]
    fn every_damaged_entry_is_read_or_refused() {
        let place = Place::new("damaged");
        let journal = open(&place);
        let mut entry = begin_within(&journal, Some(WAIT)).unwrap();
        end(&journal, &mut entry, Status::Applied);
        drop(journal);
        let path = path_of(&place, "000001.json");
        let bytes = fs::read(&path).unwrap();
        let folder = Folder::of(place.path(), None).unwrap();
        let use_bytes = |bytes: &[u8]| {
            // Ext4 writes a file to disk at once if it was truncated before.
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
            use_entry(&folder);
        };
        for length in 0..bytes.len() {
            use_bytes(&bytes[..length]);
        }
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            use_bytes(&damaged);
        }
        fs::write(&path, bytes).unwrap();
        assert_eq!(folder.read(1).unwrap().status, Status::Applied);
        assert_eq!(folder.before(1).unwrap(), Config::from(&State::default()));
    }

    #[test]
    fn files_that_seem_endless_are_not_read() {
        let place = Place::new("endless");
        let journal = open(&place);
        begin(&journal);
        drop(journal);
        for name in ["000001.json", "namespace"] {
            fs::File::create(path_of(&place, name)).unwrap().set_len(1 << 42).unwrap();
        }
        let folder = Folder::of(place.path(), None).unwrap();
        let error = folder.read(1).unwrap_err().to_string();
        assert!(error.ends_with("000001.json is longer than 1 GiB"), "{error}");
        assert_eq!(begin(&open(&place)).number, 2);
    }

    #[test]
    fn a_journal_is_opened_by_one_process_at_a_time() {
        let place = Place::new("one-at-a-time");
        let journal = open(&place);
        let second = || Journal::open(Folder::of(place.path(), None).unwrap(), Duration::ZERO);
        assert!(second().unwrap_err().is::<Busy>());
        drop(journal);
        second().unwrap();
    }

    #[test]
    fn times_after_the_year_9999_have_no_text() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(300_000_000_000);
        assert_eq!(time_text(far), "");
    }
}
