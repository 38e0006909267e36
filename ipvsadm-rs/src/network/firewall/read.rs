//! Reads the rules of the present network namespace with the programs of the system.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::iptables;
use super::model::{Family, Firewall, Table, Tool};
use super::nft;

/// The directories with programs. The environment has no influence.
const DIRECTORIES: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// The time limit of a program.
const TIME: Duration = Duration::from_secs(5);
/// The maximum size of a program's output, in bytes.
const OUTPUT: u64 = 16 << 20;
/// The maximum size of a program's error messages, in bytes.
const MESSAGES: u64 = 4096;

impl Firewall {
    /// Reads the rules of the present network namespace.
    ///
    /// Programs that are missing or fail are listed in [`Firewall::not_read`].
    #[must_use]
    pub fn read() -> Self {
        let mut firewall = Self::default();
        let legacy = [Family::Ip, Family::Ip6].map(has_legacy_tables);
        let mut of_iptables = Vec::new();
        match nft() {
            Ok(None) => {}
            Ok(Some(ruleset)) => {
                firewall = ruleset.firewall;
                of_iptables = ruleset.of_iptables;
            }
            Err(error) => firewall.not_read.push(format!("nft: {error}")),
        }
        for family in [Family::Ip, Family::Ip6] {
            if of_iptables.iter().any(|(of, _)| *of == family) {
                let prefix = prefix(family);
                match save(&[&format!("{prefix}-nft-save"), &format!("{prefix}-save")], family, true) {
                    Ok(tables) => firewall.replace(tables, &of_iptables),
                    Err(error) => firewall.not_read.push(format!("{prefix}: {error}")),
                }
            }
        }
        for (family, has_tables) in [Family::Ip, Family::Ip6].into_iter().zip(legacy) {
            let prefix = prefix(family);
            match has_tables {
                Ok(false) => {}
                Ok(true) => match save(&[&format!("{prefix}-legacy-save"), &format!("{prefix}-save")], family, false) {
                    Ok(tables) => firewall.tables.extend(tables),
                    Err(error) => firewall.not_read.push(format!("{prefix}: {error}")),
                },
                Err(error) => firewall.not_read.push(format!("{prefix}: {error}")),
            }
        }
        firewall
    }

    /// Returns whether an operator would add rules with nft: its rules are in use, or iptables is not.
    #[must_use]
    pub fn prefers_nft(&self) -> bool {
        if self.tables.iter().any(|table| table.tool == Tool::Iptables) {
            return false;
        }
        !self.tables.is_empty() || installed("iptables").is_none() || (installed("nft").is_some() && kernel_has_nft())
    }

    /// Replaces tables of which nft prints only a part.
    fn replace(&mut self, tables: Vec<Table>, incomplete: &[nft::TableName]) {
        for table in tables {
            if !incomplete.contains(&(table.family, table.name.clone())) {
                continue;
            }
            if let Some(known) = self
                .tables
                .iter_mut()
                .find(|known| known.family == table.family && known.name == table.name && known.tool == Tool::Nft)
            {
                *known = table;
            }
        }
    }
}

/// Returns the rules of nft. `None`: the kernel has no nft, so there are none. Without this question, nft would load its
/// module.
fn nft() -> Result<Option<nft::Ruleset>, String> {
    if !kernel_has_nft() {
        return Ok(None);
    }
    let output = run(&["nft"], &["-j", "list", "ruleset"])?;
    nft::parse(&output).map(Some)
}

/// Returns whether nft is loaded, or a part of the kernel. In doubt, it is.
fn kernel_has_nft() -> bool {
    const BUILT_IN: u64 = 1 << 20;
    const SYMBOLS: u64 = 64 << 20;
    if Path::new("/sys/module/nf_tables").exists() {
        return true;
    }
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let contains = |path: &str, limit: u64, text: &[u8]| {
        let mut bytes = Vec::new();
        fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).ok()?;
        (!bytes.is_empty()).then(|| memchr::memmem::find(&bytes, text).is_some())
    };
    let built_in = contains(&format!("/lib/modules/{release}/modules.builtin"), BUILT_IN, b"/nf_tables.ko");
    built_in.or_else(|| contains("/proc/kallsyms", SYMBOLS, b" nft_do_chain\n")).unwrap_or(true)
}

/// Returns whether a device has filters of tc for packets that arrive. They can set marks.
///
/// # Errors
///
/// tc is not installed, or fails.
pub fn has_ingress_filters() -> Result<bool, String> {
    let output = run(&["tc"], &["qdisc", "show"]).map_err(|error| format!("tc: {error}"))?;
    let text = String::from_utf8_lossy(&output);
    Ok(text.lines().any(|line| matches!(line.split_whitespace().nth(1), Some("clsact" | "ingress"))))
}

fn prefix(family: Family) -> &'static str {
    if family == Family::Ip6 { "ip6tables" } else { "iptables" }
}

/// Returns whether iptables-legacy has tables here. Without this question, iptables-legacy would load modules.
fn has_legacy_tables(family: Family) -> Result<bool, String> {
    // Only this thread may be in the namespace.
    let path = if family == Family::Ip6 {
        "/proc/thread-self/net/ip6_tables_names"
    } else {
        "/proc/thread-self/net/ip_tables_names"
    };
    match fs::File::open(path) {
        Ok(file) => {
            let mut names = Vec::new();
            file.take(MESSAGES).read_to_end(&mut names).map_err(|error| format!("cannot read {path}: {error}"))?;
            Ok(!names.trim_ascii().is_empty())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("cannot read {path}: {error}")),
    }
}

/// Runs the first of the programs that is installed, and that is of the wanted variant.
fn save(programs: &[&str], family: Family, of_nft: bool) -> Result<Vec<Table>, String> {
    let output = run(programs, &[])?;
    let text = String::from_utf8_lossy(&output);
    let is_of_nft = text.lines().next().is_some_and(|line| line.contains("(nf_tables)"));
    if !text.trim_ascii().is_empty() && is_of_nft != of_nft {
        let [missing, found] = if of_nft { ["nft", "legacy"] } else { ["legacy", "nft"] };
        return Err(format!("the rules are of the variant {missing}, and only the variant {found} is installed"));
    }
    iptables::parse(&text, family)
}

/// Returns the output of the first of the programs that is installed.
fn run(programs: &[&str], arguments: &[&str]) -> Result<Vec<u8>, String> {
    let name = programs.last().copied().unwrap_or_default();
    let Some(path) = programs.iter().find_map(|program| installed(program)) else {
        return Err(format!("{name} is not installed"));
    };
    let mut command = Command::new(&path);
    command.args(arguments).env_clear().env("LC_ALL", "C").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("cannot run {}: {error}", path.display()))?;
    finish(child, TIME).map_err(|error| format!("{}: {error}", path.display()))
}

fn installed(program: &str) -> Option<PathBuf> {
    let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(program));
    paths.into_iter().find(|path| fs::metadata(path).is_ok_and(|found| found.is_file()))
}

/// Returns the output of a process that ends in time and with success.
fn finish(mut child: Child, time: Duration) -> Result<Vec<u8>, String> {
    let deadline = Instant::now() + time;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("no pipe".into());
    };
    let (output, messages) = (collect(stdout, OUTPUT), collect(stderr, MESSAGES));
    let left = || deadline.saturating_duration_since(Instant::now());
    let result = match output.recv_timeout(left()) {
        Err(_) => Err(format!("not finished after {} seconds", time.as_secs())),
        Ok(Err(error)) => Err(format!("cannot read its output: {error}")),
        Ok(Ok(output)) if output.len() as u64 > OUTPUT => Err(format!("more than {} MiB of output", OUTPUT >> 20)),
        Ok(Ok(output)) => Ok(output),
    };
    let output = match result {
        Ok(output) => output,
        Err(error) => {
            end(child);
            return Err(error);
        }
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(output),
            Ok(Some(status)) => {
                let messages = messages.recv_timeout(left()).ok().and_then(Result::ok).unwrap_or_default();
                let messages = String::from_utf8_lossy(&messages);
                let first = messages.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
                return Err(format!("{first} ({status})"));
            }
            Ok(None) if !left().is_zero() => std::thread::sleep(Duration::from_millis(2)),
            outcome => {
                end(child);
                return Err(match outcome {
                    Err(error) => format!("cannot wait for it: {error}"),
                    Ok(_) => format!("not finished after {} seconds", time.as_secs()),
                });
            }
        }
    }
}

/// Kills a process. A process that is waiting for a device ends later, so it is left after a while.
fn end(mut child: Child) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + PATIENCE;
    let _ = child.kill();
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads a pipe on another thread, up to one byte more than the limit. The rest is read and not kept, because a program
/// that cannot write its warnings would fail.
fn collect(pipe: impl Read + Send + 'static, limit: u64) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut bytes, mut pipe) = (Vec::new(), pipe);
        let read = pipe.by_ref().take(limit + 1).read_to_end(&mut bytes).map(|_| bytes);
        let is_all = read.as_ref().map_or(true, |bytes| bytes.len() as u64 <= limit);
        // Nobody waits any more if the time is over.
        let _ = sender.send(read);
        if !is_all {
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_shell(script: &str, time: Duration) -> Result<Vec<u8>, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("a shell"), time)
    }

    #[test]
    fn many_warnings_do_not_end_a_program() {
        // The pipe of a program holds 64 KiB.
        let script = "head -c 300000 /dev/zero | tr '\\0' w >&2 && echo rules";
        assert_eq!(run_shell(script, Duration::from_secs(20)).as_deref(), Ok(&b"rules\n"[..]));
    }

    #[test]
    fn programs_end_in_time_and_their_output_is_limited() {
        let start = Instant::now();
        let error = run_shell("exec sleep 60", Duration::from_millis(100)).expect_err("too slow");
        assert!(error.starts_with("not finished after"), "{error}");
        let error = run_shell("exec cat /dev/zero", Duration::from_secs(20)).expect_err("too long");
        assert_eq!(error, "more than 16 MiB of output");
        let error = run_shell("echo wrong >&2; exit 3", Duration::from_secs(20)).expect_err("it fails");
        assert_eq!(error, "wrong (exit status: 3)");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
}
