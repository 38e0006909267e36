//! A few guests that many tests share.
//!
//! A guest is booted when a test needs one and none is idle, up to two (`IPVS_GUESTS`), and then used for test after
//! test. If a guest dies, its test runs once more in another guest. Occasionally, earlier tests are the cause of the
//! crash. A test fails if two guests die during it. If a guest cannot be booted, the first test reports the reason, and
//! all others refer to its report.

use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::Duration;

use crate::guest::protocol::End;
use crate::harness::Test;
use crate::host::kernel::Kernel;
use crate::host::uml::{Boot, Guest};

const NO_GUEST: &str = "no guest: the first test that needed one reports the reason";

/// The guests of a process.
pub struct Pool {
    size: usize,
    show: bool,
    find: Box<dyn Fn() -> anyhow::Result<Kernel> + Send + Sync>,
    kernel: OnceLock<Result<Kernel, String>>,
    state: Mutex<State>,
    freed: Condvar,
    /// The guard that lets the kernel's release be printed only once.
    release_printed: Once,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Guest>,
    /// The number of guests that run a test or are being booted.
    busy: usize,
    /// Whether a test has already reported why no guest could be booted.
    broken: bool,
}

/// A failure of a test, with its report.
enum Failure {
    Test(String),
    /// The death of the guest during the test.
    Dead(String),
}

impl Pool {
    /// Makes a pool of at most `IPVS_GUESTS` guests [default: 2, or 1 on one processor]. None is booted yet.
    pub fn of_usual_size() -> Pool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Pool::of_size(number("IPVS_GUESTS").map_or(cores.min(2), |guests| guests.max(1) as usize))
    }

    /// Makes a pool of at most `size` guests.
    pub fn of_size(size: usize) -> Pool {
        let find = Box::new(Kernel::find);
        Pool {
            size,
            show: false,
            find,
            kernel: OnceLock::new(),
            state: Mutex::default(),
            freed: Condvar::new(),
            release_printed: Once::new(),
        }
    }

    /// Sets the kernel to use instead of that of `IPVS_KERNEL`.
    pub fn with_kernel(self, kernel: Kernel) -> Pool {
        Pool { kernel: Ok(kernel).into(), ..self }
    }

    /// Sets the function that finds the kernel when the first guest is booted.
    pub fn finding(self, find: impl Fn() -> anyhow::Result<Kernel> + Send + Sync + 'static) -> Pool {
        Pool { find: Box::new(find), ..self }
    }

    /// Sets whether the output of tests that pass is printed.
    pub fn showing(self, show: bool) -> Pool {
        Pool { show, ..self }
    }

    /// Returns the maximum number of guests.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Runs a test in a guest. The error is the report of its failure.
    pub fn run(&self, test: &Test) -> Result<(), String> {
        match self.attempt(test) {
            Err(Failure::Dead(report)) => eprintln!("{}: {report}running it once more in another guest", test.name),
            Err(Failure::Test(report)) => return Err(report),
            Ok(()) => return Ok(()),
        }
        self.attempt(test).map_err(|(Failure::Dead(report) | Failure::Test(report))| report)
    }

    fn attempt(&self, test: &Test) -> Result<(), Failure> {
        let mut guest = self.take().map_err(Failure::Test)?;
        let seconds = test.seconds.or_else(|| number("IPVS_TEST_SECONDS")).unwrap_or(120);
        let mut output = Vec::new();
        let end = guest.run(&test.name, Duration::from_secs(seconds), |bytes| output.extend_from_slice(bytes));
        let kernel_log = guest.log_since_last_job();
        let output = String::from_utf8_lossy(&output).into_owned();
        match end {
            Ok(end) => {
                self.give_back(guest);
                let output = verdict(end, output, &kernel_log, seconds).map_err(Failure::Test)?;
                if self.show && !output.is_empty() {
                    println!("---- {} ----\n{output}", test.name);
                }
                Ok(())
            }
            Err(error) => {
                self.give_up();
                drop(guest);
                Err(Failure::Dead(report(output, &error.to_string())))
            }
        }
    }

    /// Ends the idle guests.
    pub fn close(&self) {
        self.lock().idle.clear();
    }

    fn take(&self) -> Result<Guest, String> {
        let mut state = self.lock();
        loop {
            if state.broken {
                return Err(NO_GUEST.to_owned());
            }
            if let Some(guest) = state.idle.pop() {
                state.busy += 1;
                return Ok(guest);
            }
            if state.busy < self.size {
                state.busy += 1;
                drop(state);
                return self.start();
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(&self) -> Result<Guest, String> {
        let kernel = self.kernel.get_or_init(|| (self.find)().map_err(|error| format!("{error:#}")));
        let guest = kernel.as_ref().map_err(Clone::clone).and_then(|kernel| {
            Guest::boot(kernel, &Boot { reference: true, ..Boot::default() }).map_err(|error| format!("{error:#}"))
        });
        if let Ok(guest) = &guest {
            self.release_printed.call_once(|| eprintln!("on Linux {}", guest.release()));
        }
        guest.map_err(|error| {
            let mut state = self.lock();
            state.busy -= 1;
            let first = !std::mem::replace(&mut state.broken, true);
            self.freed.notify_all();
            if first { error } else { NO_GUEST.to_owned() }
        })
    }

    fn give_back(&self, guest: Guest) {
        let mut state = self.lock();
        state.busy -= 1;
        state.idle.push(guest);
        self.freed.notify_one();
    }

    fn give_up(&self) {
        self.lock().busy -= 1;
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verdict(end: End, output: String, kernel_log: &str, seconds: u64) -> Result<String, String> {
    let cause = match end {
        End::Exit(0) => return Ok(output),
        // The panic message is in the output.
        End::Exit(101) => String::new(),
        End::Exit(code) => format!("exit status: {code}"),
        End::Signal(number) => format!("signal: {number}"),
        End::TimedOut => format!("not done after {seconds} s (IPVS_TEST_SECONDS, or `seconds` in the list of tests)"),
    };
    let mut report = report(output, &cause);
    if !kernel_log.is_empty() {
        report += &format!("the kernel log during this test:\n{kernel_log}");
    }
    Err(report)
}

fn report(mut output: String, cause: &str) -> String {
    if !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    if cause.is_empty() { output } else { format!("{output}{cause}\n") }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is not a number")))
}
