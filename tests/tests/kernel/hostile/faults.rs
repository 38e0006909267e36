//! Random faults while a plan is applied with `--confirm-within`.
//!
//! `IPVS_FAULTS` is the number of rounds (default 20). Each has one or two faults at random moments, in the output, the
//! signals, the disk, the lock or by another verb. Afterwards the table is that from before the plan, or the plan was
//! confirmed, or `undo --list`, `show` and `plan` report that it was neither. What the journal records is true.
//! `IPVS_SEED` selects other rounds, as a failure prints it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ipvs_tests::command::{ok, run, shell, start};
use ipvs_tests::oracle::rng::Rng;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::pipe;

use super::super::verbs::{director, rules, write};

ipvs_tests::tests! {
    table_is_never_kept_unseen, seconds = 2400;
}

/// The table before the plan. The plan changes the scheduler, deletes the first server and adds one.
const BEFORE: &str = "\
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1
";
const WANTED: &str = "\
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1
-a -t 192.0.2.1:80 -r 10.0.0.3:8080 -m -w 1
";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    File,
    Closed,
    FullPipe,
    Terminal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    SignalToApply(&'static str),
    SignalToTimer(&'static str),
    /// ^S, which stops the output. Nothing happens if the output is not a terminal.
    StoppedTerminal,
    FullDisk,
    HeldLock,
    RemovedLock,
    Set,
    Confirm,
    Undo,
}

const FAULTS: [Fault; 16] = [
    Fault::SignalToApply("TERM"),
    Fault::SignalToApply("INT"),
    Fault::SignalToApply("HUP"),
    Fault::SignalToApply("KILL"),
    Fault::SignalToTimer("TERM"),
    Fault::SignalToTimer("INT"),
    Fault::SignalToTimer("HUP"),
    Fault::SignalToTimer("KILL"),
    Fault::StoppedTerminal,
    Fault::FullDisk,
    Fault::HeldLock,
    Fault::RemovedLock,
    Fault::Set,
    Fault::Confirm,
    Fault::Confirm,
    Fault::Undo,
];

/// One attempt to break the promise.
#[derive(Debug)]
struct Round {
    state: String,
    drain: bool,
    output: Output,
    /// The faults, each with its time after the start.
    faults: Vec<(Duration, Fault)>,
}

impl Round {
    fn random(number: usize, rng: &mut Rng) -> Self {
        let drain = rng.once_in(2);
        let output = if rng.once_in(2) {
            Output::File
        } else {
            *rng.one_of(&[Output::Closed, Output::FullPipe, Output::Terminal, Output::Terminal])
        };
        // Half of the moments are close to the start or to the rollback.
        let moment = |rng: &mut Rng| {
            let after = *rng.one_of(&[0, 0, if drain { 1000 } else { 0 }, if drain { 3000 } else { 2000 }]);
            let spread = *rng.one_of(&[150, 2500]);
            Duration::from_millis((after + rng.below(spread)) as u64)
        };
        let count = 1 + rng.below(2);
        let mut faults: Vec<_> = (0..count).map(|_| (moment(rng), *rng.one_of(&FAULTS))).collect();
        faults.sort_by_key(|(at, _)| *at);
        Self { state: format!("s{number}"), drain, output, faults }
    }
}

/// The program under attack, and the other end of its output.
struct Apply {
    child: Child,
    held: Vec<OwnedFd>,
}

fn apply(round: &Round) -> Apply {
    let drain = if round.drain { " --drain 1s" } else { "" };
    let line = format!("ipvsadm-rs --state-dir {} apply wanted --confirm-within 2s{drain}", round.state);
    let words = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut held = Vec::new();
    let mut command = match round.output {
        Output::File => words(&format!("exec {line} > output 2>&1")),
        Output::Closed => words(&format!("exec {line} >&- 2>&-")),
        Output::Terminal => {
            let mut command = Command::new("script");
            command
                .args(["-qec", &line, "/dev/null"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        }
        Output::FullPipe => {
            let (reader, writer) = pipe().unwrap();
            ioctl_fionbio(&writer, true).unwrap();
            while rustix::io::write(&writer, &[b'x'; 4096]) != Err(Errno::AGAIN) {}
            ioctl_fionbio(&writer, false).unwrap();
            held.push(reader);
            let mut command = words(&format!("exec {line}"));
            command.stdout(writer.try_clone().unwrap()).stderr(writer);
            command
        }
    };
    Apply { child: command.spawn().unwrap(), held }
}

/// Returns the processes of a verb.
fn processes(verb: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|found| found.unwrap().file_name().into_string().ok());
    let is_it = |pid: &String| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == verb.as_bytes())
    };
    pids.filter(is_it).collect()
}

fn signal(verb: &str, signal: &str) {
    for pid in processes(verb) {
        run(&format!("kill -{signal} {pid}"));
    }
}

/// Returns whether the plan is over.
fn is_over(apply: &mut Apply) -> bool {
    apply.child.try_wait().unwrap().is_some() && processes("apply").is_empty() && processes("rollback-timer").is_empty()
}

/// Waits until the plan is over, or this program cannot continue. Returns whether the timer has ended.
fn settle(apply: &mut Apply) -> bool {
    let begun = Instant::now();
    let limit = Duration::from_secs(40);
    loop {
        let has_ended = apply.child.try_wait().unwrap().is_some() && processes("apply").is_empty();
        let has_timer = !processes("rollback-timer").is_empty();
        // A program with a blocked output never ends.
        if !has_timer && (has_ended || begun.elapsed() > Duration::from_secs(6)) {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Removes the weight that `set` changes.
fn masked(rules: &str) -> String {
    rules.replace("10.0.0.2:8080 -m -w 9", "10.0.0.2:8080 -m -w 1")
}

/// Checks the promise. Returns the status, or the violation.
fn judge(round: &Round, was_confirmed: bool) -> Result<String, String> {
    let table = masked(&rules());
    let list = run(&format!("ipvsadm-rs --state-dir {} undo --list", round.state));
    // The state is the last cell of the line.
    let line = list.stdout.lines().map(str::trim_start).find_map(|line| line.strip_prefix("1  "));
    // If `apply` ended before its plan began, the first one is that of `set`.
    let line = line.filter(|line| line.contains("  apply  "));
    let status = line.map_or("no entry", |line| line.rsplit("  ").next().unwrap_or(line));
    let was_undone = list.stdout.contains("  undo 1 ");
    let notes: Vec<String> = ["show", "plan wanted"]
        .map(|verb| run(&format!("ipvsadm-rs --state-dir {} {verb}", round.state)).stderr)
        .into_iter()
        .map(|text| text.lines().filter(|line| line.starts_with("note: ")).collect::<Vec<_>>().join("\n"))
        .collect();
    let is_told = notes.iter().all(|note| note.contains("plan 1"));
    let is_known = matches!(status, "rollback failed" | "not confirmed" | "interrupted");
    let (state, holds) = if table == BEFORE {
        // If the disk is full, or the journal's lock is removed, the rollback may not be recorded.
        ("before", was_undone || !matches!(status, "applied" | "pending" | "draining"))
    } else if table == WANTED {
        ("wanted", !was_undone && ((status == "applied" && was_confirmed) || (is_known && is_told)))
    } else {
        ("between", is_known && is_told)
    };
    if holds {
        return Ok(format!("{state}, {status}"));
    }
    Err(format!("{state}, {status}, confirmed: {was_confirmed}\nnotes: {notes:?}\n{list}\n{table}"))
}

fn play(round: &Round) -> Result<String, String> {
    let state = &round.state;
    ok("ipvsadm -C");
    director(BEFORE);
    write("wanted", WANTED);
    fs::create_dir_all(state).unwrap();
    ok(&format!("mount -t tmpfs -o size=256k,mode=700 none {state}"));
    // A connection to each server, which the drain waits for.
    let held: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect("192.0.2.1:80").unwrap()).collect();
    let mut apply = apply(round);
    let begun = Instant::now();
    let mut was_confirmed = false;
    let mut said = String::new();
    let mut others = Vec::new();
    for (at, fault) in &round.faults {
        // Later faults come at once if the plan is over.
        while begun.elapsed() < *at && !is_over(&mut apply) {
            std::thread::sleep(Duration::from_millis(20).min(at.saturating_sub(begun.elapsed())));
        }
        match fault {
            Fault::SignalToApply(name) => signal("apply", name),
            Fault::SignalToTimer(name) => signal("rollback-timer", name),
            Fault::StoppedTerminal => {
                // Fails if `script` has ended.
                let _ = apply.child.stdin.as_mut().map(|keys| keys.write_all(b"\x13"));
            }
            Fault::FullDisk => drop(run(&format!("dd if=/dev/zero of={state}/full bs=1k"))),
            Fault::HeldLock => {
                write("hold", &format!("exec flock {state}/*/lock sleep 4"));
                others.push(start("sh hold"));
            }
            Fault::RemovedLock => drop(shell(&format!("rm -f {state}/*/lock"))),
            Fault::Set => drop(run(&format!("ipvsadm-rs --state-dir {state} set -r 10.0.0.2 --weight 9"))),
            Fault::Confirm => {
                let confirm = run(&format!("ipvsadm-rs --state-dir {state} confirm"));
                was_confirmed |= confirm.code == Some(0);
                write!(said, "{confirm}").unwrap();
            }
            Fault::Undo => write!(said, "{}", run(&format!("ipvsadm-rs --state-dir {state} undo"))).unwrap(),
        }
    }
    let mut has_ended = settle(&mut apply);
    let first = if has_ended { judge(round, was_confirmed) } else { Err("the timer never ended".to_owned()) };
    drop(others);
    // A blocked program continues now, or ends with its terminal.
    apply.held.clear();
    apply.child.stdin = None;
    if round.output == Output::Terminal {
        let _ = apply.child.kill();
    }
    has_ended &= settle(&mut apply);
    let second = if has_ended { judge(round, was_confirmed) } else { Err("the timer never ended".to_owned()) };
    signal("apply", "KILL");
    signal("rollback-timer", "KILL");
    let _ = apply.child.kill();
    let _ = apply.child.wait();
    drop(held);
    run(&format!("umount -l {state}"));
    match (first, second) {
        (Ok(_), Ok(result)) => Ok(result),
        (Err(why), _) => Err(format!("{round:?}\n{why}\n{said}")),
        (Ok(earlier), Err(why)) => Err(format!("{round:?}\nfirst {earlier}, then {why}\n{said}")),
    }
}

/// Accepts connections, and holds the newest ones.
fn serve() {
    let server = TcpListener::bind("0.0.0.0:8080").unwrap();
    std::thread::spawn(move || {
        let mut held = VecDeque::new();
        for stream in server.incoming().flatten() {
            held.push_back(stream);
            if held.len() > 16 {
                held.pop_front();
            }
        }
    });
}

fn table_is_never_kept_unseen() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (seed, rounds) = (number("IPVS_SEED").unwrap_or(1), number("IPVS_FAULTS").unwrap_or(20));
    ok("ip link set lo up");
    for address in ["192.0.2.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        ok(&format!("ip address add {address}/32 dev lo"));
    }
    serve();
    let mut rng = Rng::new(seed as u64);
    let mut violations = Vec::new();
    let mut without_plan = 0;
    for number in 0..rounds {
        let round = Round::random(number, &mut rng);
        let begun = Instant::now();
        match play(&round) {
            Ok(result) => {
                println!("{number}: {result} in {:.1?} after {round:?}", begun.elapsed());
                without_plan += usize::from(result.ends_with("no entry"));
            }
            Err(violation) => {
                println!("{number}: VIOLATION {violation}");
                violations.push(violation);
            }
        }
    }
    let text = violations.join("\n\n");
    assert!(violations.is_empty(), "{} of {rounds} rounds (IPVS_SEED={seed}):\n{text}", violations.len());
    assert!(without_plan < rounds.div_ceil(2), "{without_plan} of {rounds} rounds ended before the plan began");
}
