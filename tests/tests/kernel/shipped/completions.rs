//! The completions, in the shells that they are for: a line is typed, and the shell completes its last word.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ipvs_tests::command::{ok, run, run_command, run_with_input, shell};

use crate::under_test;

ipvs_tests::tests! {
    bash_completes_live_values;
    zsh_completes_live_values, needs = "zsh", seconds = 300;
    fish_completes_live_values, needs = "fish", seconds = 300;
    bash_completes_redirections;
    without_root_live_values_are_missing;
}

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s sh
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m
-A -t [2001:db8::1]:443 -s wrr
-A -u 192.0.2.9:53 -s rr
-a -u 192.0.2.9:53 -r 10.0.9.9:53 -m
-A -f 77 -s rr
";

/// Each line with the end that completes it.
const LINES: &[(&str, &str)] = &[
    ("ipvsadm-rs conf", "irm"),
    ("ipvsadm-rs apply --dry", "-run"),
    ("ipvsadm-rs apply ru", "les"),
    ("ipvsadm-rs apply --previous=ru", "les"),
    ("ipvsadm-rs apply rules --previous ru", "les"),
    ("ipvsadm-rs apply --color=al", "ways"),
    ("ipvsadm-rs apply --only tcp:192", ".0.2.1:80"),
    ("ipvsadm-rs apply --only=udp:", "192.0.2.9:53"),
    ("ipvsadm-rs apply --protect fwmark:", "77:IPv4"),
    ("ipvsadm-rs undo ", "1"),
    ("ipvsadm-rs set -t 192.0.2.1:", "80"),
    ("ipvsadm-rs set --tcp-service=1", "92.0.2.1:80"),
    ("ipvsadm-rs set -t 192.0.2.1:80 -r 10.0.0.2:", "8080"),
    ("ipvsadm-rs set -t 192.0.2.1:80 -s wr", "r"),
    ("ipvsadm-rs set -t 192.0.2.1:80 -b sh-po", "rt"),
    ("ipvsadm-rs set -p o", "ff"),
    ("ipvsadm-rs --netns bl", "ue"),
    ("ipvsadm-rs --netns blue set -t 2", "03.0.113.7:80"),
    ("ipvsadm-rs save -o ru", "les"),
    ("ipvsadm-rs save --format j", "son"),
    // The options of ipvsadm.
    ("ipvsadm-rs -D -t 1", "92.0.2.1:80"),
    ("ipvsadm -A --sched", ""),
    ("ipvsadm -A --schedu", "ler"),
    ("ipvsadm -A -t 192.0.2.7:80 -s wr", "r"),
    ("ipvsadm -A -t 192.0.2.7:80 -s mh -b mh-f", "allback"),
    ("ipvsadm -D -u 1", "92.0.2.9:53"),
    ("ipvsadm -D -f 7", "7"),
    ("ipvsadm -d -t 192.0.2.1:80 -r 10.0.0.1", ":8080"),
    ("ipvsadm --start-daemon m", "aster"),
    ("ipvsadm-save -", "n"),
    ("ipvsadm-restore --fl", "ush"),
    // A file has the name, but no file is expected.
    ("ipvsadm-rs set -s ru", ""),
    ("ipvsadm -A -t 192.0.2.7:80 -s ru", ""),
    ("ipvsadm-rs roll", ""),
];

/// Makes the table, a plan in the journal, a namespace with another table, and a file.
fn prepare() {
    under_test::install();
    fs::write("rules", TABLE).unwrap();
    ok("ipvsadm-rs apply rules");
    shell("ip netns add blue && ip netns exec blue ipvsadm -A -t 203.0.113.7:80").ok();
}

/// Writes the completions of all programs for a shell into a file, and returns its contents.
fn completions(shell_name: &str, program: &str) -> String {
    ok(&format!("ipvsadm-rs generate {shell_name} --for {program}"))
}

const PROGRAMS: [&str; 4] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore", "ipvsadm-rs"];

/// Returns the line after it was typed into an interactive bash, with a tab. `\x01` moves to the start of the line. The
/// words of the line are then printed instead of executed.
fn typed_into_bash(line: &str) -> String {
    let input = format!("source completions\n{line}\t\x01printf '%s ' \n");
    fs::write("input", input).unwrap();
    // readline reads from a pipe, too.
    let ran = shell("cat input | PS1= TERM=dumb HISTFILE= bash --norc --noprofile -i");
    assert_eq!(ran.code, Some(0), "{ran}");
    ran.stdout.trim_end().to_owned()
}

fn bash_completes_live_values() {
    prepare();
    let scripts: String = PROGRAMS.map(|program| completions("bash", program)).concat();
    fs::write("completions", scripts).unwrap();
    let wrong: Vec<_> = LINES.iter().filter_map(|(line, end)| differs(typed_into_bash(line), line, end)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns the wanted line and the one that was completed, if they differ.
fn differs(completed: String, line: &str, end: &str) -> Option<(String, String)> {
    let wanted = format!("{line}{end}").trim_end().to_owned();
    (completed != wanted).then_some((wanted, completed))
}

fn bash_completes_redirections() {
    prepare();
    fs::write("completions", completions("bash", "ipvsadm-restore")).unwrap();
    // The shell opens the file, and fails if the name is incomplete.
    assert_eq!(typed_into_bash("ipvsadm-restore < ru"), "ipvsadm-restore");
    assert_eq!(typed_into_bash("ipvsadm-restore <ru"), "ipvsadm-restore");
}

fn zsh_completes_live_values() {
    prepare();
    fs::create_dir("functions").unwrap();
    for program in PROGRAMS {
        fs::write(format!("functions/_{program}"), completions("zsh", program)).unwrap();
    }
    // zsh completes only on a terminal, which the module zpty provides.
    fs::write("driver", include_str!("completions.zsh")).unwrap();
    let lines: String = LINES.iter().map(|(line, _)| format!("{line}\n")).collect();
    let mut zsh = Command::new("zsh");
    let ran = run_with_input(zsh.args(["-f", "driver"]), &lines, Duration::from_secs(200)).unwrap();
    let completed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(completed.len(), LINES.len(), "{ran}");
    let differs = |((line, end), completed): (&(&str, &str), &&str)| differs(completed.trim_end().into(), line, end);
    let wrong: Vec<_> = LINES.iter().zip(&completed).filter_map(differs).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn fish_completes_live_values() {
    prepare();
    let scripts: String = PROGRAMS.map(|program| completions("fish", program)).concat();
    fs::write("completions", scripts).unwrap();
    let lines: String = LINES.iter().map(|(line, _)| format!("complete --do-complete '{line}'\necho ====\n")).collect();
    fs::write("driver", format!("source completions\n{lines}")).unwrap();
    let mut fish = Command::new("fish");
    let ran = run_command(fish.args(["--no-config", "driver"]).env("HOME", "/root"), Duration::from_secs(200)).unwrap();
    let answers: Vec<&str> = ran.stdout.split("====\n").collect();
    assert_eq!(answers.len(), LINES.len() + 1, "{ran}");
    let mut wrong = Vec::new();
    for ((line, end), answer) in LINES.iter().zip(answers) {
        let words: Vec<&str> = answer.lines().filter_map(|line| line.split('\t').next()).collect();
        let last = line.rsplit(' ').next().unwrap_or_default();
        let is_right = match *end {
            // Nothing, or several words that have no longer common beginning.
            "" => words.len() != 1,
            end => words == [format!("{last}{end}")],
        };
        if !is_right {
            wrong.push((line, end, words));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn without_root_live_values_are_missing() {
    prepare();
    for (words, wanted) in [
        ("ipvsadm-rs -- set -t 1", "words\n"),
        ("ipvsadm-rs -- undo", "words\nundo\tRevert the changes of a plan\n"),
        ("ipvsadm-rs -- --netns blue set -t 2", "words\n"),
        ("ipvsadm-rs -- --netns nohost set -t 2", "words\n"),
        ("ipvsadm -- -d -r 1", "words\n"),
    ] {
        let ran = run(&format!("setpriv --reuid 65534 --clear-groups /usr/sbin/ipvsadm-rs complete {words}"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), wanted, ""), "{words}");
    }
    assert_eq!(ok("ipvsadm-save -n").lines().count(), TABLE.lines().count());
}
