//! A processor for each guest.
//!
//! With each system call a process of user-mode-linux and its kernel hand over to each other. From one processor to another
//! that takes up to seven times as long, the longer the less the machine has to do.

use std::sync::{Mutex, PoisonError};

use rustix::io::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of the guests that run.
static TAKEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// A guest's processor, until this is dropped.
#[derive(Debug)]
pub struct Processor(usize);

impl Processor {
    /// Of those that this thread may use, the one that the fewest guests are on.
    pub fn take() -> Result<Processor> {
        let allowed = sched_getaffinity(None)?;
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let guests = |processor: &usize| taken.iter().filter(|other| *other == processor).count();
        let free = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).min_by_key(guests);
        let processor = free.unwrap_or_default();
        taken.push(processor);
        Ok(Processor(processor))
    }

    /// Does something on it. A process that is started meanwhile stays there.
    pub fn stay<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
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
