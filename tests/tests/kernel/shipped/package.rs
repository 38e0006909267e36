//! The Debian package, installed in the guest: the file system of the host with a writable layer on top.
//!
//! `ipvsadm-rs/dist/package` builds the package. `apt-get download ipvsadm` in the same directory fetches the one it
//! replaces.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::{ok, run, run_command, shell};

ipvs_tests::tests! {
    installs_and_purges, needs = "dpkg-dev", seconds = 120;
    maintainer_scripts_run_in_any_environment, needs = "dpkg-dev", seconds = 120;
    satisfies_dependencies_on_ipvsadm, needs = "dpkg-dev", seconds = 120;
    satisfies_dependency_of_ldirectord, needs = "dpkg-dev", needs = "ldirectord", seconds = 120;
    replaces_debians_ipvsadm, needs = "dpkg-dev", seconds = 120;
    keeps_rules_that_were_never_loaded, needs = "dpkg-dev", seconds = 120;
    describes_itself_and_knows_its_files, needs = "dpkg-dev", seconds = 120;
    is_replaced_by_debians_ipvsadm, needs = "dpkg-dev", seconds = 120;
}

const RULES: &str = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n";

/// Removes both packages and installs this project's.
pub(super) fn install() {
    clean();
    dpkg(&["-i", &ours()]);
}

/// Removes Debian's ipvsadm, which may be installed as a recommendation, and marks the machine as booted.
fn clean() {
    let _ = fs::remove_file("/usr/sbin/policy-rc.d");
    let _ = fs::remove_file("/usr/sbin/runlevel");
    // man-db would index all manual pages for every package.
    let _ = fs::remove_file("/var/lib/man-db/auto-update");
    fs::write("/usr/sbin/runlevel", "#!/bin/sh\necho N 2\n").unwrap();
    ok("chmod 755 /usr/sbin/runlevel");
    dpkg(&["--purge", "--force-depends", "ipvsadm", "ipvsadm-rs"]);
}

fn dpkg(words: &[&str]) -> String {
    let mut command = Command::new("dpkg");
    command.arg("--force-unsafe-io").args(words).env("DEBIAN_FRONTEND", "noninteractive");
    run_command(&mut command, Duration::from_secs(60)).expect("dpkg runs").ok()
}

fn ours() -> String {
    found(concat!("ipvsadm-rs_", env!("CARGO_PKG_VERSION"), "-"), "Build it with ipvsadm-rs/dist/package.")
}

fn debians() -> String {
    found("ipvsadm_", "Run `apt-get download ipvsadm` in that directory.")
}

/// Returns the path of the package whose file name has this prefix.
fn found(beginning: &str, otherwise: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian");
    let files = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut names = files.map(|file| file.file_name().into_string().expect("UTF-8"));
    let name = names.find(|name| name.starts_with(beginning) && name.ends_with(".deb"));
    let name = name.unwrap_or_else(|| panic!("no {beginning}….deb in {}\n{otherwise}", folder.display()));
    folder.join(name).to_str().expect("UTF-8").to_owned()
}

/// Returns all files in the directories where a package may leave something.
fn files() -> BTreeSet<PathBuf> {
    let folders = [
        "/etc",
        "/usr/sbin",
        "/usr/lib/systemd",
        "/usr/lib/modules-load.d",
        "/usr/lib/ocf",
        "/usr/share/man/man8",
        "/usr/share/bash-completion",
        "/usr/share/zsh",
        "/usr/share/fish",
        "/var/lib/systemd",
    ];
    let found = folders.map(|folder| shell(&format!("find {folder} 2>/dev/null; true")).ok());
    let top = ok("find /usr/lib /usr/share /usr/share/doc /var/lib -maxdepth 1");
    found.iter().flat_map(|text| text.lines()).chain(top.lines()).map(PathBuf::from).collect()
}

fn installs_and_purges() {
    clean();
    // Earlier commands have a history.
    shell("rm -rf /var/lib/ipvsadm-rs").ok();
    let before = files();
    dpkg(&["-i", &ours()]);
    assert_eq!(ok("dpkg --verify ipvsadm-rs"), "");
    assert!(ok("ipvsadm --version").contains("ipvsadm-rs"));
    shell(&format!("printf %s '{RULES}' | /sbin/ipvsadm-restore")).ok();
    assert_eq!(ok("/sbin/ipvsadm-save -n"), RULES);
    ok("ipvsadm-rs set -r 10.0.0.1 --weight 7");
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"] {
        assert!(shell(&format!("zcat /usr/share/man/man8/{name}.8.gz")).ok().contains("\n.TH "), "{name}");
        ok(&format!("bash -n /usr/share/bash-completion/completions/{name}"));
        for file in ["zsh/vendor-completions/_NAME", "fish/vendor_completions.d/NAME.fish"] {
            let text = fs::read_to_string(format!("/usr/share/{}", file.replace("NAME", name))).unwrap();
            assert!(text.contains(name), "{file}");
        }
    }
    assert!(ok("env OCF_ROOT=/usr/lib/ocf /usr/lib/ocf/resource.d/ipvsadm-rs/ipvs meta-data").contains("reload-agent"));
    ok("/etc/init.d/ipvsadm save");
    shell("ipvsadm -C && ipvsadm-rs apply /etc/ipvsadm.rules").ok();
    let table = fs::read_to_string("/proc/net/ip_vs").unwrap();

    dpkg(&["-r", "--force-depends", "ipvsadm-rs"]);
    assert_eq!(fs::read_to_string("/proc/net/ip_vs").unwrap(), table, "removing the package keeps the table");
    let left: Vec<_> = files().difference(&before).cloned().collect();
    let kept = ["/etc/default/ipvsadm", "/etc/init.d/ipvsadm", "/etc/ipvsadm.rules", "/var/lib/ipvsadm-rs"];
    assert!(kept.iter().all(|path| left.contains(&path.into())), "{left:?}");
    ok("/etc/init.d/ipvsadm start");

    dpkg(&["-P", "--force-depends", "ipvsadm-rs"]);
    assert_eq!(files().difference(&before).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

/// dpkg itself refuses an incomplete PATH. Without any, the shell has a default.
fn maintainer_scripts_run_in_any_environment() {
    install();
    for environment in ["", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"] {
        for umask in ["0", "077"] {
            let run = |words: &str| {
                let there = format!("mkdir -p gone && cd gone && rmdir ../gone && umask {umask}");
                let script = format!("/var/lib/dpkg/info/ipvsadm-rs.{words}");
                let ran = shell(&format!("{there} && exec env -i {environment} {script} <&-"));
                assert_eq!(ran.code, Some(0), "{environment}, umask {umask}: {ran}");
            };
            run("postrm remove");
            fs::remove_file("/usr/sbin/ipvsadm").unwrap();
            run("postinst configure");
            run("postinst triggered /etc/ipvsadm.rules");
            assert_eq!(fs::read_link("/usr/sbin/ipvsadm").unwrap(), Path::new("ipvsadm-rs"));
            assert_ne!(shell("ls /etc/rc2.d/*ipvsadm").ok(), "");
        }
    }
}

fn satisfies_dependencies_on_ipvsadm() {
    install();
    fs::create_dir_all("depends/DEBIAN").unwrap();
    let control = "Package: depends\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n\
                   Depends: ipvsadm, ipvsadm (>= 1:1.31)\nDescription: depends on ipvsadm, as ldirectord does\n";
    fs::write("depends/DEBIAN/control", control).unwrap();
    ok("dpkg-deb --build depends depends.deb");
    dpkg(&["-i", "depends.deb"]);
    is_needed_by("depends");
}

fn satisfies_dependency_of_ldirectord() {
    install();
    is_needed_by("ldirectord");
}

/// Checks that our package cannot be removed, since another one depends on it.
fn is_needed_by(package: &str) {
    let ran = run("dpkg -r ipvsadm-rs");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains(&format!("{package} depends on ipvsadm")), "{ran}");
}

fn replaces_debians_ipvsadm() {
    clean();
    // --force-depends: Debian's program needs libraries, but is never started.
    dpkg(&["-i", "--force-depends", &debians()]);
    fs::write("/etc/ipvsadm.rules", RULES).unwrap();
    fs::write("/etc/default/ipvsadm", "AUTO=\"true\"\nDAEMON=\"none\"\n").unwrap();

    dpkg(&["-i", "--force-confold", &ours()]);
    for name in ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"] {
        assert_eq!(fs::read_link(format!("/sbin/{name}")).unwrap(), Path::new("ipvsadm-rs"));
    }
    assert_eq!(fs::read_to_string("/etc/ipvsadm.rules").unwrap(), RULES);
    assert!(fs::read_to_string("/etc/default/ipvsadm").unwrap().starts_with("AUTO=\"true\""));
    let script = fs::read_to_string("/etc/init.d/ipvsadm").unwrap();
    assert!(script.contains("ipvsadm-rs/load-rules"), "{script}");
    assert_eq!(ok("ipvsadm-save -n"), RULES, "AUTO is true");

    // An upgrade of our package does not change the table.
    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7");
    dpkg(&["-i", &ours()]);
    assert_eq!(ok("ipvsadm-save -n"), RULES.replace("-w 1", "-w 7"));

    // Purging the rest of Debian's package deletes the rules file and the links of the init script.
    fs::write("/etc/ipvsadm.rules", RULES.replace("-w 1", "-w 3")).unwrap();
    ok("/etc/init.d/ipvsadm load");
    let printed = dpkg(&["-P", "ipvsadm"]);
    assert!(printed.contains("restored from /var/lib/ipvsadm-rs/loaded.rules"), "{printed}");
    assert_eq!(fs::read_to_string("/etc/ipvsadm.rules").unwrap(), RULES.replace("-w 1", "-w 3"));
    assert_ne!(shell("ls /etc/rc2.d/*ipvsadm").ok(), "");
    assert_eq!(ok("dpkg --verify ipvsadm-rs"), "??5?????? c /etc/default/ipvsadm\n");
    assert_eq!(ok("ipvsadm-save -n"), RULES.replace("-w 1", "-w 3"));
}

/// Without a load, the copy is that of the installation.
fn keeps_rules_that_were_never_loaded() {
    clean();
    dpkg(&["-i", "--force-depends", &debians()]);
    fs::write("/etc/ipvsadm.rules", RULES).unwrap();
    dpkg(&["-i", &ours()]);
    assert_eq!(ok("ipvsadm-save -n"), "", "AUTO is false by default");
    dpkg(&["-P", "ipvsadm"]);
    assert_eq!(fs::read_to_string("/etc/ipvsadm.rules").unwrap(), RULES);

    // A file that is deleted later stays deleted.
    fs::remove_file("/etc/ipvsadm.rules").unwrap();
    dpkg(&["-i", &ours()]);
    assert!(!fs::exists("/etc/ipvsadm.rules").unwrap());
}

fn describes_itself_and_knows_its_files() {
    install();
    let synopsis = ok("dpkg-query --show --showformat=${binary:Summary} ipvsadm-rs");
    assert!(synopsis.ends_with("changes") && synopsis.len() <= 80, "{synopsis}");
    assert_eq!(ok("dpkg --verify ipvsadm-rs"), "");
    for file in ["/usr/lib/ipvsadm-rs/load-rules", "/usr/share/bash-completion/completions/ipvsadm"] {
        shell(&format!("echo '# changed' >> {file}")).ok();
        assert_eq!(ok("dpkg --verify ipvsadm-rs").lines().last(), Some(&*format!("??5??????   {file}")));
        dpkg(&["-i", &ours()]);
    }
    assert!(ok("zcat /usr/share/doc/ipvsadm-rs/changelog.Debian.gz").starts_with("ipvsadm-rs ("));
}

fn is_replaced_by_debians_ipvsadm() {
    install();
    fs::write("/etc/ipvsadm.rules", RULES).unwrap();
    dpkg(&["-r", "--force-depends", "ipvsadm-rs"]);
    dpkg(&["-i", "--force-depends", "--force-confold", &debians()]);
    dpkg(&["-P", "ipvsadm-rs"]);
    assert_eq!(ok("dpkg --verify ipvsadm"), "??5?????? c /etc/ipvsadm.rules\n");
    assert!(fs::symlink_metadata("/sbin/ipvsadm").unwrap().is_file());
    assert_eq!(fs::read_to_string("/etc/ipvsadm.rules").unwrap(), RULES);
    assert_ne!(shell("ls /etc/rc2.d/*ipvsadm").ok(), "");
}
