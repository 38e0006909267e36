//! The weights of drained servers, also if there is no journal that could remember them.

use ipvs::{Config, DestinationKey, DestinationState, Scheduler, SchedulerFlags, Service, ServiceKey, State};

use crate::context::Context;
use crate::journal::{Remembered, is_fatal};
use crate::plan::transaction::Transaction;

/// The weights from before `drain`, or the reason why they are unknown.
pub(crate) struct OldWeights(anyhow::Result<Remembered>);

impl OldWeights {
    /// Reads the weights. Fails if another user could have written the journal.
    pub(crate) fn read(context: &Context) -> anyhow::Result<Self> {
        match context.folder().and_then(|folder| folder.remembered()) {
            Err(error) if is_fatal(&error) => Err(error),
            read => Ok(Self(read)),
        }
    }

    /// Returns the old weight of a server. `None` if it is unknown.
    pub(crate) fn weight(&self, service: &ServiceKey, server: &DestinationKey) -> Option<u32> {
        self.0.as_ref().ok()?.weight(service, server)
    }

    /// Returns the reason why no old weight is known, as a sentence. `None` if the journal was read.
    pub(crate) fn unknown(&self) -> Option<String> {
        let error = self.0.as_ref().err()?;
        Some(format!("the weights from before `drain` are unknown: {error:#}"))
    }
}

impl From<Remembered> for OldWeights {
    fn from(remembered: Remembered) -> Self {
        Self(Ok(remembered))
    }
}

/// Returns a note for the case that old weights could not be remembered. If there is no journal, another note has the
/// reason.
pub(crate) fn unremembered(transaction: &Transaction, error: &anyhow::Error) -> String {
    let reason = transaction.journal().map(|_| format!(": {error:#}")).unwrap_or_default();
    format!("note: the old weights are not remembered{reason}\n`undrain` needs --weight.")
}

/// Returns the service with the fallback flag, if its scheduler has one.
pub(crate) fn with_fallback(service: &Service) -> Service {
    match service.scheduler {
        Scheduler::SH | Scheduler::MH => Service { flags: service.flags | SchedulerFlags::FALLBACK, ..*service },
        _ => *service,
    }
}

/// Changes a wanted table so that servers drained with `drain` stay drained: they keep weight 0, and their services the
/// fallback flag. Returns the number of these servers.
pub(crate) fn keep_drained(wanted: &mut Config, now: &State, remembered: &Remembered) -> usize {
    let mut kept = 0;
    for wanted in &mut wanted.services {
        let key = wanted.service.key;
        let Some(service) = now.services.iter().find(|service| service.service.key == key) else { continue };
        let drained: Vec<DestinationKey> = remembered.of_service(key).map(|(server, _)| server).collect();
        if drained.is_empty() {
            continue;
        }
        let is_kept = |server: &DestinationKey| {
            let has_no_weight = |state: &&DestinationState| state.destination.weight == 0;
            drained.contains(server)
                && service.destinations.iter().filter(has_no_weight).any(|state| state.destination.key == *server)
        };
        for server in wanted.destinations.iter_mut().filter(|server| is_kept(&server.key)) {
            server.weight = 0;
            kept += 1;
        }
        if remembered.has_fallback(&key) {
            wanted.service = with_fallback(&wanted.service);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::{config, state};

    #[test]
    fn drained_servers_stay_drained() {
        let table = |first: u32, second: u32, flag: &str| {
            format!(
                "-A -t 192.0.2.1:80 -s sh{flag}\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w {first}\n\
                 -a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w {second}\n"
            )
        };
        let wanted = config(&table(5, 6, ""));
        let service = wanted.services[0].service.key;
        let server = wanted.services[0].destinations[0].key;
        let keep = |remembered: &Remembered, now: &str| {
            let mut wanted = wanted.clone();
            let kept = keep_drained(&mut wanted, &state(now), remembered);
            (kept, wanted == config(&table(0, 6, "")), wanted == config(&table(0, 6, " -b sh-fallback")))
        };
        let mut remembered = Remembered::default();
        assert_eq!(keep(&remembered, &table(0, 0, "")), (0, false, false), "set by hand, not with `drain`");
        remembered.insert(service, server, 3);
        assert_eq!(keep(&remembered, &table(0, 6, "")), (1, true, false));
        assert_eq!(keep(&remembered, &table(1, 6, "")), (0, false, false), "undrained in another way");
        remembered.insert_fallback(service);
        assert_eq!(keep(&remembered, &table(0, 6, " -b sh-fallback")), (1, false, true));
    }
}
