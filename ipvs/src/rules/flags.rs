//! TABLE: the names of scheduler flags.

use super::value_error::{ValueError, text};
use crate::name::Scheduler;
use crate::service::SchedulerFlags;

/// Returns the flags with these names. `sh-port` and `mh-port` are the same bit, each for its own scheduler.
pub(crate) fn read_flags<'n>(
    names: impl Iterator<Item = &'n [u8]>,
    scheduler: Scheduler,
) -> Result<SchedulerFlags, ValueError> {
    let mut flags = SchedulerFlags::empty();
    for name in names {
        let row = FLAGS.iter().find(|row| row.name.as_bytes() == name);
        let row = row.ok_or_else(|| ValueError::UnknownFlag(text(name)))?;
        if row.scheduler.is_some_and(|of| of != scheduler) {
            return Err(ValueError::ForeignFlag(text(name)));
        }
        flags |= row.flag;
    }
    Ok(flags)
}

/// A name of a scheduler flag.
struct FlagRow {
    name: &'static str,
    flag: SchedulerFlags,
    /// The scheduler that the name is for, or `None` if it is for all schedulers.
    scheduler: Option<Scheduler>,
}

/// The names of scheduler flags. The first matching name is written.
const FLAGS: &[FlagRow] = &[
    FlagRow { name: "sh-fallback", flag: SchedulerFlags::FALLBACK, scheduler: Some(Scheduler::SH) },
    FlagRow { name: "sh-port", flag: SchedulerFlags::PORT, scheduler: Some(Scheduler::SH) },
    FlagRow { name: "mh-fallback", flag: SchedulerFlags::FALLBACK, scheduler: Some(Scheduler::MH) },
    FlagRow { name: "mh-port", flag: SchedulerFlags::PORT, scheduler: Some(Scheduler::MH) },
    FlagRow { name: "flag-1", flag: SchedulerFlags::FLAG_1, scheduler: None },
    FlagRow { name: "flag-2", flag: SchedulerFlags::FLAG_2, scheduler: None },
    FlagRow { name: "flag-3", flag: SchedulerFlags::FLAG_3, scheduler: None },
];

/// Returns the names of a scheduler's flags. Bits without a name are skipped.
pub fn flag_names(scheduler: Scheduler, flags: SchedulerFlags) -> impl Iterator<Item = &'static str> {
    let named = move |flag, scheduler| FLAGS.iter().find(|row| row.flag == flag && row.scheduler == scheduler);
    [SchedulerFlags::FLAG_1, SchedulerFlags::FLAG_2, SchedulerFlags::FLAG_3]
        .into_iter()
        .filter(move |flag| flags.contains(*flag))
        .filter_map(move |flag| named(flag, Some(scheduler)).or_else(|| named(flag, None)))
        .map(|row| row.name)
}
