//! What was applied to the table of a namespace, and what was there before: so that it can be undone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use ipvs::document::Document;
use ipvs::plan::Options;
use ipvs::rules::{Command, Lines, Numeric};
use ipvs::{Change, Config, Namespace, Scope, State};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::durable;

/// Entries that are kept.
const KEPT: usize = 100;

/// The journal of a namespace, held for as long as this is.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    _lock: File,
}

/// One applied plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) number: u64,
    /// When it was applied.
    pub(crate) time: String,
    /// What has become of it.
    pub(crate) status: Status,
    /// What could be touched.
    pub(crate) scope: ScopeText,
    /// The changes, as ipvsadm's lines.
    pub(crate) changes: Vec<String>,
    /// The table before.
    pub(crate) before: Document,
    /// The entry that this one took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<u64>,
}

/// What has become of an applied plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Begun; if it stays so, it was cut off.
    Begun,
    /// Carried out.
    Done,
    /// Taken back at once, because something was refused.
    RolledBack,
    /// Taken back because nobody confirmed it.
    Expired,
    /// Taken back by `undo`.
    Undone,
}

/// A scope in writing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ScopeText {
    only: Vec<String>,
    protect: Vec<String>,
    listed: bool,
}

impl From<&Scope> for ScopeText {
    fn from(scope: &Scope) -> Self {
        let texts = |selectors: &[ipvs::Selector]| selectors.iter().map(ToString::to_string).collect();
        Self { only: texts(&scope.only), protect: texts(&scope.protect), listed: scope.listed }
    }
}

impl ScopeText {
    /// The scope for taking back. Services that were added then are not listed in what was before: see [`Entry::way_back`].
    fn to_scope(&self) -> anyhow::Result<Scope> {
        let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
        Ok(Scope { only: read(&self.only)?, protect: read(&self.protect)?, ..Scope::default() })
    }
}

/// A plan that waits for confirmation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The entry's number.
    pub(crate) number: u64,
    /// Until when, for people.
    pub(crate) until: String,
}

impl Journal {
    /// Open the journal of a namespace; `None` is the one this process is in. Fails if another process has it open.
    pub(crate) fn open(state_dir: &Path, namespace: Option<&Namespace>) -> anyhow::Result<Self> {
        let folder = state_dir.join(name_of(namespace)?);
        let failed = || format!("cannot use {}", folder.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(failed)?;
        let lock = File::create(folder.join("lock")).with_context(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("another ipvsadm-rs is changing this table: {} is locked", folder.display())
            }
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// Begin an entry: from here on the table before is on the disk.
    pub(crate) fn begin(
        &self,
        scope: ScopeText,
        changes: Vec<String>,
        before: &State,
        undoes: Option<u64>,
    ) -> anyhow::Result<Entry> {
        let numbers = self.numbers()?;
        let entry = Entry {
            number: numbers.last().map_or(1, |last| last + 1),
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            status: Status::Begun,
            scope,
            changes,
            before: Document::from(before),
            undoes,
        };
        self.write(&entry)?;
        for old in numbers.iter().rev().skip(KEPT) {
            let _ = fs::remove_file(self.path(*old));
        }
        Ok(entry)
    }

    /// Write what has become of an entry.
    pub(crate) fn conclude(&self, entry: &mut Entry, status: Status) -> anyhow::Result<()> {
        entry.status = status;
        self.write(entry)
    }

    /// An entry.
    pub(crate) fn read(&self, number: u64) -> anyhow::Result<Entry> {
        let path = self.path(number);
        let bytes = fs::read(&path).with_context(|| format!("no entry {number}: cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no entry", path.display()))
    }

    /// All entries, the oldest first.
    pub(crate) fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        self.numbers()?.into_iter().map(|number| self.read(number)).collect()
    }

    /// Note that an entry waits for confirmation.
    pub(crate) fn wait_for_confirmation(&self, pending: &Pending) -> anyhow::Result<()> {
        let path = self.pending();
        durable::write(&path, &serde_json::to_vec_pretty(pending)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn write(&self, entry: &Entry) -> anyhow::Result<()> {
        let path = self.path(entry.number);
        durable::write(&path, &serde_json::to_vec_pretty(entry)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:06}.json"))
    }

    fn pending(&self) -> PathBuf {
        pending_in(&self.folder)
    }

    fn numbers(&self) -> anyhow::Result<Vec<u64>> {
        let files = fs::read_dir(&self.folder).with_context(|| format!("cannot read {}", self.folder.display()))?;
        let number =
            |file: io::Result<fs::DirEntry>| file.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut numbers: Vec<u64> = files.filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

impl Entry {
    /// What to plan for to take it back, and how.
    pub(crate) fn way_back(&self) -> anyhow::Result<(Config, Options)> {
        let read = self.before.to_config();
        let (mut config, _) = read.map_err(|problems| anyhow::anyhow!("entry {}: {}", self.number, problems[0]))?;
        let mut scope = self.scope.to_scope()?;
        if self.scope.listed
            && let Some(changes) = self.read_changes()
        {
            limit_to(&changes, &mut config, &mut scope);
        }
        Ok((config, Options { scope, ..Options::default() }))
    }

    /// The changes, unless there is one that the language has no words for.
    fn read_changes(&self) -> Option<Vec<Change>> {
        let text = self.changes.join("\n");
        let mut numeric = Numeric;
        let lines = Lines::new(text.as_bytes(), &mut numeric);
        lines.map(|line| if let Command::Change(change) = line.ok()?.command { Some(change) } else { None }).collect()
    }
}

/// Others have services, too, and change them: only what was touched is taken back.
fn limit_to(changes: &[Change], config: &mut Config, scope: &mut Scope) {
    scope.listed = true;
    scope.former = changes.iter().filter_map(Change::service).collect();
    config.services.retain(|service| scope.former.contains(&service.service.key));
    let any = |which: fn(&Change) -> bool| changes.iter().any(which);
    if !any(|change| matches!(change, Change::SetTimeouts(_))) {
        config.timeouts = None;
    }
    if !any(|change| matches!(change, Change::StartDaemon(_) | Change::StopDaemon(_))) {
        config.daemons = None;
    }
}

fn pending_in(folder: &Path) -> PathBuf {
    folder.join("pending")
}

/// Whoever takes the note of a waiting entry away decides: the one who confirms, or the time. Needs no lock.
pub(crate) fn take_pending(
    state_dir: &Path,
    namespace: Option<&Namespace>,
    number: Option<u64>,
) -> anyhow::Result<Option<Pending>> {
    let path = pending_in(&state_dir.join(name_of(namespace)?));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let pending: Pending = serde_json::from_slice(&bytes).with_context(|| format!("{} is no note", path.display()))?;
    if number.is_some_and(|number| number != pending.number) {
        return Ok(None);
    }
    // A rename succeeds for one of two only.
    match fs::rename(&path, path.with_extension("taken")) {
        Ok(()) => Ok(Some(pending)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot take {}", path.display())),
    }
}

/// The name of a namespace's folder: the name that `ip netns` knows, `init` for that of process 1, else its inode.
fn name_of(namespace: Option<&Namespace>) -> anyhow::Result<String> {
    let path = match namespace {
        None if is_in_first() => return Ok("init".into()),
        None => PathBuf::from("/proc/thread-self/ns/net"),
        Some(Namespace::Pid(pid)) => PathBuf::from(format!("/proc/{pid}/ns/net")),
        Some(Namespace::Path(path)) => path.clone(),
        Some(Namespace::Name(name)) => return Ok(format!("netns-{name}")),
    };
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let this = identity(&path).with_context(|| format!("cannot look at {}", path.display()))?;
    if identity(Path::new("/proc/1/ns/net")).is_ok_and(|init| init == this) {
        return Ok("init".into());
    }
    for named in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        if identity(&named.path()).is_ok_and(|named| named == this) {
            return Ok(format!("netns-{}", named.file_name().to_string_lossy()));
        }
    }
    Ok(format!("inode-{}", this.1))
}

/// Whether this process is in the network namespace of process 1. Only who has all of its capabilities may look at that, a
/// confined service may not; but its files in /proc are there for everybody, each namespace has its own, and the kernel
/// numbers them all.
fn is_in_first() -> bool {
    let number = |path: &str| fs::metadata(path).map(|found| found.ino());
    match (number("/proc/1/net/dev"), number("/proc/thread-self/net/dev")) {
        (Ok(first), Ok(own)) => first == own,
        _ => false,
    }
}
