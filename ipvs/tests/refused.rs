//! Ignoring a refusal is a warning of the compiler.

// The expectation is an error if the compiler does not warn. This proves the reason of the `compile_fail` example at
// `Refused`, which would also pass for any other error.
#![deny(unfulfilled_lint_expectations)]

use ipvs::{Change, Director, Error, Model, Scheduler, Service, ServiceKey};

fn ignores(director: &mut impl Director, changes: &[Change]) -> Result<(), Error> {
    #[expect(unused_must_use, reason = "this test is about the warning")]
    director.submit(changes)?;
    Ok(())
}

fn reads(director: &mut impl Director, changes: &[Change]) -> Result<(), Error> {
    director.submit(changes)?.into_result()
}

#[test]
fn ignored_refusal_is_a_warning() {
    let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
    let twice = [Change::AddService(service), Change::AddService(service)];
    assert!(ignores(&mut Model::new(), &twice).is_ok(), "the fault that the warning prevents");
    assert!(reads(&mut Model::new(), &twice).is_err());
}
