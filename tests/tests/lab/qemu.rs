//! Tests of guests under QEMU.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipvs_tests::guest::protocol::End;
use ipvs_tests::host::kernel::Kernel;
use ipvs_tests::host::qemu::{Cloud, KEEPER, Machine};
use ipvs_tests::host::uml::{Boot, Guest};
use ipvs_tests::wait;
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let qemu = |name, test| trial(name, test).with_kind("needs qemu-system-x86").with_ignored_flag(true);
    vec![
        qemu("qemu_guest_has_its_processors", qemu_guest_has_its_processors),
        qemu("qemu_guest_counts_instructions", qemu_guest_counts_instructions),
        trial("kept_process_ends_with_its_keeper", kept_process_ends_with_its_keeper),
    ]
}

pub(crate) fn print_processors() {
    println!("{}", std::thread::available_parallelism().unwrap());
}

/// Prints the nanoseconds for the same work, three times.
pub(crate) fn print_times() {
    for _ in 0..3 {
        let start = Instant::now();
        let mut sum = 0_u64;
        for number in 0..1_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
        println!("{}", start.elapsed().as_nanos());
    }
}

fn output_of(machine: Machine, job: &str) -> String {
    let kernel = Kernel::Cloud(Cloud::find(machine).unwrap());
    let mut guest = Guest::boot(&kernel, &Boot::default()).unwrap();
    let mut output = Vec::new();
    let end = guest.run(job, Duration::from_secs(60), |bytes| output.extend_from_slice(bytes)).unwrap();
    let output = String::from_utf8(output).unwrap();
    assert_eq!(end, End::Exit(0), "{output}");
    output
}

fn qemu_guest_has_its_processors() {
    assert_eq!(output_of(Machine::new().processors(2), "prints_processors"), "2\n");
}

fn qemu_guest_counts_instructions() {
    let output = output_of(Machine::new().counting(), "prints_times");
    let times: Vec<f64> = output.lines().map(|line| line.parse().unwrap()).collect();
    // An instruction counts as a nanosecond, and each of a million rounds has some. Interrupts of the guest are
    // counted, too.
    let (least, most) = (times.iter().copied().fold(f64::MAX, f64::min), times.iter().copied().fold(0.0, f64::max));
    assert!(most / least < 1.02 && least > 4e6 && most < 1e9, "{times:?}");
}

fn kept_process_ends_with_its_keeper() {
    let (inherited, own) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let mut keeper = Command::new(std::env::current_exe().unwrap());
    keeper.arg0(KEEPER).arg(inherited.as_raw_fd().to_string()).args(["sleep", "1000"]);
    let mut keeper = keeper.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(keeper.try_wait().unwrap(), None, "the keeper runs as long as the other end is open");
    drop(own);
    wait::until(Duration::from_secs(30), || match keeper.try_wait().unwrap() {
        Some(status) if !status.success() => Ok(()),
        status => Err(format!("{status:?}")),
    });
}
