//! Hints for lines that cannot be read.

use std::net::Ipv6Addr;

use ipvs::rules::program::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value};
use ipvs::rules::{HostError, LineError, ParseError, ValueError};

use super::paste;
use super::similar::similar;
use crate::file::diagnostic::SourceText;

/// Returns the hint for a line of a text. `None` if there is nothing to add to the message.
pub(crate) fn for_line(error: &LineError, text: &SourceText<'_>) -> Option<String> {
    if let ParseError::ServiceExists(line) | ParseError::ServerExists(line) | ParseError::DaemonRuns(line) = error.error
    {
        return Some(format!("line {line}: {}", String::from_utf8_lossy(text.line(line)).trim()));
    }
    let words: Vec<&[u8]> =
        error.text.split([' ', '\t', '\r']).filter(|word| !word.is_empty()).map(str::as_bytes).collect();
    let words = words.strip_prefix(&[&b"ipvsadm"[..]]).unwrap_or(&words);
    for_words(&error.error, words).or_else(|| {
        let has_quotes = words.iter().any(|word| word.starts_with(b"'") || word.starts_with(b"\""));
        has_quotes.then(|| "Quotation marks have no special meaning in a rules file. Omit them.".into())
    })
}

/// Returns the hint for the words of a command line, without the name of the program. `None` if there is nothing to add
/// to the message.
pub(crate) fn for_words(error: &ParseError, words: &[&[u8]]) -> Option<String> {
    paste::for_words(words).or_else(|| for_error(error, words))
}

fn for_error(error: &ParseError, words: &[&[u8]]) -> Option<String> {
    Some(match error {
        ParseError::UnknownOption(word) => for_unknown_option(word)?,
        ParseError::SecondCommand(_) => "A line has one command.".into(),
        ParseError::Repeated("service-address") => {
            "A line names one service. -t, -u, --sctp-service and -f exclude each other.".into()
        }
        ParseError::Repeated("forwarding-method") => "-g, -i and -m exclude each other.".into(),
        ParseError::BadValue { option, value, error, .. } => for_value(option, value, error)?,
        ParseError::BadRole { .. } => "The role is `master' or `backup'.".into(),
        ParseError::SetNeedsThree | ParseError::BadTimeout(_) => {
            "Specify three times in seconds: TCP, TCP after FIN, and UDP. 0 keeps the current value.".into()
        }
        ParseError::UnexpectedWord(word) => for_unexpected_word(word, words)?,
        ParseError::Ipv6WithoutMark => {
            "-6 is only for firewall marks (-f). With -t or -u, the address determines the family: -t [2001:db8::1]:80"
                .into()
        }
        ParseError::Missing { option: "service-address", .. } => {
            "Specify the service with -t, -u, --sctp-service or -f.".into()
        }
        ParseError::Missing { option: "real-server", .. } => "Specify the server with -r.".into(),
        ParseError::Illegal { option, command } => for_illegal_option(option, command)?,
        ParseError::TunnelOptionsWithoutTunnel => "Tunnel options require -i.".into(),
        ParseError::MissingForTunnel { option, .. } => format!("Specify --{option}."),
        ParseError::ZeroPort => without_port(words),
        ParseError::OnePacketNotUdp => "Use -u instead of -t, or omit -o.".into(),
        ParseError::MixedFamily => for_mixed_family(words),
        _ => return None,
    })
}

fn for_unknown_option(word: &str) -> Option<String> {
    let long = word.strip_prefix("--")?;
    let (name, value) = long.split_at(long.find('=').unwrap_or(long.len()));
    let known = COMMANDS.iter().map(|row| row.long).chain(OPTIONS.iter().map(|row| row.long));
    similar(name, known).map(|similar| format!("Did you mean --{similar}{value}?"))
}

/// Returns the hint for a word that belongs to no option. Its option may have become the value of the one before it.
fn for_unexpected_word(word: &str, words: &[&[u8]]) -> Option<String> {
    let options = |typed: &[u8]| {
        let typed = String::from_utf8_lossy(typed).into_owned();
        OPTIONS.iter().find(|row| {
            let is_short =
                typed.strip_prefix('-').is_some_and(|letter| letter.len() == 1 && row.shorts.contains(letter));
            (is_short || typed.strip_prefix("--") == Some(row.long)) && matches!(row.value, Value::Required(_))
        })
    };
    let swallowed = words
        .windows(2)
        .find_map(|pair| for_swallowed_option(options(pair[0])?.long, &String::from_utf8_lossy(pair[1])));
    let is_address = word.contains(['.', ':']);
    swallowed.or_else(|| {
        is_address.then(|| {
            format!("`{word}' belongs to no option. Services have -t, -u, --sctp-service or -f, servers have -r.")
        })
    })
}

/// Returns the hint for an option that the command does not accept: the commands that do.
fn for_illegal_option(option: &str, command: &str) -> Option<String> {
    let adds_server = matches!(option, "real-server" | "forwarding-method" | "weight");
    if adds_server && matches!(command, "add-service" | "edit-service") {
        let (letter, does) = if command == "add-service" { ("-a", "adds") } else { ("-e", "edits") };
        return Some(format!("{letter} {does} a server: {letter} -t SERVICE -r SERVER -m"));
    }
    let rows = OPTIONS.iter().filter(|row| row.name == option);
    let accepts = |command: &&CommandRow| {
        rows.clone().any(|row: &OptionRow| row.allowed.contains(&command.verb) || row.required.contains(&command.verb))
    };
    let commands: Vec<String> = COMMANDS.iter().filter(accepts).map(shortest).collect();
    let (last, others) = commands.split_last()?;
    Some(match others {
        [] => format!("Only {last} accepts this option."),
        others => format!("Only {} and {last} accept this option.", others.join(", ")),
    })
}

/// Returns the shortest spelling of a command.
fn shortest(command: &CommandRow) -> String {
    command.shorts.chars().next().map_or_else(|| format!("--{}", command.long), |letter| format!("-{letter}"))
}

fn for_value(option: &str, value: &str, error: &ValueError) -> Option<String> {
    if let Some(hint) = for_swallowed_option(option, value) {
        return Some(hint);
    }
    let seconds = || humantime::parse_duration(value).ok().map(|duration| duration.as_secs());
    Some(match (option, error) {
        ("fwmark-service", _) => for_mark(value)?,
        ("persistent", _) => format!("The time is in seconds: -p {}", seconds()?),
        ("sched-flags", ValueError::UnknownFlag(_)) => {
            "Flags are sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 and flag-3, separated by commas."
                .into()
        }
        ("sched-flags", ValueError::ForeignFlag(flag)) => match flag.split_once('-') {
            Some((scheduler, _)) => format!("{flag} is a flag of the scheduler {scheduler}. Specify -s {scheduler}."),
            None => return None,
        },
        ("netmask", _) if value.starts_with('/') => format!("Omit the slash: -M {}", &value[1..]),
        ("tcp-service" | "udp-service" | "sctp-service" | "real-server", _) => for_address(value, error)?,
        _ => return None,
    })
}

/// Returns the hint for an option that was read as the value of the option before it.
fn for_swallowed_option(option: &str, value: &str) -> Option<String> {
    let is_option = value.strip_prefix("--").map_or_else(
        || value.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic())),
        |long| OPTIONS.iter().any(|row| row.long == long),
    );
    is_option.then(|| format!("`{value}' was read as the value of --{option}, whose own value is missing."))
}

fn for_mark(value: &str) -> Option<String> {
    if value.contains('/') {
        return Some("A service has a mark without a mask. The kernel compares the whole mark.".into());
    }
    if let Some(mark) = value.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        return Some(format!("Marks are decimal here: -f {mark}"));
    }
    value.parse().is_ok_and(|mark: u64| mark == 0).then(|| "Packets without a mark have mark 0.".into())
}

/// Returns the hint for a host whose lookup failed. `None` if there is no such host.
pub(crate) fn for_host(error: HostError) -> Option<&'static str> {
    match error {
        HostError::NoAnswer | HostError::NotAsked | HostError::ServerFailed => {
            Some("Use addresses instead of names, or check the name server in /etc/resolv.conf.")
        }
        _ => None,
    }
}

fn for_address(value: &str, error: &ValueError) -> Option<String> {
    Some(match error {
        _ if value.contains("://") => "Specify ADDRESS:PORT, without a protocol and a path.".into(),
        ValueError::Host(error) if for_host(*error).is_some() => for_host(*error)?.into(),
        ValueError::Host(_) | ValueError::UnknownPort if value.contains('/') => {
            "Specify a single address, without a prefix length.".into()
        }
        ValueError::Host(_) if value.contains('%') => "IPVS has no zones. Omit `%' and the interface.".into(),
        ValueError::UnknownPort if value.contains('-') => {
            "A service has one port. For a range of ports, set a firewall mark, and use -f.".into()
        }
        ValueError::Brackets => "Specify [ADDRESS]:PORT.".into(),
        _ => return None,
    })
}

/// Returns the hint for a service without a port. An IPv6 address without brackets has none, even if it ends in one.
fn without_port(words: &[&[u8]]) -> String {
    let address = words.iter().find_map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        let text = word.strip_prefix("-t").or_else(|| word.strip_prefix("-u")).unwrap_or(word);
        let text = text.split_once('=').map_or(text, |(_, value)| value);
        text.parse::<Ipv6Addr>().ok().map(|_| text.to_owned())
    });
    let Some(text) = address else {
        return "Add the port: ADDRESS:PORT. A service for all ports needs persistence (-p).".into();
    };
    let ends_in_port = text
        .rsplit_once(':')
        .filter(|(host, port)| port.parse::<u16>().is_ok_and(|port| port > 0) && host.parse::<Ipv6Addr>().is_ok());
    let with_port = match ends_in_port {
        Some((host, port)) => format!("[{host}]:{port}"),
        None => format!("[{text}]:PORT"),
    };
    format!("`{text}' was read as an address without a port. With a port: {with_port}")
}

/// Returns the hint for a server of the other family than the service.
fn for_mixed_family(words: &[&[u8]]) -> String {
    let is = |word: &[u8], options: &[&str]| options.iter().any(|option| option.as_bytes() == word);
    let has_mark = words.iter().any(|word| is(word, &["-f", "--fwmark-service"]) || word.starts_with(b"-f"));
    let has_ipv6 = words.iter().any(|word| is(word, &["-6", "--ipv6"]));
    if has_mark && !has_ipv6 {
        return "A mark without -6 is a service for IPv4 packets. For IPv6 packets, add -6 after the mark.".into();
    }
    "Servers of the other address family need a tunnel (-i).".into()
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Lines, Numeric, parse, read_config};

    use super::*;

    /// Returns the hint for a command line.
    fn hint(line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let error = parse(&words, &mut Numeric).expect_err(line);
        for_words(&error, &words).unwrap_or_default()
    }

    #[test]
    fn hints_for_command_lines() {
        for (line, part) in [
            ("-A -t 2001:db8:96::a:53 -s rr", "With a port: [2001:db8:96::a]:53"),
            ("-A --tcp-service=2001:db8:96::a:53", "With a port: [2001:db8:96::a]:53"),
            ("-A -t2001:db8::80", "`2001:db8::80' was read as an address without a port."),
            ("-A -t [2001:db8::80]:0", "A service for all ports needs persistence (-p)."),
            ("-A -t 192.0.2.1", "Add the port"),
            ("-A -t 192.0.2.1:80 -6", "-6 is only for firewall marks"),
            ("-a -f 7 -r 2001:db8::5 -m", "add -6 after the mark"),
            ("-a -t 192.0.2.1:80 -r 2001:db8::5 -m", "need a tunnel (-i)"),
            ("-A -t 192.0.2.1:80 -r 10.0.0.1", "-a adds a server: -a -t SERVICE -r SERVER -m"),
            ("-E -t 192.0.2.1:80 -w 5", "-e edits a server: -e -t"),
            ("-a -t 192.0.2.1:80 -r 10.0.0.1 -s rr", "Only -A and -E accept this option."),
            ("-D -t 192.0.2.1:80 -n", "Only -S and -L accept this option."),
            ("-A -f 0x64", "-f 100"),
            ("-A -f 0x64/0xff", "a mark without a mask"),
            ("-A -f 0", "mark 0"),
            ("-A -t 192.0.2.1:80 -s sh -b -w 100", "`-w' was read as the value of --sched-flags"),
            ("-A -t -s rr", "`-s' was read as the value of --tcp-service"),
            ("-A -t 192.0.2.1:80 -s sh -b mh-port", "Specify -s mh."),
            ("-A -t 192.0.2.1:80 -s sh -b fallback", "sh-fallback"),
            ("-A -t 192.0.2.1:80 -p 5m", "-p 300"),
            ("-A -t 192.0.2.1:80 -p -M /24", "-M 24"),
            ("-A -t http://192.0.2.1:80/", "without a protocol"),
            ("-A -t 192.0.2.1/32:80", "without a prefix length"),
            ("-A -t 192.0.2.1:8000-8010", "For a range of ports"),
            ("-A -t [fe80::1%eth0]:80", "no zones"),
            ("-A --scheduller rr", "Did you mean --scheduler?"),
            ("-A -u 192.0.2.1:80 -t 192.0.2.1:80", "-t, -u, --sctp-service and -f exclude each other"),
            ("-A -t 192.0.2.1:80 -D", "one command"),
            ("-A 192.0.2.1:80", "belongs to no option"),
            ("-A -s rr", "Specify the service"),
            ("-a -t 192.0.2.1:80 -m", "Specify the server"),
            ("-A -t 192.0.2.1:80 -o", "Use -u"),
            ("--start-daemon both", "`master' or `backup'"),
            ("--set 1 2", "three times"),
            ("\u{2013}A -t 192.0.2.1:80", "Type `-A'"),
        ] {
            let found = hint(line);
            assert!(found.contains(part), "{line}: {found}");
        }
        for line in ["-A -t 192.0.2.1:80 -w", "-t 192.0.2.1:80", "-A -t nowhere:80"] {
            assert_eq!(hint(line), "", "{line}");
        }
    }

    #[test]
    fn hints_for_lines_of_files() {
        let hint = |text: &str| {
            let errors = read_config(text.as_bytes(), &mut Numeric).expect_err(text);
            for_line(&errors[0], &SourceText::new(text.as_bytes())).unwrap_or_default()
        };
        let added = "-A -t 192.0.2.1:80 -s rr\n  -a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3\n";
        assert_eq!(
            hint(&format!("{added}-a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 5\n")),
            "line 2: -a -t 192.0.2.1:80 -r 10.0.0.1 -m -w 3"
        );
        assert_eq!(hint(&format!("{added}-A -t 192.0.2.1:80 -s wrr")), "line 1: -A -t 192.0.2.1:80 -s rr");
        assert!(hint("ipvsadm -A -t '192.0.2.1:80'\n").starts_with("Quotation marks"));
        assert!(hint("ipvsadm -A -t 192.0.2.1:80 \\\n -s rr\n").starts_with("A backslash"));
        assert!(hint("sudo ipvsadm -A -t 192.0.2.1:80\n").starts_with("Omit `sudo ipvsadm'"));
        let mut names = Numeric;
        let mut lines = Lines::classic(b"/sbin/ipvsadm -A\n", &mut names);
        let error = lines.next().expect("a line").expect_err("a path");
        assert!(for_line(&error, &SourceText::new(b"")).expect("a hint").starts_with("Omit `/sbin/ipvsadm'"));
    }
}
