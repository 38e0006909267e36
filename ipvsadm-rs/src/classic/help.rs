//! `-h` and `-v`.

use std::io::{self, Write};

use ipvs::rules::{COMMANDS, OPTIONS, OptionRow, Value, Verb};

/// When this version was made.
pub(crate) const DATE: &str = "2026/11/21";

/// One line in ipvsadm's form. It needs neither root nor the module: the version of IPVS is read where everybody may
/// read it, and that does not load the module.
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

/// Usage, commands and options, from the tables.
pub(crate) fn write(out: &mut dyn Write, program: &str) -> io::Result<()> {
    write_version(out)?;
    writeln!(out, "Usage:")?;
    for synopsis in SYNOPSES {
        writeln!(out, "  {program} {synopsis}")?;
    }
    writeln!(out, "\nCommands:")?;
    for row in COMMANDS {
        write_row(out, &spellings(row.shorts, row.long, row.value), row.help)?;
    }
    writeln!(out, "\nvirtual-service:")?;
    write_options(out, |row| row.name == "service-address" || row.long == "ipv6")?;
    writeln!(out, "\nOptions:")?;
    write_options(out, |row| row.name != "service-address" && row.long != "ipv6" && !is_of_daemons(row))?;
    writeln!(out, "\nDaemon Options:")?;
    write_options(out, is_of_daemons)?;
    writeln!(out, "\nSchedulers: rr|wrr|lc|wlc|lblc|lblcr|dh|sh|sed|nq|fo|ovf|mh|twos")?;
    writeln!(out, "Scheduler flags: sh-fallback, sh-port, mh-fallback, mh-port; flag-1, flag-2, flag-3 of any")?;
    writeln!(out, "Tunnels: ipip, gue (with --tun-port), gre")
}

const SYNOPSES: &[&str] = &[
    "-A|E virtual-service [-s scheduler] [-p [timeout]] [-M netmask] [--pe engine] [-o] [-b flags]",
    "-D virtual-service",
    "-C",
    "-R [--stream]",
    "-S [-n]",
    "-a|e virtual-service -r server [-g|-i|-m] [-w weight] [-x upper] [-y lower] [tunnel options]",
    "-d virtual-service -r server",
    "-L|l [virtual-service | -c | --timeout | --daemon] [-n] [--stats|--rate|--thresholds|--persistent-conn|--tun-info]",
    "-Z [virtual-service]",
    "--set tcp tcpfin udp",
    "--start-daemon master|backup [daemon options]",
    "--stop-daemon master|backup",
    "-h|-v",
];

fn is_of_daemons(row: &OptionRow) -> bool {
    row.allowed.contains(&Verb::StartDaemon)
}

fn write_options(out: &mut dyn Write, wanted: impl Fn(&OptionRow) -> bool) -> io::Result<()> {
    for row in OPTIONS.iter().filter(|row| wanted(row)) {
        write_row(out, &spellings(row.shorts, row.long, row.value), row.help)?;
    }
    Ok(())
}

fn write_row(out: &mut dyn Write, spellings: &str, help: &str) -> io::Result<()> {
    const WIDTH: usize = 34;
    if spellings.len() >= WIDTH {
        return writeln!(out, "  {spellings}\n  {:WIDTH$}{help}", "");
    }
    writeln!(out, "  {spellings:WIDTH$}{help}")
}

/// `-w, --weight weight`
fn spellings(shorts: &str, long: &str, value: Value) -> String {
    let mut text: String = shorts.chars().map(|letter| format!("-{letter}, ")).collect();
    text += "--";
    text += long;
    match value {
        Value::None => {}
        Value::Required(name) => text += &format!(" {name}"),
        Value::Optional(name) => text += &format!(" [{name}]"),
    }
    text
}
