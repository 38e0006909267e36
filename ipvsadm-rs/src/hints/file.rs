//! Files that are not rules, JSON or TOML.

/// The byte order mark of UTF-8. Some editors write it, and no reader of tables needs it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the contents without a byte order mark.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// A kind of file that this program cannot read, and the way to get a file that it can.
struct Kind {
    is_it: fn(&str) -> bool,
    hint: &'static str,
}

const KINDS: &[Kind] = &[
    Kind { is_it: |text| first_line(text).starts_with("#!") && !first_line(text).contains("ipvsadm"), hint: A_SCRIPT },
    Kind {
        is_it: |text| {
            let has_header =
                |line: &str| line.starts_with("IP Virtual Server version") || line.starts_with("Prot LocalAddress");
            text.lines().take(3).any(has_header)
        },
        hint: "This looks like a listing of ipvsadm. To write the table in a form that can be read, use `ipvsadm-save -n`.",
    },
    Kind {
        is_it: is_keepalived,
        hint: "This looks like a configuration of keepalived. To get a rules file, use `ipvsadm-rs convert`. To write the \
               table that keepalived made, use `ipvsadm-save -n` or `ipvsadm-rs save`.",
    },
    Kind {
        is_it: is_ldirectord,
        hint: "This looks like a configuration of ldirectord. To get a rules file, use `ipvsadm-rs convert`. To write the \
               table that ldirectord made, use `ipvsadm-save -n` or `ipvsadm-rs save`.",
    },
    Kind {
        is_it: |text| {
            text.lines()
                .any(|line| line.starts_with("*filter") || line.starts_with("*nat") || line.starts_with("*mangle"))
        },
        hint: "This looks like rules of iptables-save. Use iptables-restore for them.",
    },
    Kind {
        is_it: |text| has_block(text, &["table ip", "table ip6", "table inet"]),
        hint: "This looks like a ruleset of nft. Use `nft -f` for it.",
    },
    Kind { is_it: is_shell, hint: A_SCRIPT },
];

const A_SCRIPT: &str =
    "This looks like a shell script. To get a rules file, run the script, then use `ipvsadm-save -n`.";

/// Returns the hint for a file that is neither rules nor JSON nor TOML, but looks like something else. `None` if it
/// looks like nothing that is known.
pub(crate) fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Some("This is text in UTF-16. To convert it, use `iconv -f UTF-16 -t UTF-8`.");
        }
        [0x1f, 0x8b, ..] => return Some("This file is compressed. To read it, use `zcat FILE | ipvsadm-rs … -`."),
        _ => {}
    }
    /// The part of a file that is read, in bytes. Files of other kinds are recognised by their start.
    const START: usize = 64 * 1024;
    let bytes = without_mark(bytes);
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(START)]);
    KINDS.iter().find(|kind| (kind.is_it)(&text)).map(|kind| kind.hint)
}

/// Returns whether a text looks like a configuration of keepalived.
pub(crate) fn is_keepalived(text: &str) -> bool {
    has_block(text, &["virtual_server", "virtual_server_group", "vrrp_instance", "global_defs", "real_server"])
}

/// Returns whether a text looks like a configuration of ldirectord.
pub(crate) fn is_ldirectord(text: &str) -> bool {
    has_setting(text, &["virtual", "virtual6"])
        && has_setting(text, &["real", "real6", "fallback", "fallback6", "scheduler", "checktype"])
}

/// Returns whether a file looks like a shell script, which a line `NAME=VALUE` makes similar to TOML.
pub(crate) fn is_script(bytes: &[u8]) -> bool {
    looks_like(bytes) == Some(A_SCRIPT)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Returns whether a line is one of these words, perhaps with a value, and `{`.
fn has_block(text: &str, words: &[&str]) -> bool {
    text.lines().map(str::trim).any(|line| {
        words.iter().any(|word| {
            line.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t', '{']) && rest.contains('{'))
        })
    })
}

/// Returns whether a line is `NAME = VALUE` with one of these names, and the value is not that of TOML.
fn has_setting(text: &str, names: &[&str]) -> bool {
    text.lines().filter_map(|line| line.split_once('=')).any(|(name, _)| names.contains(&name.trim()))
}

/// Returns whether a line sets a variable as in a shell, or is a command of one.
fn is_shell(text: &str) -> bool {
    let sets_variable = |line: &str| {
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once('=').is_some_and(|(name, value)| {
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_name
                && !value.starts_with([' ', '\t', '[', '{', '\''])
                && (value.starts_with('$') || !value.starts_with('"'))
        })
    };
    let is_command = |line: &str| {
        let first = line.split([' ', ';', '\t']).next().unwrap_or_default();
        matches!(
            first,
            "if" | "for" | "while" | "case" | "fi" | "done" | "esac" | "echo" | "modprobe" | "sysctl" | "exit"
        )
    };
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines().any(is_command) || lines().any(sets_variable) && lines().any(|line| line.contains('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_other_files() {
        for (text, part) in [
            ("#!/bin/sh\nipvsadm -C\n", "a shell script"),
            ("VIP=192.0.2.1\nipvsadm -A -t $VIP:80 -s rr\n", "a shell script"),
            ("# web\nfor i in 1 2; do\n", "a shell script"),
            ("IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n", "a listing"),
            ("global_defs {\n}\nvirtual_server 192.0.2.1 80 {\n", "keepalived"),
            ("! c\nvirtual_server 192.0.2.1 80 {\n lb_algo rr\n", "keepalived"),
            ("checktimeout=3\nvirtual=192.0.2.1:80\n\treal=10.0.0.1:80 masq\n", "ldirectord"),
            ("*nat\n:PREROUTING ACCEPT [0:0]\n", "iptables-save"),
            ("table inet filter {\n", "nft"),
        ] {
            assert!(looks_like(text.as_bytes()).is_some_and(|hint| hint.contains(part)), "{text}");
        }
        assert!(looks_like(b"\xff\xfe-\0A\0").is_some_and(|hint| hint.contains("UTF-16")));
        assert!(looks_like(b"\x1f\x8b\x08\0").is_some_and(|hint| hint.contains("compressed")));
        for text in [
            "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n",
            "#!/usr/sbin/ipvsadm-restore\n-A -f 1\n",
            "[[services]]\nfwmark = 1\nscheduler = \"rr\"\n",
            "schema=1\n[timeouts]\ntcp=900\n",
            "{\"schema\": 1}\n",
            "",
        ] {
            assert_eq!(looks_like(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn byte_order_marks_are_removed() {
        assert_eq!(without_mark(b"\xef\xbb\xbf{}"), b"{}");
        assert_eq!(without_mark(b"{}"), b"{}");
    }
}
