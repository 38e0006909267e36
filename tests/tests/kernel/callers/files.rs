//! Callers that save to files and restore from them: Debian's init script, Red Hat's unit, and a pipe.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ipvs_tests::command::install_script;
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::oracle::compare::same;
use ipvs_tests::oracle::diff::diff;
use ipvs_tests::oracle::shell::{self, Outcome};

use super::{Side, table_of};

ipvs_tests::tests! {
    debian_init_script, needs = "sysvinit-utils", seconds = 120;
    red_hat_unit;
    save_piped_into_restore;
}

const RULES: &str = "\
-A -t 10.0.0.1:80 -s wrr -p 360
-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 3
-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 0
-A -u 10.0.0.1:53 -s sh -o -b sh-port
-a -u 10.0.0.1:53 -r 10.1.0.3:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-A -t [2001:db8::1]:80 -s mh -b mh-port,mh-fallback
-a -t [2001:db8::1]:80 -r [2001:db8:1::1]:80 -g -w 1
-A -f 7 -s lc
-A -f 7 -6 -s wlc
";

/// A host with the program of one side.
struct Bench {
    host: Host,
    steps: Vec<Step>,
}

/// A command line, its outcome, and the table after it.
struct Step {
    line: String,
    outcome: Outcome,
    table: String,
}

impl Bench {
    fn new(side: Side) -> Bench {
        side.install();
        let host = Lab::new().unwrap().host(&format!("{side:?}")).unwrap();
        host.link("eth0", "dummy").unwrap();
        host.address("eth0", "10.1.0.9/24").unwrap();
        Bench { host, steps: Vec::new() }
    }

    fn run(&mut self, line: &str) {
        let outcome = self.host.enter(|| shell::run(line, Duration::from_secs(20))).unwrap();
        self.steps.push(Step { line: line.to_owned(), outcome, table: table_of(&self.host) });
    }
}

/// Runs the same on both sides and compares all output and the tables.
fn assert_same_on_both_sides(act: impl Fn(&mut Bench)) {
    let [reference, ours] = Side::BOTH.map(|side| {
        let mut bench = Bench::new(side);
        act(&mut bench);
        bench.steps
    });
    assert_eq!(reference.len(), ours.len());
    for (reference_step, our_step) in reference.iter().zip(&ours) {
        let line = &reference_step.line;
        assert!(
            same(&reference_step.outcome, &our_step.outcome),
            "{line}\nreference: {:#?}\nours: {:#?}",
            reference_step.outcome,
            our_step.outcome
        );
        assert_eq!(diff(&reference_step.table, &our_step.table), None, "{line}: the reference (-) and our program (+)");
    }
}

/// Installs the init script of Debian's package and returns its path.
fn init_script() -> String {
    let package = Ipvsadm::get().dir;
    let roots = package.ancestors().skip(1).take(2);
    let places: Vec<PathBuf> = roots.map(|root| root.join("etc/init.d/ipvsadm")).collect();
    let place = places.iter().find(|place| place.exists());
    let script = fs::read(place.unwrap_or_else(|| panic!("none of {places:?}"))).unwrap();
    let path = "/etc/init.d/ipvsadm";
    install_script(path, script).unwrap();
    path.to_owned()
}

fn configure(auto: bool, daemon: &str) {
    let text = format!("AUTO=\"{auto}\"\nDAEMON=\"{daemon}\"\nIFACE=\"eth0\"\nSYNCID=\"5\"\n");
    fs::create_dir_all("/etc/default").unwrap();
    fs::write("/etc/default/ipvsadm", text).unwrap();
}

fn debian_init_script() {
    let script = init_script();
    assert_same_on_both_sides(|bench| {
        let _ = fs::remove_file("/etc/ipvsadm.rules");
        fs::write("rules", RULES).unwrap();
        configure(true, "both");
        bench.run("ipvsadm -R < rules");
        for verb in ["save", "stop", "start", "status", "rate", "restart"] {
            bench.run(&format!("{script} {verb}"));
            bench.run("cat /etc/ipvsadm.rules");
        }
        // A reload undoes manual changes.
        bench.run("ipvsadm -D -f 7");
        bench.run(&format!("{script} reload"));
        bench.run("ipvsadm -Sn");
        // Errors: daemons that already run or do not run, and a rules file with an invalid line.
        bench.run(&format!("{script} start"));
        configure(false, "backup");
        bench.run(&format!("{script} stop"));
        bench.run(&format!("{script} stop"));
        bench.run(&format!("{script} reload"));
        configure(true, "none");
        bench.run("echo '-A -t nonsense' > /etc/ipvsadm.rules");
        bench.run(&format!("{script} load"));
        bench.run(&format!("{script} start"));
        bench.run(&format!("{script} nonsense"));
    });
}

/// Runs the commands of the unit, such as `ExecStart=/bin/bash -c "exec /sbin/ipvsadm-restore <
/// /etc/sysconfig/ipvsadm"`.
fn red_hat_unit() {
    assert_same_on_both_sides(|bench| {
        fs::create_dir_all("/etc/sysconfig").unwrap();
        fs::write("/etc/sysconfig/ipvsadm", RULES).unwrap();
        bench.run("/bin/bash -c 'exec /sbin/ipvsadm-restore < /etc/sysconfig/ipvsadm'");
        bench.run("/sbin/ipvsadm -Ln");
        bench.run("/sbin/ipvsadm -e -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 5");
        bench.run("/bin/bash -c 'exec /sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm'");
        bench.run("cat /etc/sysconfig/ipvsadm");
        bench.run("/sbin/ipvsadm -C");
        bench.run("/bin/bash -c 'exec /sbin/ipvsadm-restore < /etc/sysconfig/ipvsadm'");
        bench.run("/sbin/ipvsadm -Ln --stats");
    });
}

fn save_piped_into_restore() {
    assert_same_on_both_sides(|bench| {
        fs::write("rules", RULES).unwrap();
        bench.run("ipvsadm -R < rules");
        for line in [
            "ipvsadm-save | ipvsadm-restore",
            "ipvsadm-save -n | ipvsadm-restore",
            "ipvsadm -S | ipvsadm -R",
            "ipvsadm -Sn > saved; ipvsadm -C; ipvsadm -R < saved",
        ] {
            bench.run(line);
        }
    });
}
