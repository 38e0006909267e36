//! Going the planned way, and looking whether it led there.

use crate::change::Change;
use crate::director::Director;
use crate::error::Error;
use crate::plan::{Options, Plan, plan};
use crate::state::{Config, InvalidConfig, State};

/// What carrying out a plan has come to.
#[derive(Debug)]
pub struct Applied {
    /// What was planned.
    pub plan: Plan,
    /// What is held now.
    pub after: State,
}

/// Why a director does not hold what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// It could not be asked, or told.
    #[error(transparent)]
    Director(#[from] Error),
    /// No director can hold what is asked for; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    /// Changes were refused, or somebody else has changed something meanwhile.
    #[error("{}", not_arrived(refused, remaining))]
    NotArrived {
        /// What was refused, each with why.
        refused: Vec<(Change, Error)>,
        /// What would still have to be changed.
        remaining: Vec<Change>,
    },
}

fn not_arrived(refused: &[(Change, Error)], remaining: &[Change]) -> String {
    match refused {
        [] => format!(
            "{} more changes would be needed after all were made, beginning with `{}': somebody else is writing, too",
            remaining.len(),
            remaining.first().map_or_else(String::new, Change::to_string)
        ),
        [(_, first), rest @ ..] => format!("{first}{}", if rest.is_empty() { "" } else { ", and more were refused" }),
    }
}

/// Make a director hold what is asked for, as [`plan()`] finds the way, and look whether it does: planned again from what
/// is held then, nothing is left to change.
pub fn apply<D: Director + ?Sized>(
    director: &mut D,
    desired: &Config,
    options: &Options,
) -> Result<Applied, ApplyError> {
    desired.validate()?;
    let before = director.state()?;
    let plan = plan(desired, &before, options);
    carry_out_valid(director, desired, options, before, plan)
}

/// Carry out a plan that was made from `before`, and look whether it led to what is asked for.
pub fn carry_out<D: Director + ?Sized>(
    director: &mut D,
    desired: &Config,
    options: &Options,
    before: State,
    plan: Plan,
) -> Result<Applied, ApplyError> {
    desired.validate()?;
    carry_out_valid(director, desired, options, before, plan)
}

fn carry_out_valid<D: Director + ?Sized>(
    director: &mut D,
    desired: &Config,
    options: &Options,
    before: State,
    plan: Plan,
) -> Result<Applied, ApplyError> {
    if plan.changes.is_empty() {
        return Ok(Applied { plan, after: before });
    }
    drop(before);
    let refused = director.submit(&plan.changes)?;
    let after = director.state()?;
    let remaining = self::plan(desired, &after, options).changes;
    if remaining.is_empty() {
        return Ok(Applied { plan, after });
    }
    let refused = refused.into_iter().map(|(index, error)| (plan.changes[index], error)).collect();
    Err(ApplyError::NotArrived { refused, remaining })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::rules::{Numeric, read_config};

    fn config(rules: &str) -> Config {
        read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config
    }

    /// Somebody who undoes what is done.
    struct Meddler(Model);

    impl Director for Meddler {
        fn state(&mut self) -> Result<State, Error> {
            self.0.state()
        }

        fn submit(&mut self, changes: &[Change]) -> Result<Vec<(usize, Error)>, Error> {
            let refused = self.0.submit(changes)?;
            self.0.submit(&[Change::Flush])?;
            Ok(refused)
        }
    }

    #[test]
    fn arrives() {
        let mut director = Model::new();
        let desired = config("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n");
        let applied = apply(&mut director, &desired, &Options::default()).expect("arrives");
        assert_eq!((applied.plan.changes.len(), applied.after.services.len()), (2, 1));
        let again = apply(&mut director, &desired, &Options::default()).expect("is there");
        assert!(again.plan.changes.is_empty());
    }

    #[test]
    fn doubles_are_refused_before_anything_is_sent() {
        let mut director = Model::new();
        let good = config("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n--start-daemon master\n");
        let double = |double: fn(&mut Config)| {
            let mut config = good.clone();
            double(&mut config);
            config
        };
        for (config, why) in [
            (double(|it| it.services.push(it.services[0].clone())), "TCP 192.0.2.1:80 is asked for twice"),
            (
                double(|it| it.services[0].destinations.extend_from_within(..)),
                "server 10.0.0.1:80 of TCP 192.0.2.1:80 is asked for twice",
            ),
            (
                double(|it| it.daemons = it.daemons.take().map(|one| [one.clone(), one].concat())),
                "the master sync daemon is asked for twice",
            ),
        ] {
            let error = apply(&mut director, &config, &Options::default()).expect_err(why);
            assert_eq!(error.to_string(), why);
        }
        assert_eq!(director.state().expect("a model").services, []);
        assert!(apply(&mut &mut director, &good, &Options::default()).is_ok(), "a borrowed director is one, too");
    }

    #[test]
    fn says_what_was_refused() {
        let desired = config("-A -t 192.0.2.1:80 -s nosuch\n");
        let error = apply(&mut Model::new(), &desired, &Options::default()).expect_err("no such scheduler");
        assert!(
            error.to_string().starts_with("add service TCP 192.0.2.1:80: the kernel has no scheduler nosuch"),
            "{error}"
        );
    }

    #[test]
    fn says_that_somebody_else_writes() {
        let desired = config("-A -t 192.0.2.1:80 -s rr\n");
        let error = apply(&mut Meddler(Model::new()), &desired, &Options::default()).expect_err("undone");
        assert!(error.to_string().ends_with("somebody else is writing, too"), "{error}");
    }
}
