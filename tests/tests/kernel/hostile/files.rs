//! Files and directories: links, mount points, devices, owners, full disks, endless input.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipvs_tests::command::{Ran, ok, run, run_command, shell};

use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    link_in_a_sticky_directory;
    dangling_link_in_a_sticky_directory;
    file_of_another_user_in_a_sticky_directory;
    link_exchanged_during_the_write;
    owner_that_cannot_be_kept;
    mount_point;
    mount_point_in_a_read_only_directory;
    full_disk_keeps_the_old_file;
    killed_process_leaves_nothing;
    leftover_is_removed;
    output_to_an_own_descriptor;
    endless_input_of_verbs;
    endless_input_of_ipvsadm;
    file_names_of_any_bytes;
}

/// An ordinary user.
const USER: u32 = 1000;

/// Runs a command line as [`USER`], with the capability to read the table.
fn shell_as_user(line: &str) -> Ran {
    let capability = "--inh-caps=-all,+net_admin --ambient-caps=+net_admin --bounding-set=-all,+net_admin";
    shell(&format!("setpriv --reuid={USER} --regid={USER} --clear-groups {capability} sh -c '{line}'"))
}

/// Makes a directory like /tmp with a file of root that only root can read.
fn shared_directory_and_victim() {
    fs::create_dir("shared").unwrap();
    fs::set_permissions("shared", fs::Permissions::from_mode(0o1777)).unwrap();
    write("victim", "secret\n");
    fs::set_permissions("victim", fs::Permissions::from_mode(0o600)).unwrap();
}

fn plant_link(target: &str, link: &str) {
    symlink(target, link).unwrap();
    lchown(link, Some(USER), Some(USER)).unwrap();
}

#[track_caller]
fn assert_victim_is_unchanged() {
    let victim = fs::metadata("victim").unwrap();
    assert_eq!(
        (fs::read_to_string("victim").unwrap().as_str(), victim.mode() & 0o7777, victim.uid()),
        ("secret\n", 0o600, 0)
    );
}

/// Calls `act` with the protection of links off and on.
fn with_and_without_protected_symlinks(act: impl Fn()) {
    const SYSCTL: &str = "/proc/sys/fs/protected_symlinks";
    let before = fs::read(SYSCTL).unwrap();
    for value in ["0", "1"] {
        fs::write(SYSCTL, value).unwrap();
        act();
    }
    fs::write(SYSCTL, before).unwrap();
}

/// Returns the names of all files in a directory, in order.
fn names(directory: &str) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn link_in_a_sticky_directory() {
    director(WEB);
    shared_directory_and_victim();
    plant_link("../victim", "shared/rules");
    with_and_without_protected_symlinks(|| {
        let ran = run("ipvsadm-rs save -o shared/rules");
        assert_eq!(ran.code, Some(1), "{ran}");
        assert!(ran.stderr.starts_with("error: cannot write shared/rules: "), "{ran}");
        assert!(ran.stderr.contains("is a symbolic link of user 1000"), "{ran}");
        assert_victim_is_unchanged();
        // A link of root to a link of the user.
        let _ = symlink("shared/rules", "mine");
        assert_eq!(run("ipvsadm-rs save -o mine").code, Some(1));
        assert_victim_is_unchanged();
    });
    assert_eq!(names("shared"), ["rules"]);
    // A link of root is followed.
    symlink("../saved", "shared/of-root").unwrap();
    write("saved", "old");
    ok("ipvsadm-rs save -o shared/of-root");
    assert_eq!(fs::read_to_string("saved").unwrap(), ok("ipvsadm-rs save"));
}

fn dangling_link_in_a_sticky_directory() {
    director(WEB);
    shared_directory_and_victim();
    plant_link("../created", "shared/rules");
    with_and_without_protected_symlinks(|| {
        assert_eq!(run("ipvsadm-rs save -o shared/rules").code, Some(1));
        assert!(!Path::new("created").exists());
    });
}

/// As with fs.protected_regular: the other user could change the rules later.
fn file_of_another_user_in_a_sticky_directory() {
    director(WEB);
    shared_directory_and_victim();
    write("shared/rules", "planted\n");
    lchown("shared/rules", Some(USER), Some(USER)).unwrap();
    let ran = run("ipvsadm-rs save -o shared/rules");
    assert_eq!((ran.code, ran.stderr.contains("is a file of user 1000")), (Some(1), true), "{ran}");
    assert_eq!(fs::read_to_string("shared/rules").unwrap(), "planted\n");
}

/// Another user exchanges a file of root with a link to the victim, as fast as possible.
fn link_exchanged_during_the_write() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    director(WEB);
    shared_directory_and_victim();
    write("shared/rules", "old\n");
    plant_link("../victim", "shared/link");
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, "shared/rules", CWD, "shared/link", RenameFlags::EXCHANGE);
            }
        });
        let codes: Vec<_> = (0..40).map(|_| run("ipvsadm-rs save -o shared/rules").code).collect();
        end.store(true, Ordering::Relaxed);
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    });
    assert_victim_is_unchanged();
}

/// A user who may write to the file of another user cannot make a new file for that user.
fn owner_that_cannot_be_kept() {
    director(WEB);
    fs::create_dir("home").unwrap();
    lchown("home", Some(USER), Some(USER)).unwrap();
    write("home/rules", "old, and long enough to be longer than the table: ".repeat(20).as_str());
    fs::set_permissions("home/rules", fs::Permissions::from_mode(0o666)).unwrap();
    let ran = shell_as_user("ipvsadm-rs save -o home/rules");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stderr.starts_with("note: home/rules was overwritten, not replaced: "), "{ran}");
    assert_eq!(fs::read_to_string("home/rules").unwrap(), ok("ipvsadm-rs save"));
    let file = fs::metadata("home/rules").unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (0, 0, 0o666));
    assert_eq!(names("home"), ["rules"]);
    // The directory cannot be searched.
    fs::create_dir("closed").unwrap();
    fs::set_permissions("closed", fs::Permissions::from_mode(0o700)).unwrap();
    symlink("../closed/rules", "home/link").unwrap();
    let ran = shell_as_user("ipvsadm-rs save -o home/link");
    assert_eq!((ran.code, ran.stderr.contains("Permission denied")), (Some(1), true), "{ran}");
}

fn mount_point() {
    director(WEB);
    write("outside", &"old\n".repeat(1000));
    fs::set_permissions("outside", fs::Permissions::from_mode(0o640)).unwrap();
    write("inside", "");
    shell("mount --bind outside inside").ok();
    let ran = run("ipvsadm-rs save -o inside");
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(0), "note: inside was overwritten, not replaced: it is a mount point\n")
    );
    shell("umount inside").ok();
    assert_eq!(fs::read_to_string("outside").unwrap(), ok("ipvsadm-rs save"));
    assert_eq!(fs::metadata("outside").unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::read_to_string("inside").unwrap(), "");
}

/// The root directory of a container is often read-only.
fn mount_point_in_a_read_only_directory() {
    director(WEB);
    fs::create_dir("etc").unwrap();
    write("etc/rules", "");
    write("etc/other", "old");
    write("outside", "old");
    shell("mount --bind etc etc && mount --bind outside etc/rules && mount -o remount,bind,ro etc").ok();
    let ran = run("ipvsadm-rs save -o etc/rules");
    assert_eq!(ran.code, Some(0), "{ran}");
    assert_eq!(fs::read_to_string("outside").unwrap(), ok("ipvsadm-rs save"));
    let ran = run("ipvsadm-rs save -o etc/other");
    assert_eq!((ran.code, ran.stderr.contains("Read-only file system")), (Some(1), true), "{ran}");
    assert_eq!(fs::read_to_string("etc/other").unwrap(), "old");
}

/// Mounts a file system of 64 KiB, and fills it. Then only a file of 4 KiB fits into it.
fn full_disk() {
    fs::create_dir("disk").unwrap();
    shell("mount -t tmpfs -o size=64k tmpfs disk").ok();
    write("disk/rules", &"old\n".repeat(500));
    shell("cat /dev/zero > disk/zeros; truncate -s -4096 disk/zeros").ok();
}

/// A table whose rules need more room than [`full_disk`] has.
fn large_table() {
    let servers: String = (0..200).map(|i| format!("-a -t 192.0.2.1:80 -r 10.0.1.{i}:8080 -m -w 1\n")).collect();
    director(&format!("-A -t 192.0.2.1:80 -s wrr\n{servers}"));
}

fn full_disk_keeps_the_old_file() {
    large_table();
    full_disk();
    for file in ["disk/rules", "disk/new"] {
        let ran = run(&format!("ipvsadm-rs save -o {file}"));
        assert_eq!((ran.code, ran.stderr.contains("No space left on device")), (Some(1), true), "{ran}");
        assert_eq!(fs::read_to_string("disk/rules").unwrap(), "old\n".repeat(500));
    }
    assert_eq!(names("disk"), ["rules", "zeros"]);
    write("inside", "");
    shell("mount --bind disk/rules inside").ok();
    let ran = run("ipvsadm-rs save -o inside");
    assert_eq!((ran.code, ran.stderr.contains("No space left on device")), (Some(1), true), "{ran}");
    assert_eq!(fs::read_to_string("inside").unwrap(), "old\n".repeat(500));
    // The room that was reserved is free again.
    shell("ipvsadm -D -t 192.0.2.1:80 && ipvsadm -A -f 1 -s rr").ok();
    ok("ipvsadm-rs save -o inside");
    assert_eq!(fs::read_to_string("disk/rules").unwrap(), ok("ipvsadm-rs save"));
}

/// SIGXFSZ kills the process when its file reaches 1 KiB: always in the middle of the write.
fn killed_process_leaves_nothing() {
    large_table();
    fs::create_dir("folder").unwrap();
    write("folder/rules", "old\n");
    let ran = shell("ulimit -f 2; exec ipvsadm-rs save -o folder/rules");
    assert_eq!((ran.code, ran.end.contains("signal: 25")), (None, true), "{ran}");
    assert_eq!(fs::read_to_string("folder/rules").unwrap(), "old\n");
    assert_eq!(names("folder"), ["rules"]);
}

/// Some file systems leave the temporary file of a killed process.
fn leftover_is_removed() {
    director(WEB);
    fs::create_dir("folder").unwrap();
    write("folder/.rules.12345-0.new", "half");
    write("folder/.rules.12346-0.new", "being written");
    write("folder/.rules.new", "something else");
    ok("flock folder/.rules.12346-0.new ipvsadm-rs save -o folder/rules");
    assert_eq!(names("folder"), [".rules.12346-0.new", ".rules.new", "rules"]);
}

fn output_to_an_own_descriptor() {
    director(WEB);
    let rules = ok("ipvsadm-rs save");
    // The links that other machines have in /dev.
    symlink("/proc/self/fd", "fd").unwrap();
    symlink("/proc/self/fd/1", "stdout").unwrap();
    symlink("fd/2", "stderr").unwrap();
    for path in ["stdout", "fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "-"] {
        shell(&format!("{{ echo a; ipvsadm-rs save -o {path}; echo b; }} > file")).ok();
        assert_eq!(fs::read_to_string("file").unwrap(), format!("a\n{rules}b\n"), "{path}");
        assert_eq!(shell(&format!("ipvsadm-rs save -o {path} | cat")).ok(), rules);
    }
    for (path, descriptor) in [("stderr", 2), ("fd/3", 3), ("/proc/self/fd/7", 7)] {
        shell(&format!(
            "{{ echo a >&{descriptor}; ipvsadm-rs save -o {path}; echo b >&{descriptor}; }} {descriptor}> file"
        ))
        .ok();
        assert_eq!(fs::read_to_string("file").unwrap(), format!("a\n{rules}b\n"), "{path}");
    }
    // The descriptor of another process is opened.
    shell("sh -c 'sleep 20' 9> other & child=$!; sleep 0.2; ipvsadm-rs save -o /proc/$child/fd/9; kill $child").ok();
    assert_eq!(fs::read_to_string("other").unwrap(), rules);
    assert!(!Path::new("-").exists());
}

/// Checks the refusal of 3 MB of comments, with a limit of 1 MiB.
#[track_caller]
fn assert_too_long(ran: &Ran, hint: &str) {
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("is longer than 1 MiB\n"), "{ran}");
    assert!(ran.stderr.contains(hint), "{ran}");
}

fn endless_input_of_verbs() {
    director(WEB);
    let before = rules();
    for line in [
        "yes '# x' | head -c 3000000 | ipvsadm-rs --max-input 1M apply -",
        "yes '# x' | head -c 3000000 | ipvsadm-rs apply --max-input 1M /proc/self/fd/0",
        "yes '# x' | head -c 3000000 | IPVSADM_MAX_INPUT=1M ipvsadm-rs apply -",
        "yes '# x' | ipvsadm-rs --max-input 1M check -",
        "ipvsadm-rs plan /dev/zero --max-input 1048576",
        "ipvsadm-rs plan rules --previous /dev/zero --max-input 1M",
        "mkfifo pipe; yes > pipe & ipvsadm-rs check pipe --max-input 1024K",
    ] {
        assert_too_long(&shell(line), "\nTo read more, use --max-input.\n");
        assert_eq!(rules(), before, "{line}");
    }
    ok("ipvsadm-rs --max-input 1K check rules");
    shell("ipvsadm-rs save > saved && cat saved | IPVSADM_MAX_INPUT=1 ipvsadm-rs plan /proc/self/fd/0 --max-input 0")
        .ok();
    for line in ["ipvsadm-rs --max-input 1X check rules", "IPVSADM_MAX_INPUT=many ipvsadm-rs check rules"] {
        let ran = shell(line);
        assert!(ran.code != Some(0) && ran.stderr.contains("a number of bytes"), "{ran}");
    }
}

fn endless_input_of_ipvsadm() {
    director(WEB);
    let before = rules();
    for program in ["ipvsadm -R", "ipvsadm-restore", "ipvsadm-restore --flush"] {
        let ran = shell(&format!("yes '# x' | head -c 3000000 | IPVSADM_MAX_INPUT=1M {program}"));
        assert_too_long(&ran, "\nTo read more, set the environment variable IPVSADM_MAX_INPUT.\n");
        assert_eq!(rules(), before, "{program}");
    }
    // A stream may be endless, but not a line.
    let stream = "(yes '# x' | head -c 3000000; echo -D -t 192.0.2.1:80) | IPVSADM_MAX_INPUT=1K ipvsadm -R --stream";
    shell(stream).ok();
    assert_eq!(rules(), "");
    assert_too_long(
        &shell("head -c 3000000 /dev/zero | IPVSADM_MAX_INPUT=1M ipvsadm -R --stream"),
        "IPVSADM_MAX_INPUT",
    );
}

fn file_names_of_any_bytes() {
    director(WEB);
    let name = OsStr::from_bytes(b"rules\xff\n\x1b");
    for words in [&["save", "-o"][..], &["check"], &["plan"], &["apply"], &["plan", "rules", "--previous"]] {
        let mut command = Command::new("ipvsadm-rs");
        let ran = run_command(command.args(words).arg(name), Duration::from_secs(20)).unwrap();
        assert_eq!(ran.code, Some(0), "{ran}");
    }
    assert_eq!(fs::read_to_string(name).unwrap(), ok("ipvsadm-rs save"));
    let ran =
        run_command(Command::new("ipvsadm-rs").arg("check").arg(OsStr::from_bytes(b"no\xff")), Duration::from_secs(20));
    let ran = ran.unwrap();
    assert_eq!((ran.code, ran.stderr.contains(r"cannot read no\xff: No such file")), (Some(1), true), "{ran}");
}
