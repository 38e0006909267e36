//! TABLE: the names of scheduler flags.

use crate::name::Scheduler;
use crate::service::SchedulerFlags;

/// A name that is no flag here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No scheduler has such a flag.
    #[error("invalid scheduler flag `{0}'")]
    Unknown(Box<str>),
    /// Another scheduler has it.
    #[error("incompatible scheduler flag `{0}'")]
    Foreign(Box<str>),
}

fn text(name: &[u8]) -> Box<str> {
    String::from_utf8_lossy(name).into()
}

/// Read scheduler flags, separated by commas, as that scheduler calls them.
pub fn parse_flags(list: &str, scheduler: Scheduler) -> Result<SchedulerFlags, FlagError> {
    read_flags(list.as_bytes().split(|&byte| byte == b',').filter(|name| !name.is_empty()), scheduler)
}

/// The flags of those names, for that scheduler.
pub(crate) fn read_flags<'n>(
    names: impl Iterator<Item = &'n [u8]>,
    scheduler: Scheduler,
) -> Result<SchedulerFlags, FlagError> {
    let mut flags = SchedulerFlags::empty();
    for name in names {
        let row = FLAGS.iter().find(|row| row.name.as_bytes() == name);
        let row = row.ok_or_else(|| FlagError::Unknown(text(name)))?;
        if row.scheduler.is_some_and(|of| of != scheduler) {
            return Err(FlagError::Foreign(text(name)));
        }
        flags |= row.flag;
    }
    Ok(flags)
}

/// A scheduler flag by name.
pub(super) struct FlagRow {
    pub(super) name: &'static str,
    pub(super) flag: SchedulerFlags,
    /// The only scheduler that has it, under this name.
    pub(super) scheduler: Option<Scheduler>,
}

/// Names of scheduler flags. Written is the first that fits.
pub(super) const FLAGS: &[FlagRow] = &[
    FlagRow { name: "sh-fallback", flag: SchedulerFlags::FALLBACK, scheduler: Some(Scheduler::SH) },
    FlagRow { name: "sh-port", flag: SchedulerFlags::PORT, scheduler: Some(Scheduler::SH) },
    FlagRow { name: "mh-fallback", flag: SchedulerFlags::FALLBACK, scheduler: Some(Scheduler::MH) },
    FlagRow { name: "mh-port", flag: SchedulerFlags::PORT, scheduler: Some(Scheduler::MH) },
    FlagRow { name: "flag-1", flag: SchedulerFlags::FLAG_1, scheduler: None },
    FlagRow { name: "flag-2", flag: SchedulerFlags::FLAG_2, scheduler: None },
    FlagRow { name: "flag-3", flag: SchedulerFlags::FLAG_3, scheduler: None },
];

/// The names of scheduler flags, as that scheduler calls them. Bits without a name are left out.
pub fn flag_names(scheduler: Scheduler, flags: SchedulerFlags) -> impl Iterator<Item = &'static str> {
    let named = move |flag, scheduler| FLAGS.iter().find(|row| row.flag == flag && row.scheduler == scheduler);
    [SchedulerFlags::FLAG_1, SchedulerFlags::FLAG_2, SchedulerFlags::FLAG_3]
        .into_iter()
        .filter(move |flag| flags.contains(*flag))
        .filter_map(move |flag| named(flag, Some(scheduler)).or_else(|| named(flag, None)))
        .map(|row| row.name)
}
