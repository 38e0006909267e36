//! `-h` and `-v`.

use std::io::{self, Write};

use ipvs::rules::program::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};

/// The date of this version, in the format of ipvsadm 1.31.
pub(crate) const DATE: &str = "2026/11/21";

/// Writes the version in the format of ipvsadm. Needs neither root nor the module. Every user may read the version of
/// IPVS in /proc/net/ip_vs, and reading it does not load the module.
pub(crate) fn write_version(out: &mut dyn Write) -> io::Result<()> {
    let ipvs = match version_of_ipvs() {
        Some(version) => format!("IPVS v{version}"),
        None => "IPVS not loaded".into(),
    };
    writeln!(out, "ipvsadm v{} {DATE} (ipvsadm-rs, compiled with Rust and {ipvs})", env!("CARGO_PKG_VERSION"))
}

fn version_of_ipvs() -> Option<String> {
    let table = std::fs::File::open("/proc/thread-self/net/ip_vs").ok()?;
    let mut title = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(table), &mut title).ok()?;
    let (version, _) = title.strip_prefix("IP Virtual Server version ")?.split_once(' ')?;
    Some(version.to_owned())
}

/// The width of the help in columns, without the margin of two blanks.
const WIDTH: usize = 78;

/// Writes usage, commands and options, from the tables in `ipvs::rules`.
pub(crate) fn write(out: &mut dyn Write, program: &str) -> io::Result<()> {
    write_version(out)?;
    writeln!(out, "Usage:")?;
    for synopsis in synopses() {
        for line in wrap_synopsis(&format!("{program} {synopsis}"), WIDTH) {
            writeln!(out, "  {line}")?;
        }
    }
    writeln!(out, "\nCommands:")?;
    for row in COMMANDS {
        let words = if row.words.is_empty() { String::new() } else { format!(" {}", row.words) };
        write_row(out, &(spellings(row.shorts, row.long, row.value) + &words), row.help)?;
    }
    for group in [Group::VirtualService, Group::Other, Group::Tunnel, Group::Daemon] {
        writeln!(out, "\n{}:", group.title())?;
        for row in OPTIONS.iter().filter(|row| Group::of(row) == group) {
            write_row(out, &spellings(row.shorts, row.long, row.value), &help(row))?;
        }
    }
    writeln!(out, "\nSchedulers: rr|wrr|lc|wlc|lblc|lblcr|dh|sh|sed|nq|fo|ovf|mh|twos")?;
    writeln!(out, "Scheduler flags: sh-fallback, sh-port, mh-fallback, mh-port;")?;
    writeln!(out, "                 flag-1, flag-2, flag-3 (any scheduler)")?;
    writeln!(out, "Tunnels: ipip, gue (with --tun-port), gre")
}

/// A group of options that a synopsis shows as one word.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    VirtualService,
    Other,
    Tunnel,
    Daemon,
}

impl Group {
    fn of(row: &OptionRow) -> Self {
        if row.name == "service-address" || row.long == "ipv6" {
            Self::VirtualService
        } else if row.allowed.contains(&Verb::StartDaemon) {
            Self::Daemon
        } else if row.allowed.contains(&Verb::AddServer) && row.long.starts_with("tun-") {
            Self::Tunnel
        } else {
            Self::Other
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::VirtualService => "virtual-service",
            Self::Other => "Options",
            Self::Tunnel => "Tunnel Options",
            Self::Daemon => "Daemon Options",
        }
    }
}

/// Returns the synopses, without the program's name. Neighbouring commands with the same options share a synopsis.
pub(crate) fn synopses() -> Vec<String> {
    let mut synopses: Vec<(String, String)> = Vec::new();
    for row in COMMANDS {
        let options = options_of(row);
        match (synopses.last_mut(), row.shorts) {
            (Some((commands, of_last)), shorts) if !shorts.is_empty() && *of_last == options => {
                shorts.chars().for_each(|letter| *commands += &format!("|{letter}"));
            }
            (_, "") => synopses.push((format!("--{}", row.long), options)),
            (_, shorts) => {
                let letters: Vec<String> = shorts.chars().map(String::from).collect();
                synopses.push((format!("-{}", letters.join("|")), options));
            }
        }
    }
    synopses.into_iter().map(|(commands, options)| commands + &options).collect()
}

/// Returns the options and words of a command: ` virtual-service -r host[:port] [-g|-i|-m] [-w weight]`.
fn options_of(command: &CommandRow) -> String {
    let verb = command.verb;
    let mut words = vec![String::new()];
    match command.value {
        Value::Required(name) | Value::Optional(name) => words.push(name.into()),
        Value::None if command.words.is_empty() => {}
        Value::None => words.push(command.words.into()),
    }
    let required = OPTIONS.iter().filter(|row| row.required.contains(&verb));
    words.extend(spellings_by_name(required));
    let exclusive = spellings_by_name(OPTIONS.iter().filter(|row| row.exclusive.contains(&verb)));
    if !exclusive.is_empty() {
        words.push(format!("[{}]", exclusive.join("|")));
    }
    // Other commands accept `--syncid`, and ignore it.
    let does_something = |row: &OptionRow| Group::of(row) != Group::Daemon || verb == Verb::StartDaemon;
    let optional = OPTIONS.iter().filter(|row| row.allowed.contains(&verb) && does_something(row));
    words.extend(spellings_by_name(optional).iter().map(|spelling| format!("[{spelling}]")));
    words.join(" ")
}

/// Returns the shortest spelling of each option, and one word for each group. Options with the same name are
/// alternatives: `-g|-i|-m`.
fn spellings_by_name<'a>(rows: impl Iterator<Item = &'a OptionRow>) -> Vec<String> {
    let mut spellings: Vec<(&str, String)> = Vec::new();
    for row in rows {
        let (name, spelling) = match (Group::of(row), row.shorts) {
            (Group::Other, "") => (row.name, format!("--{}{}", row.long, value_name(row.value))),
            (Group::Other, letter) => (row.name, format!("-{letter}{}", value_name(row.value))),
            (group, _) => (group.title(), group.title().to_lowercase()),
        };
        match spellings.iter_mut().find(|(earlier, _)| *earlier == name) {
            Some((_, alternatives)) if *alternatives != spelling => *alternatives += &format!("|{spelling}"),
            Some(_) => {}
            None => spellings.push((name, spelling)),
        }
    }
    spellings.into_iter().map(|(_, spelling)| spelling).collect()
}

/// Returns the help of an option, with its default.
pub(crate) fn help(row: &OptionRow) -> String {
    match row.default {
        "" => row.help.into(),
        default => format!("{} [default: {default}]", row.help),
    }
}

fn write_row(out: &mut dyn Write, spellings: &str, help: &str) -> io::Result<()> {
    const LEFT: usize = 34;
    let mut first = spellings;
    if first.len() >= LEFT {
        writeln!(out, "  {first}")?;
        first = "";
    }
    for line in wrap(help.split(' '), WIDTH - LEFT) {
        writeln!(out, "  {first:LEFT$}{line}")?;
        first = "";
    }
    Ok(())
}

/// Wraps a synopsis at blanks outside brackets. Lines after the first are indented.
pub(crate) fn wrap_synopsis(synopsis: &str, width: usize) -> Vec<String> {
    const INDENT: usize = 4;
    let mut depth = 0;
    let words = synopsis.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        c == ' ' && depth == 0
    });
    let mut lines = wrap(words, width - INDENT);
    lines.iter_mut().skip(1).for_each(|line| line.insert_str(0, &" ".repeat(INDENT)));
    lines
}

/// Joins words to lines of at most `width` characters. A longer word has a line of its own.
fn wrap<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Returns all spellings of an option, and the name of its value: `-w, --weight weight`.
fn spellings(shorts: &str, long: &str, value: Value) -> String {
    let letters: String = shorts.chars().map(|letter| format!("-{letter}, ")).collect();
    format!("{letters}--{long}{}", value_name(value))
}

fn value_name(value: Value) -> String {
    match value {
        Value::None => String::new(),
        Value::Required(name) => format!(" {name}"),
        Value::Optional(name) => format!(" [{name}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_80_columns() {
        let mut out = Vec::new();
        write(&mut out, "ipvsadm").expect("writing to memory succeeds");
        let text = String::from_utf8(out).expect("text");
        let too_long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(too_long.is_empty(), "{too_long:#?}");
    }

    #[test]
    fn synopses_of_the_rows() {
        let synopses = synopses();
        let lines: Vec<&str> = synopses.iter().map(String::as_str).collect();
        assert_eq!(
            lines,
            [
                "-A|E virtual-service [-s scheduler] [-p [seconds]] [-M netmask] [--pe engine] [-o] [-b flags]",
                "-D virtual-service",
                "-C",
                "-R [--stream]",
                "-S [-n]",
                "-a|e virtual-service -r host[:port] [-g|-i|-m] [-w weight] [-x connections] [-y connections] \
                 [tunnel options]",
                "-d virtual-service -r host[:port]",
                "-L|l [-c|virtual-service|--timeout|--daemon] [-n] [--stats] [--rate] [--thresholds] \
                 [--persistent-conn] [--nosort] [-X] [--tun-info]",
                "-Z [virtual-service]",
                "--set tcp tcpfin udp",
                "--start-daemon master|backup [daemon options]",
                "--stop-daemon master|backup",
                "-h|v",
            ],
            "if a row of ipvs/src/rules/options/mod.rs has changed, correct the lines above"
        );
    }
}
