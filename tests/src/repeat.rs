//! Repeats an action in a thread.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls `repeated` in a thread until `act` has ended, and at least once. A panic of `act` ends the thread, too.
pub fn repeat_while<T>(mut repeated: impl FnMut() + Send, act: impl FnOnce() -> T) -> T {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            repeated();
            while !is_done.load(Ordering::SeqCst) {
                repeated();
            }
        });
        let acted = catch_unwind(AssertUnwindSafe(act));
        is_done.store(true, Ordering::SeqCst);
        acted.unwrap_or_else(|panic| resume_unwind(panic))
    })
}
