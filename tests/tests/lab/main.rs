//! Tests of the test harness: its reports when a test panics, hangs or crashes its guest, and the mirrors that it finds
//! in apt sources.
//!
//! These tests run on the host. Most of the jobs that they send to a guest fail on purpose.

mod qemu;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use ipvs_tests::command::install_script;
use ipvs_tests::entry_points;
use ipvs_tests::harness::Test;
use ipvs_tests::host::kernel::Kernel;
use ipvs_tests::host::pool::Pool;
use ipvs_tests::host::processor::Processor;
use ipvs_tests::host::provision::sources::{Mirror, mirrors};
use ipvs_tests::oracle::diff::diff;
use libtest_mimic::{Arguments, Trial};
use rustix::thread::sched_getaffinity;

fn main() -> ExitCode {
    if let Some(code) = entry_points::run(&jobs()) {
        return code;
    }
    let tests: [(&str, fn()); 14] = [
        ("passing_job", passing_job),
        ("panic_is_reported_with_its_location", panic_is_reported_with_its_location),
        ("error_is_reported", error_is_reported),
        ("abort_is_reported_as_a_signal", abort_is_reported_as_a_signal),
        ("hang_ends_at_the_time_limit", hang_ends_at_the_time_limit),
        ("flood_of_output_is_cut", flood_of_output_is_cut),
        ("stray_process_is_killed", stray_process_is_killed),
        ("dead_guest_is_reported_and_replaced", dead_guest_is_reported_and_replaced),
        ("guest_stays_on_one_processor", guest_stays_on_one_processor),
        ("missing_kernel_is_reported", missing_kernel_is_reported),
        ("kernel_that_does_not_boot_is_reported_once", kernel_that_does_not_boot_is_reported_once),
        ("mirrors_of_a_deb822_file", mirrors_of_a_deb822_file),
        ("mirrors_of_a_one_line_file", mirrors_of_a_one_line_file),
        ("difference_is_shown_with_context", difference_is_shown_with_context),
    ];
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = tests.into_iter().map(trial).chain(qemu::trials()).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    POOL.close();
    conclusion.exit_code()
}

/// Returns the jobs that these guests can run.
fn jobs() -> Vec<Test> {
    vec![
        Test::new("passes", || println!("passed")),
        Test::new("panics", || -> () { panic!("on purpose") }),
        Test::new("errs", || Err::<(), _>(std::io::Error::other("on purpose"))),
        Test::new("aborts", || -> () { std::process::abort() }),
        Test::new("hangs", || {
            println!("before it hangs");
            ipvs_tests::command::ok("sleep 1000");
        })
        .seconds(1),
        Test::new("floods", || {
            for _ in 0..2 << 10 {
                println!("{}", "x".repeat(1023));
            }
        }),
        Test::new("leaves_a_process", || {
            std::process::Command::new("sleep").arg("1000").spawn().map(drop).unwrap();
        }),
        Test::new("finds_no_process", || {
            let commands = ipvs_tests::command::shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout;
            assert!(!commands.contains("sleep"), "{commands}");
        }),
        Test::new("prints_processors", qemu::print_processors),
        Test::new("prints_times", qemu::print_times),
        Test::new("dies", || fs::write("/proc/sysrq-trigger", "c").unwrap()),
    ]
}

/// One guest for all tests.
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::of_size(1));

fn outcome(job: &str) -> Result<(), String> {
    POOL.run(jobs().iter().find(|test| test.name == job).expect("a job"))
}

#[track_caller]
fn assert_report_contains(job: &str, words: &[&str]) {
    let report = outcome(job).unwrap_err();
    for word in words {
        assert!(report.contains(word), "no {word:?} in:\n{report}");
    }
}

fn passing_job() {
    outcome("passes").unwrap();
}

fn panic_is_reported_with_its_location() {
    assert_report_contains("panics", &["on purpose", "panicked at tests/tests/lab/main.rs:"]);
}

fn error_is_reported() {
    assert_report_contains("errs", &["on purpose", "exit status: 1"]);
}

fn abort_is_reported_as_a_signal() {
    assert_report_contains("aborts", &["signal: 6"]);
}

fn hang_ends_at_the_time_limit() {
    assert_report_contains(
        "hangs",
        &["before it hangs", "not done after 1 s", "still running after 1 s", "sleep 1000"],
    );
}

fn flood_of_output_is_cut() {
    outcome("floods").unwrap();
}

fn stray_process_is_killed() {
    outcome("leaves_a_process").unwrap();
    outcome("finds_no_process").unwrap();
}

fn dead_guest_is_reported_and_replaced() {
    assert_report_contains(
        "dies",
        &["the guest died during this test", "Kernel panic - not syncing: sysrq triggered crash"],
    );
    outcome("passes").unwrap();
}

fn guest_stays_on_one_processor() {
    let processors = || sched_getaffinity(None).unwrap();
    let before = processors();
    let meanwhile = Processor::take().unwrap().run(processors).unwrap();
    assert_eq!(meanwhile.count(), 1);
    assert_eq!(processors(), before);
}

fn missing_kernel_is_reported() {
    let error = format!("{:#}", Kernel::select("/nonexistent/linux").unwrap_err());
    assert!(error.contains("IPVS_KERNEL=/nonexistent/linux"), "{error}");
    let error = format!("{:#}", Kernel::select("2.4").unwrap_err());
    assert!(error.contains("6.1, 6.12, 7.2, host"), "{error}");
}

/// The program prints a kernel version, but fails to boot.
fn kernel_that_does_not_boot_is_reported_once() {
    let folder = Folder::new("no-kernel");
    fs::write(folder.0.join("modules.dep"), "").unwrap();
    let program = folder.0.join("linux");
    let text = "#!/bin/sh\n[ $1 = --version ] && echo 9.9 || { echo 'no memory today' >&2; exit 3; }\n";
    install_script(&program, text).unwrap();
    let kernel = Kernel::at_path(&program, Some(&folder.0)).unwrap();
    let pool = Pool::of_size(1).with_kernel(kernel);
    let first = pool.run(&jobs()[0]).unwrap_err();
    for word in ["the guest did not boot", "no memory today", "exit status: 3"] {
        assert!(first.contains(word), "no {word:?} in:\n{first}");
    }
    assert!(pool.run(&jobs()[0]).unwrap_err().starts_with("no guest: the first test"));
}

fn mirrors_of_a_deb822_file() {
    let folder = Folder::new("deb822");
    fs::create_dir(folder.0.join("sources.list.d")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.0.join("sources.list.d").join(name), text).unwrap();
    // An archive of a vendor, with the names of Debian's suite and component.
    write(
        "a.sources",
        "Types: deb\nURIs: https://vendor.example/prod\nSuites: bookworm\nComponents: main\nSigned-By: /v.gpg\n",
    );
    write(
        "debian.sources",
        "Types: deb\n# a remark\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
         Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
         Enabled: no\nTypes: deb\nURIs: http://old.example/debian\nSuites: bookworm\nComponents: main\n",
    );
    let keyring = Some("/usr/share/keyrings/debian-archive-keyring.gpg".to_owned());
    let debian = Mirror { uris: "http://mirror.example/debian".to_owned(), signed_by: keyring };
    let vendor = Mirror { uris: "https://vendor.example/prod".to_owned(), signed_by: Some("/v.gpg".to_owned()) };
    assert_eq!(mirrors(&folder.0), [debian, vendor]);
}

fn mirrors_of_a_one_line_file() {
    let folder = Folder::new("one-line");
    let text = "# deb http://remark.example/debian bookworm main\n\
                deb-src http://source.example/debian bookworm main\n\
                deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian trixie main contrib\n\
                deb http://security.example/debian-security trixie-security main\n\
                deb http://b.example/debian/ stable main # the other one\n\
                deb https://vendor.example/linux trixie stable\n";
    fs::write(folder.0.join("sources.list"), text).unwrap();
    let uris: Vec<String> = mirrors(&folder.0).into_iter().map(|mirror| mirror.uris).collect();
    assert_eq!(uris, ["http://a.example/debian", "http://b.example/debian/"]);
}

fn difference_is_shown_with_context() {
    assert_eq!(diff("a\nb\nc\n", "a\nb\nc\n"), None);
    assert_eq!(diff("a\nb\nc\n", "a\nB\nc\n").unwrap(), "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
    assert!(diff("a", "a\n").unwrap().contains("No newline"));
    // The texts have no common lines, and far more lines than are shown.
    let lines = |letter: &str| (0..20_000).map(|number| format!("{letter}{number}\n")).collect::<String>();
    assert_eq!(diff(&lines("a"), &lines("b")).unwrap().lines().count(), 200);
}

/// A temporary directory.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ipvs-lab-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
