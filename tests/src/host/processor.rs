//! Assigns a processor to each guest.
//!
//! With each system call, a process of user-mode-linux and its kernel switch to each other. Between two processors,
//! this takes up to seven times as long. The difference is largest on an idle machine.

use std::sync::{Mutex, PoisonError};

use rustix::io::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of the running guests, one entry for each guest.
static TAKEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// A guest's processor, until this is dropped.
#[derive(Debug)]
pub struct Processor(usize);

impl Processor {
    /// Takes the processor with the fewest guests, among those that this thread may use.
    pub fn take() -> Result<Processor> {
        let allowed = sched_getaffinity(None)?;
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = |processor: &usize| taken.iter().filter(|other| *other == processor).count();
        let free = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).min_by_key(guests);
        let processor = free.unwrap_or_default();
        taken.push(processor);
        Ok(Processor(processor))
    }

    /// Runs a function on this processor. Processes that it starts stay on this processor.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let all = sched_getaffinity(None)?;
        let mut this = CpuSet::new();
        this.set(self.0);
        sched_setaffinity(None, &this)?;
        let done = work();
        sched_setaffinity(None, &all)?;
        Ok(done)
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = taken.iter().position(|processor| *processor == self.0) {
            taken.swap_remove(place);
        }
    }
}
