//! The weights that servers of mh had before weight 0. The kernel keeps the slots of such servers, and does not report
//! their weights.

use std::collections::HashMap;

use ipvs::estimate::Scheduling;
use ipvs::{DestinationKey, ServiceState};

use crate::context::Context;
use crate::terminal::plural::count;

/// Returns the last weights that `drain` remembers, of the servers for which mh needs them. Empty if the weights cannot
/// be read: then they are as unknown as without `drain`.
pub(super) fn of_drained(state: &ServiceState, context: &Context) -> HashMap<DestinationKey, u32> {
    let mut remembered = HashMap::new();
    let scheduling = Scheduling::new(state);
    let mut unknown = scheduling.unknown_last_weights().peekable();
    // Reading the journal takes time, and most services do not need it.
    if unknown.peek().is_none() {
        return remembered;
    }
    if let Ok(weights) = context.folder().and_then(|folder| folder.remembered()) {
        let weights: HashMap<DestinationKey, u32> = weights.of_service(state.service.key).collect();
        remembered.extend(unknown.filter_map(|server| Some((server, *weights.get(&server)?))));
    }
    remembered
}

/// Returns a note on the weights that were used. `None` if there are none.
pub(super) fn note(remembered: &HashMap<DestinationKey, u32>) -> Option<String> {
    let mut all = remembered.iter();
    let used = match (all.next()?, all.len()) {
        ((server, weight), 0) => format!("{server} before weight 0. {weight} was used, which `drain` remembers"),
        (_, others) => {
            format!("{} before weight 0. Those that `drain` remembers were used", count(others + 1, "server"))
        }
    };
    Some(format!("the kernel does not report the weight of {used}. Another program can have changed it since"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_name_one_server() {
        let key = |last| DestinationKey::from(([10, 0, 0, last], 80));
        assert_eq!(note(&HashMap::new()), None);
        let one = note(&[(key(1), 3)].into()).expect("a note");
        assert!(one.contains("of 10.0.0.1:80 before weight 0. 3 was used, which `drain` remembers."), "{one}");
        let two = note(&[(key(1), 3), (key(2), 3)].into()).expect("a note");
        assert!(two.contains("of 2 servers before weight 0. Those that"), "{two}");
    }
}
