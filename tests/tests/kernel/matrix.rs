//! Compares every command with every option, and every option in every spelling, with the reference.

use std::collections::BTreeSet;
use std::fmt::Write;

use ipvs::rules;
use ipvs_tests::harness::Test;
use ipvs_tests::oracle::compare::same;
use ipvs_tests::oracle::diff::diff;
use ipvs_tests::oracle::mask::Mask;
use ipvs_tests::oracle::pair::Side::{Ours, Reference};
use ipvs_tests::oracle::pair::{Pair, SavedTable};

use crate::under_test;

/// The table before each line.
const TABLE: &[u8] = b"\
    -A -t 10.0.0.1:80 -s rr -p 60\n\
    -a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 5\n\
    -a -t 10.0.0.1:80 -r 10.1.0.2:80 -i\n\
    -A -u 10.0.0.1:53 -s sh -b sh-port\n\
    -A --sctp-service 10.0.0.1:9 -s lc\n\
    -A -f 7 -s wlc\n\
    -a -f 7 -r 10.1.0.1:80 -m\n\
    --start-daemon backup --mcast-interface lo\n";

/// Name in messages, spelling, and required options of each command.
const COMMANDS: [(&str, &str, &[Needs]); 14] = [
    ("add-service", "-A", &[Needs::Service]),
    ("edit-service", "-E", &[Needs::Service]),
    ("delete-service", "-D", &[Needs::Service]),
    ("flush", "-C", &[]),
    ("restore", "-R", &[]),
    ("save", "-S", &[]),
    ("add-server", "-a", &[Needs::Service, Needs::Server]),
    ("edit-server", "-e", &[Needs::Service, Needs::Server]),
    ("delete-server", "-d", &[Needs::Service, Needs::Server]),
    ("list", "-L", &[]),
    ("zero", "-Z", &[]),
    ("set", "--set 100 200 300", &[]),
    ("start-daemon", "--start-daemon master --mcast-interface lo", &[]),
    ("stop-daemon", "--stop-daemon backup", &[]),
];

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Service,
    Server,
}

impl Needs {
    fn option(self) -> &'static str {
        match self {
            Needs::Service => "service-address",
            Needs::Server => "real-server",
        }
    }

    fn typed(self) -> &'static str {
        match self {
            Needs::Service => "-t 10.0.0.1:80",
            Needs::Server => "-r 10.1.0.1:80",
        }
    }
}

/// Name in messages, and spellings with values of each option.
const OPTIONS: [(&str, &[&str]); 34] = [
    ("numeric", &["-n"]),
    ("connection", &["-c"]),
    ("service-address", &["-t 10.0.0.1:80", "-u 10.0.0.1:53", "--sctp-service 10.0.0.1:9", "-f 7", "-f 7 -6"]),
    ("scheduler", &["-s rr"]),
    ("persistent", &["-p", "-p 50"]),
    ("netmask", &["-M 255.255.255.0"]),
    ("real-server", &["-r 10.1.0.1:80"]),
    ("forwarding-method", &["-g", "-i", "-m"]),
    ("weight", &["-w 9"]),
    ("u-threshold", &["-x 9"]),
    ("l-threshold", &["-y 0"]),
    ("mcast-interface", &["--mcast-interface lo"]),
    ("timeout", &["--timeout"]),
    ("daemon", &["--daemon"]),
    ("stats", &["--stats"]),
    ("rate", &["--rate"]),
    ("thresholds", &["--thresholds"]),
    ("persistent-conn", &["--persistent-conn"]),
    ("nosort", &["--nosort -t 10.0.0.1:80", "--sort"]),
    ("syncid", &["--syncid 5"]),
    ("exact", &["-X"]),
    ("ops", &["-o"]),
    ("pe", &["--pe sip"]),
    ("sched-flags", &["-b flag-1"]),
    ("mcast-group", &["--mcast-group 224.0.0.9"]),
    ("mcast-port", &["--mcast-port 999"]),
    ("mcast-ttl", &["--mcast-ttl 9"]),
    ("sync-maxlen", &["--sync-maxlen 1400"]),
    ("tun-info", &["--tun-info"]),
    ("tun-type", &["--tun-type gre", "--tun-type gue"]),
    ("tun-port", &["--tun-port 99"]),
    ("tun-nocsum", &["--tun-nocsum"]),
    ("tun-csum", &["--tun-csum"]),
    ("tun-remcsum", &["--tun-remcsum"]),
];

/// Time limit of a test in seconds, on a machine that is busy with other guests.
const SECONDS: u64 = 240;

pub(crate) fn tests() -> Vec<Test> {
    let all = COMMANDS.len() * OPTIONS.len();
    let of = |(at, (name, typed, needs)): (usize, (&'static str, &'static str, &'static [Needs]))| {
        let (first, last) = (at * OPTIONS.len() + 1, (at + 1) * OPTIONS.len());
        let name = format!("{name}-cells-{first}-to-{last}-of-{all}");
        Test::new(format!("matrix::{name}"), move || each_option(&name, typed, needs))
    };
    let mut tests: Vec<Test> = COMMANDS.into_iter().enumerate().map(of).collect();
    tests.push(Test::new("matrix::no-cell-is-missing", no_cell_is_missing));
    tests.push(Test::new("matrix::same-option-twice", same_option_twice));
    tests.push(Test::new("matrix::every-spelling", every_spelling));
    tests.push(Test::new("matrix::two-options-of-a-listing", two_options_of_a_listing));
    tests.into_iter().map(|test| test.seconds(SECONDS)).collect()
}

fn each_option(name: &str, command: &str, needs: &[Needs]) {
    let mut bench = Bench::new();
    let all: Vec<&str> = needs.iter().map(|needs| needs.typed()).collect();
    // Without options, and without the required ones.
    bench.line(&format!("{command} {}", all.join(" ")));
    bench.line(command);
    for (option, spellings) in OPTIONS {
        // A required option is not repeated if it is the one under test.
        let rest: Vec<&str> =
            needs.iter().filter(|needs| needs.option() != option).map(|needs| needs.typed()).collect();
        for typed in spellings {
            bench.line(&format!("{command} {} {typed}", rest.join(" ")));
            bench.line(&format!("{command} {typed}"));
        }
    }
    bench.conclude(name);
}

/// Checks that the tables above contain every command, except [`AT_ONCE`], and every option of ipvsadm 1.31.
fn no_cell_is_missing() {
    let names = rules::program::OPTIONS.iter().filter(|row| !row.beyond_1_31).map(|row| row.name);
    let known: BTreeSet<&str> = names.filter(|name| !name.is_empty()).collect();
    let of_matrix: BTreeSet<&str> = OPTIONS.iter().map(|(name, _)| *name).collect();
    let hint = "add the options of new rows to OPTIONS above, or mark the rows with `.beyond_1_31()`";
    assert_eq!(known, of_matrix, "{hint}");
    let names = rules::program::COMMANDS.iter().filter(|row| !AT_ONCE.contains(&row.long)).map(|row| row.name);
    assert_eq!(names.collect::<BTreeSet<_>>(), COMMANDS.iter().map(|(name, ..)| *name).collect());
    assert_eq!(of_matrix.len() * COMMANDS.len(), 476);
}

/// Commands that act immediately when they are read.
const AT_ONCE: [&str; 2] = ["help", "version"];

fn same_option_twice() {
    let mut bench = Bench::new();
    for (_, spellings) in OPTIONS {
        let typed = spellings[0];
        bench.line(&format!("-L {typed} {typed}"));
        bench.line(&format!("-a -t 10.0.0.1:80 -r 10.1.0.1:80 {typed} {typed}"));
    }
    bench.conclude("twice");
}

/// Tests every pair of options with `-L`. Some exclude each other; of others, the first or the last one wins.
fn two_options_of_a_listing() {
    const LIST: [&str; 13] = [
        "-n",
        "-c",
        "-t 10.0.0.1:80",
        "--timeout",
        "--daemon",
        "--stats",
        "--rate",
        "--thresholds",
        "--persistent-conn",
        "--tun-info",
        "-X",
        "--sort",
        "--syncid 1",
    ];
    let mut bench = Bench::new();
    for one in LIST {
        LIST.into_iter().for_each(|other| bench.line(&format!("-L {one} {other}")));
    }
    bench.conclude("list");
}

/// Tests every option and command as `--long VALUE`, `--long=VALUE`, `-s VALUE`, `-sVALUE` and `-s=VALUE`, and with a
/// missing or superfluous value.
fn every_spelling() {
    use ipvs::rules::program::{COMMANDS, OPTIONS, Value};
    let mut bench = Bench::new();
    let spell = |bench: &mut Bench, before: &str, shorts: &str, long: &str, value: &str| {
        let mut words =
            vec![format!("--{long} {value}"), format!("--{long}={value}"), format!("--{long}"), format!("--{long}=")];
        for letter in shorts.chars() {
            words.extend([format!("-{letter} {value}"), format!("-{letter}{value}"), format!("-{letter}={value}")]);
            words.extend([format!("-{letter}"), format!("-{letter}="), format!("-{letter}=={value}")]);
        }
        words.iter().for_each(|word| bench.line(&format!("{before} {word}")));
    };
    for row in OPTIONS.iter().filter(|row| !row.beyond_1_31) {
        let (command, value) = example(row.long);
        spell(&mut bench, command, row.shorts, row.long, if row.value == Value::None { "" } else { value });
    }
    for row in COMMANDS.iter().filter(|row| !AT_ONCE.contains(&row.long)) {
        spell(&mut bench, "", row.shorts, row.long, if row.value == Value::None { "" } else { "backup" });
    }
    bench.conclude("spellings");
}

/// Returns a command that accepts an option, and a value for the option.
fn example(long: &str) -> (&'static str, &'static str) {
    match long {
        "tcp-service" | "udp-service" | "sctp-service" => ("-A -p", "10.0.0.8:80"),
        "fwmark-service" => ("-A", "9"),
        "ipv6" => ("-A -f 9", ""),
        "scheduler" => ("-A -t 10.0.0.8:80", "wrr"),
        "persistent" => ("-A -t 10.0.0.8:80", "50"),
        "netmask" => ("-A -t 10.0.0.8:80 -p", "255.255.0.0"),
        "pe" => ("-A -u 10.0.0.8:80 -p", "sip"),
        "sched-flags" => ("-A -t 10.0.0.8:80 -s sh", "sh-port,sh-fallback"),
        "ops" => ("-A -u 10.0.0.8:80", ""),
        "real-server" => ("-a -t 10.0.0.1:80", "10.1.0.9:80"),
        "gatewaying" | "ipip" | "masquerading" => ("-a -t 10.0.0.1:80 -r 10.1.0.9", ""),
        "weight" | "u-threshold" | "l-threshold" => ("-a -t 10.0.0.1:80 -r 10.1.0.9 -m -x 50", "7"),
        "tun-type" => ("-a -t 10.0.0.1:80 -r 10.1.0.9 -i", "gre"),
        "tun-port" => ("-a -t 10.0.0.1:80 -r 10.1.0.9 -i --tun-type gue", "77"),
        "tun-nocsum" | "tun-csum" | "tun-remcsum" => ("-a -t 10.0.0.1:80 -r 10.1.0.9 -i --tun-type gre", ""),
        "mcast-interface" => ("--start-daemon master", "lo"),
        "mcast-group" => ("--start-daemon master --mcast-interface lo", "ff02::5"),
        "mcast-port" | "mcast-ttl" | "syncid" | "sync-maxlen" => ("--start-daemon master --mcast-interface lo", "99"),
        _ => ("-L", ""),
    }
}

/// Two namespaces that hold [`TABLE`] before each line.
struct Bench {
    pair: Pair,
    before: SavedTable,
    table: String,
    /// Lines that have been run. Each is run only once.
    lines: BTreeSet<String>,
    report: String,
}

impl Bench {
    fn new() -> Bench {
        let mut pair = Pair::new(under_test::program()).unwrap();
        let restored = pair.run(Reference, &["-R"], TABLE).unwrap();
        assert_eq!(restored.end, "exit 0", "{restored:?}");
        let before = pair.save_table(Reference).unwrap();
        pair.restore_table(Ours, &before).unwrap();
        let table = pair.table(Reference).unwrap();
        assert_eq!(diff(&table, &pair.table(Ours).unwrap()), None);
        Bench { pair, before, table, lines: BTreeSet::new(), report: String::new() }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if !self.lines.insert(words.join(" ")) {
            return;
        }
        let [(reference, reference_table), (ours, our_table)] = [Reference, Ours].map(|side| {
            let mut outcome = self.pair.run(side, &words, b"").unwrap();
            if line.contains("--nosort") {
                outcome.stdout = Mask::SortServices.apply(&outcome.stdout);
            }
            (outcome, self.pair.table(side).unwrap())
        });
        if !same(&reference, &ours) {
            writeln!(self.report, "# ipvsadm {line}\nthe reference: {reference:#?}\nour program: {ours:#?}").unwrap();
        }
        if let Some(diff) = diff(&reference_table, &our_table) {
            writeln!(self.report, "# ipvsadm {line}\nthe table:\n{diff}").unwrap();
        }
        for (side, now) in [(Reference, reference_table), (Ours, our_table)] {
            if now != self.table {
                self.pair.restore_table(side, &self.before).unwrap();
            }
        }
    }

    fn conclude(self, name: &str) {
        assert!(self.report.is_empty(), "{}", self.report);
        println!("{name}: {} lines", self.lines.len());
    }
}
