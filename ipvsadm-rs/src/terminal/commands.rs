//! Commands that the program prints for a person, who pastes them into a root shell.
//!
//! Parts of them come from outside: a container chooses the names of its network interfaces. [`quoted`] makes such a
//! part one word of the shell. [`Command::printable`] checks the whole command again.

use ipvs::Namespace;
use serde::Serialize;

use super::text::shell_word;

/// The host on which a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    Director,
    Server,
}

impl Place {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Director => "director",
            Self::Server => "server",
        }
    }
}

/// A command for a shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Command {
    on: Place,
    command: String,
}

/// The only end of a command that is not literal: a shell runs the commands that a verb prints.
const TO_SHELL: &str = " | sh -e";

impl Command {
    /// Returns a command for the director. Parts of it that come from outside must be [`quoted`].
    pub(crate) fn director(command: impl Into<String>) -> Self {
        Self { on: Place::Director, command: command.into() }
    }

    /// Returns a command for a server, as [`director`](Self::director) does.
    pub(crate) fn server(command: impl Into<String>) -> Self {
        Self { on: Place::Server, command: command.into() }
    }

    pub(crate) fn on(&self) -> Place {
        self.on
    }

    pub(crate) fn text(&self) -> &str {
        &self.command
    }

    /// Returns the command for output: on the director, it acts in this network namespace. `None`: the shell would not
    /// take each word literally, or a character is hidden. Such a command is not printed.
    pub(crate) fn printable(self, namespace: Option<&Namespace>) -> Option<Self> {
        let (command, is_script) = match self.command.strip_suffix(TO_SHELL) {
            Some(command) => (command, true),
            None => (self.command.as_str(), false),
        };
        let (mut command, mut shell) = (command.to_owned(), TO_SHELL.to_owned());
        if let (Place::Director, Some(namespace)) = (self.on, namespace) {
            command = within(namespace, &command);
            shell = format!(" | {}sh -e", prefix(namespace));
        }
        if !is_literal(&command) || !is_literal(shell.strip_prefix(" | ")?) {
            return None;
        }
        if is_script {
            command.push_str(&shell);
        }
        Some(Self { on: self.on, command })
    }
}

/// Returns a command that acts in a network namespace. Some commands act on the whole machine, or enter a namespace
/// themselves.
fn within(namespace: &Namespace, command: &str) -> String {
    const ANYWHERE: [&str; 2] = ["modprobe ", "nsenter "];
    if ANYWHERE.iter().any(|start| command.starts_with(start)) {
        return command.to_owned();
    }
    match command.strip_prefix("ipvsadm-rs ").and_then(|own| own.split_once(' ')) {
        Some((_, options)) if options.starts_with("--netns ") => command.to_owned(),
        Some((verb, options)) => format!("ipvsadm-rs {verb} --netns {} {options}", quoted(&namespace.to_string())),
        None => format!("{}{command}", prefix(namespace)),
    }
}

/// Returns the words before a command that make it act in a network namespace.
fn prefix(namespace: &Namespace) -> String {
    match namespace {
        Namespace::Name(name) => format!("ip netns exec {} ", quoted(name)),
        Namespace::Path(path) => format!("nsenter --net={} ", quoted(&path.to_string_lossy())),
        Namespace::Pid(pid) => format!("nsenter --target {pid} --net "),
        Namespace::Open(_) => String::new(),
    }
}

/// Returns a text as one word of the shell.
pub(crate) fn quoted(word: &str) -> String {
    // `=` at the start of a word is special in zsh.
    shell_word(word, if word.starts_with('=') { b"" } else { PLAIN })
}

/// Returns a line of ipvsadm with each of its words quoted: the brackets of an IPv6 address are a pattern of the shell.
pub(crate) fn quoted_line(line: &str) -> String {
    line.split(' ').map(quoted).collect::<Vec<_>>().join(" ")
}

/// Returns the command that sets a setting of a network interface: `net.ipv4.conf.eth0.rp_filter`. `family` is `ipv4` or
/// `ipv6`.
pub(crate) fn set_device(family: &str, device: &str, setting: &str, value: i64) -> String {
    // A dot in a name would separate the parts of the setting.
    let separator = if device.contains(['.', '/']) { "/" } else { "." };
    let name = ["net", family, "conf", device, setting].join(separator);
    format!("sysctl -w {}", quoted(&format!("{name}={value}")))
}

/// The characters that the shell takes literally, besides letters and digits.
const PLAIN: &[u8] = b"._-/=:@%+,";

/// Returns whether the shell takes each word of a command literally, and no character is hidden.
fn is_literal(command: &str) -> bool {
    let mut bytes = command.bytes();
    let mut is_quoted = false;
    while let Some(byte) = bytes.next() {
        let is_good = match byte {
            b'\'' => {
                is_quoted = !is_quoted;
                true
            }
            byte if is_quoted => (b' '..=b'~').contains(&byte),
            // A quote within a quoted word: '\''.
            b'\\' => bytes.next() == Some(b'\''),
            byte => byte == b' ' || byte.is_ascii_alphanumeric() || PLAIN.contains(&byte),
        };
        if !is_good {
            return false;
        }
    }
    !is_quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(command: &str, namespace: Option<&str>) -> Option<String> {
        let namespace: Option<Namespace> = namespace.map(|text| match text.parse() {
            Ok(namespace) => namespace,
            Err(never) => match never {},
        });
        Command::director(command).printable(namespace.as_ref()).map(|command| command.text().to_owned())
    }

    #[test]
    fn commands_are_literal_for_a_shell() {
        for command in [
            "ip link set eth0 up",
            "nft add chain ip x in '{ type filter; }'",
            "ipvsadm-rs snat-rules -f 7 | sh -e",
            "sysctl -w net.ipv4.vs.sync_threshold='3 50'",
            "ipvsadm -D -t '[fd00::1]:80'",
            r"ip link set 'it'\''s!$(x)' up",
        ] {
            assert_eq!(printed(command, None).as_deref(), Some(command));
        }
        for command in [
            "ip link set $(x) up",
            "a;b",
            "a | sh",
            "a | sh -e | sh -e",
            "a > /etc/passwd",
            "ip link set a'b up",
            "x '\n'",
            "'\u{202e}'",
            "'a'\\\\''$(x)'",
            r"'a'\ ",
            "`x`",
            "a\nb",
            "a\tb",
            "!x",
            "[fd00::1]:80",
            "~root",
            "*",
            "a {b,c}",
            "#",
            "a & b",
        ] {
            assert_eq!(printed(command, None), None, "{command}");
        }
    }

    #[test]
    fn words_are_quoted() {
        for (word, expected) in [
            ("eth0.7", "eth0.7"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00::1]:80", "'[fd00::1]:80'"),
            ("a!b", "'a!b'"),
            ("it's", r"'it'\''s'"),
            ("=ls", "'=ls'"),
            ("~", "'~'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
        assert_eq!(quoted_line("-a -t [fd00::1]:80 -r [fd01::1]:80"), "-a -t '[fd00::1]:80' -r '[fd01::1]:80'");
        for byte in 0..=127_u8 {
            let command = format!("ip link set {} up", quoted(&char::from(byte).to_string()));
            assert_eq!(printed(&command, None).is_some(), (b' '..=b'~').contains(&byte), "{command:?}");
        }
    }

    #[test]
    fn commands_act_in_the_namespace() {
        for (namespace, command, expected) in [
            ("lb", "sysctl -w net.ipv4.vs.conntrack=1", "ip netns exec lb sysctl -w net.ipv4.vs.conntrack=1"),
            ("a b", "ipvsadm -Z", "ip netns exec 'a b' ipvsadm -Z"),
            ("/run/ns/x", "ipvsadm -Z", "nsenter --net=/run/ns/x ipvsadm -Z"),
            ("17", "ipvsadm -Z", "nsenter --target 17 --net ipvsadm -Z"),
            ("lb", "ipvsadm-rs set -f 7 -s rr", "ipvsadm-rs set --netns lb -f 7 -s rr"),
            (
                "lb",
                "ipvsadm-rs snat-rules -f 7 | sh -e",
                "ipvsadm-rs snat-rules --netns lb -f 7 | ip netns exec lb sh -e",
            ),
            ("lb", "modprobe ip_vs", "modprobe ip_vs"),
            ("lb", "ipvsadm-rs doctor --netns other", "ipvsadm-rs doctor --netns other"),
        ] {
            assert_eq!(printed(command, Some(namespace)).as_deref(), Some(expected));
        }
        assert_eq!(printed("ipvsadm -Z", Some("a\nb")), None);
        let namespace = Namespace::Name("lb".into());
        let on_server = Command::server("ss -Hltn").printable(Some(&namespace)).expect("a command");
        assert_eq!((on_server.text(), on_server.on().name()), ("ss -Hltn", "server"));
        let json = serde_json::to_value(&on_server).expect("JSON");
        assert_eq!(json, serde_json::json!({"on": "server", "command": "ss -Hltn"}));
    }

    #[test]
    fn dots_in_the_name_of_a_device_are_no_separators() {
        for (device, expected) in [
            ("eth0", "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
            ("eth0.7", "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2"),
            ("a$(x)", "sysctl -w 'net.ipv4.conf.a$(x).rp_filter=2'"),
        ] {
            assert_eq!(set_device("ipv4", device, "rp_filter", 2), expected);
        }
    }
}
