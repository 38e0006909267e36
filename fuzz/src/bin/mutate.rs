//! Runs the fuzz targets on mutations of their corpus, without nightly and without libFuzzer.
//!
//! Each target runs in a process of its own. Before each input, the process writes it to a file. Therefore the input is
//! known even after a stack overflow, after an input that needed too much memory, and after an endless loop.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ipvs_fuzz::corpus;
use ipvs_fuzz::mutation::{Rng, mutate};
use ipvs_fuzz::targets::{ALL, Target};

const USAGE: &str = "\
usage: mutate [--seconds N] [--seed N] [TARGET...]
       mutate --replay TARGET FILE...
       mutate --write-corpus

  --seconds N     Time for each target [default: 60]
  --seed N        Seed of the mutations [default: from the clock]
  --replay        Run a target on these files
  --write-corpus  Write the inputs to start from to fuzz/corpus, for cargo-fuzz

As many targets run at once as there are processors. Without TARGET, all run.";

/// The limit for the processor time of one input. The time on the clock depends on the load of the machine.
const TOO_LONG: Duration = Duration::from_secs(10);
/// The limit for the time of one input on the clock.
const STUCK: Duration = Duration::from_secs(120);
/// The limit for the memory of a target, in KiB.
const MEMORY: u32 = 2 * 1024 * 1024;
/// The number of inputs that got past parsing and are mutated again.
const KEPT: usize = 512;

struct Arguments {
    seconds: u64,
    seed: u64,
    child: bool,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("--replay") => replay(&words[1..]),
        Some("--write-corpus") => write_corpus(),
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            arguments(&words).and_then(|arguments| if arguments.child { child(&arguments) } else { parent(&arguments) })
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mutate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(words: &[String]) -> Result<Arguments, String> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut arguments = Arguments { seconds: 60, seed: clock.as_secs(), child: false, names: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{word} needs a number\n{USAGE}"))
        };
        match word.as_str() {
            "--seconds" => arguments.seconds = number()?,
            "--seed" => arguments.seed = number()?,
            "--child" => arguments.child = true,
            name => {
                target(name)?;
                arguments.names.push(name.to_owned());
            }
        }
    }
    if arguments.names.is_empty() {
        arguments.names = ALL.map(|(name, _)| name.to_owned()).to_vec();
    }
    Ok(arguments)
}

fn target(name: &str) -> Result<Target, String> {
    let found = ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, target)| *target).ok_or_else(|| format!("{name} is not a target\n{USAGE}"))
}

/// Returns the directory for inputs that fail.
fn artifacts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name)
}

fn explained(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

/// Runs each target in a process of its own.
fn parent(arguments: &Arguments) -> Result<(), String> {
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    println!("seed {}, {} s for each target, {jobs} at once", arguments.seed, arguments.seconds);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let next = AtomicU64::new(0);
    let (failed, failures) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let failed = failed.clone();
            scope.spawn(|| {
                let failed = failed;
                while let Some(name) = arguments.names.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    if let Err(error) = run(&program, name, arguments) {
                        eprintln!("{name}: {error}");
                        let _ = failed.send(name.clone());
                    }
                }
            });
        }
    });
    drop(failed);
    let failures: Vec<String> = failures.iter().collect();
    if failures.is_empty() { Ok(()) } else { Err(format!("failed: {}", failures.join(" "))) }
}

/// Runs a target in a process of its own, and saves the input that ended it.
fn run(program: &Path, name: &str, arguments: &Arguments) -> Result<(), String> {
    let directory = artifacts(name);
    fs::create_dir_all(&directory).map_err(explained(&directory))?;
    let child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"")])
        .arg(program)
        .args(["--child", "--seconds", &arguments.seconds.to_string(), "--seed", &arguments.seed.to_string(), name])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let current = directory.join(format!("current-{}", child.id()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        let _ = fs::remove_file(&current);
        return Ok(());
    }
    let saved = directory.join(format!("crash-{}-{}", arguments.seed, std::process::id()));
    fs::rename(&current, &saved).map_err(explained(&current))?;
    Err(format!(
        "{} on an input that is in {}\nTo repeat it: cargo mutate --replay {name} {}",
        output.status,
        saved.display(),
        saved.display()
    ))
}

/// Runs one target. The last input is in the file `current-PID` when the process ends.
fn child(arguments: &Arguments) -> Result<(), String> {
    let [name] = &arguments.names[..] else { return Err("--child needs one target".into()) };
    let target = target(name)?;
    let current = artifacts(name).join(format!("current-{}", std::process::id()));
    let file = File::create(&current).map_err(explained(&current))?;
    let seeds = corpus::of(name)?;
    let dictionary = corpus::dictionary(&seeds);
    let mut rng = Rng::new(arguments.seed);
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let (mut inputs, mut parsed, mut longest) = (0u64, 0u64, Duration::ZERO);
    let begun = Instant::now();
    let counter = watch();
    while begun.elapsed() < Duration::from_secs(arguments.seconds) {
        // The corpus itself comes first.
        let input = match seeds.get(inputs as usize) {
            Some(seed) => seed.clone(),
            None => {
                let from = if kept.is_empty() || rng.below(2) == 0 { rng.pick(&seeds) } else { rng.pick(&kept) };
                mutate(from.map_or(&b""[..], |from| from), &seeds, &dictionary, &mut rng)
            }
        };
        file.set_len(input.len() as u64).and_then(|()| file.write_all_at(&input, 0)).map_err(explained(&current))?;
        let start = begun.elapsed();
        // A panic message has been printed when this returns.
        let result = panic::catch_unwind(AssertUnwindSafe(|| target(&input)));
        longest = longest.max(begun.elapsed() - start);
        inputs += 1;
        counter.store(inputs, Ordering::Relaxed);
        match result {
            Ok(true) => {
                parsed += 1;
                if kept.len() < KEPT {
                    kept.push(input);
                } else {
                    let place = rng.below(KEPT);
                    kept[place] = input;
                }
            }
            Ok(false) => {}
            Err(_) => return Err(format!("{name}: input {inputs} panicked")),
        }
    }
    let share = 100.0 * parsed as f64 / inputs.max(1) as f64;
    // One write, because several processes share the output.
    let line = format!(
        "{name:16} {inputs:9} inputs, {parsed:9} ({share:2.0} %) past parsing, at most {} ms for one\n",
        longest.as_millis()
    );
    io::stdout().write_all(line.as_bytes()).map_err(|error| error.to_string())?;
    if parsed == 0 { Err(format!("{name}: no input got past parsing")) } else { Ok(()) }
}

/// Ends the process when an input needs more than [`TOO_LONG`] or [`STUCK`]. Returns the counter of inputs, which the
/// caller increases after each.
fn watch() -> Arc<AtomicU64> {
    let counter = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&counter);
    thread::spawn(move || {
        let mut last = (u64::MAX, Instant::now(), Duration::ZERO);
        loop {
            thread::sleep(Duration::from_millis(500));
            let (number, used) = (shared.load(Ordering::Relaxed), processor_time());
            if number != last.0 {
                last = (number, Instant::now(), used);
            }
            if used.saturating_sub(last.2) > TOO_LONG || last.1.elapsed() > STUCK {
                eprintln!("mutate: one input needs more than {} s", TOO_LONG.as_secs());
                std::process::exit(1);
            }
        }
    });
    counter
}

/// Returns the processor time of this process. 0 if /proc is not mounted.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may contain blanks. `utime` and `stime` are the 12th and the 13th word after it, in
    // hundredths of a second (proc_pid_stat(5)).
    let words = text.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = words.skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Runs a target on files.
fn replay(words: &[String]) -> Result<(), String> {
    let [name, files @ ..] = words else { return Err(USAGE.to_owned()) };
    let target = target(name)?;
    for path in files {
        let begun = Instant::now();
        let input = fs::read(path).map_err(explained(Path::new(path)))?;
        let parsed = target(&input);
        let what = if parsed { "got past parsing" } else { "did not get past parsing" };
        println!("{path}: {what}, in {} ms", begun.elapsed().as_millis());
    }
    Ok(())
}

/// Writes the corpus of each target as files.
fn write_corpus() -> Result<(), String> {
    for (name, _) in ALL {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        fs::create_dir_all(&directory).map_err(explained(&directory))?;
        for (number, input) in corpus::of(name)?.iter().enumerate() {
            let path = directory.join(format!("seed-{number:03}"));
            fs::write(&path, input).map_err(explained(&path))?;
        }
    }
    Ok(())
}
