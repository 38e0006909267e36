//! Applies a plan and checks the result.

use crate::change::{Change, Invalid};
use crate::director::Director;
use crate::error::Error;
use crate::plan::{Options, Plan, plan};
use crate::state::{Config, State};
use crate::stats::Counters;

/// The result of a plan that was applied.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The plan.
    pub plan: Plan,
    /// The table after the plan. It is read without counters.
    pub after: State,
}

/// The reason why the desired table was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The table could not be read or written.
    #[error(transparent)]
    Director(#[from] Error),
    /// The desired table is invalid ([`Config::validate`]). Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Changes were refused, or another program has changed the table in the meantime.
    #[error("{}", not_reached(refused, remaining))]
    NotReached {
        /// The refused changes, each with the reason.
        refused: Vec<(Change, Error)>,
        /// The changes that are still missing.
        remaining: Vec<Change>,
    },
}

fn not_reached(refused: &[(Change, Error)], remaining: &[Change]) -> String {
    match refused {
        [] => format!(
            "all changes were made, but {} more are needed, starting with `{}': another program is changing the table",
            remaining.len(),
            remaining.first().map_or_else(String::new, Change::to_string)
        ),
        [(_, first), rest @ ..] => {
            format!("{first}{}", if rest.is_empty() { "" } else { "; more changes were refused" })
        }
    }
}

/// Applies the desired table to a director.
///
/// Plans the changes with [`plan()`], submits them, reads the table again and plans again. The second plan must be
/// empty. Deletions after [`Departing::DrainThenDelete`](crate::plan::Departing::DrainThenDelete) do not count: they
/// are for the next call.
///
/// # Errors
///
/// Fails with [`ApplyError::Invalid`] if [`Config::validate`] fails; then nothing is sent. Fails with
/// [`ApplyError::Director`] if the table cannot be read or written. Fails with [`ApplyError::NotReached`] if the second
/// plan is not empty.
pub fn apply<D: Director + ?Sized>(
    director: &mut D,
    desired: &Config,
    options: &Options,
) -> Result<Applied, ApplyError> {
    desired.validate()?;
    let before = director.state_with(Counters::Skip)?;
    let plan = plan(desired, &before, options);
    apply_plan(director, desired, options, before, plan)
}

/// Applies a plan that was computed from `before`. Unlike [`apply`], it lets the caller inspect the plan first.
///
/// # Errors
///
/// Fails as [`apply`] does.
pub fn apply_plan<D: Director + ?Sized>(
    director: &mut D,
    desired: &Config,
    options: &Options,
    before: State,
    plan: Plan,
) -> Result<Applied, ApplyError> {
    desired.validate()?;
    if plan.changes.is_empty() {
        return Ok(Applied { plan, after: before });
    }
    // Frees the memory before the next state is read: a state can be large.
    drop(before);
    let refused = director.submit(&plan.changes)?;
    let after = director.state_with(Counters::Skip)?;
    // A server may have become idle since. Its deletion is left to the next plan.
    let remaining = self::plan(desired, &after, &options.without_later_deletions()).changes;
    if remaining.is_empty() {
        return Ok(Applied { plan, after });
    }
    let refused = refused.into_iter().map(|(index, error)| (plan.changes[index], error)).collect();
    Err(ApplyError::NotReached { refused, remaining })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::director::Refused;
    use crate::model::Model;
    use crate::rules::{Numeric, read_config};

    fn config(rules: &str) -> Config {
        read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config
    }

    /// A table that another program flushes after every write.
    struct Meddler(Model);

    impl Director for Meddler {
        fn state_with(&mut self, counters: Counters) -> Result<State, Error> {
            self.0.state_with(counters)
        }

        fn submit(&mut self, changes: &[Change]) -> Result<Refused, Error> {
            let refused = self.0.submit(changes)?;
            self.0.flush()?;
            Ok(refused)
        }
    }

    #[test]
    fn reaches_the_desired_table() {
        let mut director = Model::new();
        let desired = config("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n");
        let applied = apply(&mut director, &desired, &Options::default()).expect("applies");
        assert_eq!((applied.plan.changes.len(), applied.after.services.len()), (2, 1));
        let again = apply(&mut director, &desired, &Options::default()).expect("applies again");
        assert!(again.plan.changes.is_empty());
    }

    #[test]
    fn duplicates_are_errors_and_nothing_is_sent() {
        let mut director = Model::new();
        let good = config("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n--start-daemon master\n");
        let double = |double: fn(&mut Config)| {
            let mut config = good.clone();
            double(&mut config);
            config
        };
        for (config, why) in [
            (double(|it| it.services.push(it.services[0].clone())), "TCP 192.0.2.1:80 is defined twice"),
            (
                double(|it| it.services[0].destinations.extend_from_within(..)),
                "server 10.0.0.1:80 of TCP 192.0.2.1:80 is defined twice",
            ),
            (
                double(|it| it.daemons = it.daemons.take().map(|one| [one.clone(), one].concat())),
                "the master sync daemon is defined twice",
            ),
        ] {
            let error = apply(&mut director, &config, &Options::default()).expect_err(why);
            assert_eq!(error.to_string(), why);
        }
        assert_eq!(director.state_with(Counters::Skip).expect("a model").services, []);
        assert!(apply(&mut &mut director, &good, &Options::default()).is_ok(), "works with a borrowed director");
    }

    #[test]
    fn reports_the_refused_change() {
        let desired = config("-A -t 192.0.2.1:80 -s nosuch\n");
        let error = apply(&mut Model::new(), &desired, &Options::default()).expect_err("no such scheduler");
        assert!(
            error.to_string().starts_with("add service TCP 192.0.2.1:80: the kernel has no scheduler nosuch"),
            "{error}"
        );
    }

    #[test]
    fn reports_another_writer() {
        let desired = config("-A -t 192.0.2.1:80 -s rr\n");
        let error = apply(&mut Meddler(Model::new()), &desired, &Options::default()).expect_err("undone");
        assert!(error.to_string().ends_with("another program is changing the table"), "{error}");
    }
}
