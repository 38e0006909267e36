//! Generates random lines: correct ones, plausible errors, and nonsense.

use ipvs::rules::program::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};
use ipvs_tests::oracle::rng::Rng;

/// The words of a line.
pub(super) type Words = Vec<Vec<u8>>;

/// Mostly valid values by option. Options without a row here take none.
const VALUES: &[(&str, &[&str])] = &[
    ("tcp-service", SERVICES),
    ("udp-service", SERVICES),
    ("sctp-service", SERVICES),
    ("fwmark-service", &["1", "2", "7", "2147483647", "007", "+3"]),
    ("scheduler", &["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "nq", "none", "", "nosuch"]),
    ("persistent", &["1", "60", "360", "2678400", "007"]),
    ("netmask", &["255.255.255.0", "255.255.255.255", "255.0.255.0", "0xffff0000", "64", "128", "24", "mask.test"]),
    (
        "real-server",
        &[
            "10.1.0.1",
            "10.1.0.1:80",
            "10.1.0.2:8080",
            "10.1.0.2:http",
            "rs1.test",
            "rs2:http-alt",
            "10.1.0.4:0",
            "[2001:db8:1::1]:80",
            "2001:db8:1::1",
            "[2001:db8:1::2]:8080",
            "127.0.0.1",
        ],
    ),
    ("weight", &["0", "1", "5", "65535", "2147483647", " 7"]),
    ("u-threshold", &["0", "10", "2147483647"]),
    ("l-threshold", &["0", "5"]),
    ("mcast-interface", &["lo", "lo", "lo", "nosuch", ""]),
    ("syncid", &["0", "7", "255"]),
    ("pe", &["sip", "", "nosuch"]),
    ("sched-flags", &["flag-1", "sh-port", "sh-port,sh-fallback", "mh-port", "flag-1,flag-2,flag-3", "", ",flag-2,"]),
    ("mcast-group", &["224.0.0.9", "ff02::9", "239.1.1.1"]),
    ("mcast-port", &["1", "8848", "65535"]),
    ("mcast-ttl", &["1", "255"]),
    ("sync-maxlen", &["1", "1000", "1472", "65507"]),
    ("tun-type", &["ipip", "gue", "gre"]),
    ("tun-port", &["1", "6080", "65535"]),
];

const SERVICES: &[&str] = &[
    "10.0.0.1:80",
    "10.0.0.1:80",
    "10.0.0.1:80",
    "10.0.0.1:53",
    "10.0.0.2:80",
    "10.0.0.1",
    "vip.test:http",
    "vip:https",
    "10.1:80",
    "0xa000001:0120",
    "[2001:db8::1]:80",
    "[2001:db8::1]:80",
    "[2001:db8::2]:http",
    "2001:db8::1",
    "[::ffff:10.0.0.1]:80",
];

/// Values that are invalid for some option.
const WRONG: &[&str] = &[
    "",
    "0",
    "-1",
    "80",
    "x",
    "nosuch",
    "10.0.0.1:",
    "10.0.0.1:70000",
    ":80",
    "[2001:db8::1",
    "[2001:db8::1]",
    "[10.0.0.1]:80",
    "[vip.test]:80",
    "six.test:80",
    "[six.test]:80",
    "dual.test:80",
    "10.0.0.1 x:80",
    "10.0.0.256:80",
    "2147483648",
    "4294967295",
    "99999999999999999999",
    "5 ",
    "0x10",
    "1.5",
    "64abc",
    "129",
    "33",
    "24",
    "255.255.255",
    "255.255.255.0 x",
    "sh-port,",
    ",",
    "flag-4",
    "mh-port,sh-port",
    "-p",
    "--",
    "-",
    "!#:+",
    "gue",
    "GRE",
    "master",
    "backup",
    "2678401",
    "65536",
    "256",
    "10.0.0.1:http",
    "10.1.0.1:nosuch",
    "nosuch.test:80",
    "224.0.0.1",
    "0.0.0.0:0",
    "::",
    "fe80::1%lo",
    "10.0.0.1:80:90",
    "a b",
    "\t5",
    "localhost",
];

/// Words that belong to no option.
const LOOSE: &[&str] =
    &["foo", "-", "--", "", "-q", "--nosuch", "-9", "100", "ipvsadm", "-h", "--version", "--list", "-=", "--="];

/// Generates a line with up to two mistakes.
pub(super) fn line(rng: &mut Rng) -> Words {
    let mut parts = parts(rng);
    if rng.once_in(3) {
        shuffle(rng, &mut parts);
    }
    let mut words = Vec::new();
    parts.iter().for_each(|part| part.write(rng, &mut words));
    for _ in 0..[0, 0, 0, 1, 1, 2][rng.below(6)] {
        mistake(rng, &mut words);
    }
    words
}

/// Generates a well-formed line that changes a service or server.
pub(super) fn change(rng: &mut Rng) -> Words {
    let verb = *rng.one_of(&[
        Verb::AddService,
        Verb::AddService,
        Verb::AddService,
        Verb::EditService,
        Verb::AddServer,
        Verb::AddServer,
        Verb::AddServer,
        Verb::AddServer,
        Verb::EditServer,
        Verb::DeleteServer,
        Verb::DeleteService,
    ]);
    let row = COMMANDS.iter().find(|row| row.verb == verb).expect("every verb has a row");
    let mut words = Vec::new();
    fitting(rng, row, true).iter().for_each(|part| part.write(rng, &mut words));
    words
}

/// A command or an option with its value, or a loose word.
#[derive(Clone)]
enum Part {
    Command(&'static CommandRow, Vec<u8>),
    Option(&'static OptionRow, Option<Vec<u8>>),
    Loose(Vec<u8>),
}

fn parts(rng: &mut Rng) -> Vec<Part> {
    let row = command(rng);
    let mut parts = fitting(rng, row, false);
    // Sometimes also other options.
    while rng.once_in(5) {
        let row = rng.one_of(OPTIONS);
        if !row.beyond_1_31 {
            let value = value(rng, row);
            parts.push(Part::Option(row, value));
        }
    }
    if rng.once_in(25) {
        parts.push(Part::Loose(rng.one_of(LOOSE).as_bytes().to_vec()));
    }
    parts
}

/// Picks a command, more often one that changes something.
fn command(rng: &mut Rng) -> &'static CommandRow {
    let rest = COMMANDS.len();
    let at = match rng.below(4) {
        0 => rng.below(rest),
        _ => *rng.one_of(&[0, 0, 0, 1, 1, 2, 6, 6, 6, 6, 7, 7, 8, 9, 9, 9, 5]),
    };
    &COMMANDS[at]
}

/// Generates a command with its required options and some of the allowed ones. `valid` excludes missing options and
/// invalid values.
fn fitting(rng: &mut Rng, row: &'static CommandRow, valid: bool) -> Vec<Part> {
    let role = if rng.once_in(2) { "master" } else { "backup" };
    let mut parts = vec![Part::Command(row, role.as_bytes().to_vec())];
    let needed = |option: &&OptionRow| option.required.contains(&row.verb) && option.name == "service-address";
    let services: Vec<&'static OptionRow> = OPTIONS.iter().filter(needed).collect();
    let add = |parts: &mut Vec<Part>, rng: &mut Rng, row: &'static OptionRow| {
        let value = if valid { valid_value(rng, row) } else { value(rng, row) };
        parts.push(Part::Option(row, value));
    };
    if !services.is_empty() && (valid || !rng.once_in(20)) {
        let service = *rng.one_of(&[services[0], services[0], services[0], services[1], services[2], services[3]]);
        add(&mut parts, rng, service);
        if service.long == "fwmark-service" && rng.once_in(3) {
            add(&mut parts, rng, option("ipv6"));
        }
    }
    for option in OPTIONS.iter().filter(|option| option.name != "service-address" && !option.beyond_1_31) {
        let (required, allowed) = (option.required.contains(&row.verb), option.allowed.contains(&row.verb));
        let alone = option.exclusive.contains(&row.verb);
        if required && (valid || !rng.once_in(20)) || allowed && rng.once_in(4) || alone && rng.once_in(6) {
            add(&mut parts, rng, option);
        }
    }
    if row.verb == Verb::Set {
        for _ in 0..[3, 3, 3, 2, 4][rng.below(5)] {
            let word = *rng.one_of(&["0", "100", "2678400", "7", "x", "-1", "2678401"]);
            parts.push(Part::Loose(word.as_bytes().to_vec()));
        }
    }
    // Usually keep only the first forwarding method.
    let mut methods = 0;
    parts.retain(|part| match part {
        Part::Option(row, _) if row.name == "forwarding-method" => {
            methods += 1;
            methods == 1 || !valid && rng.once_in(10)
        }
        _ => true,
    });
    parts
}

fn option(long: &str) -> &'static OptionRow {
    OPTIONS.iter().find(|row| row.long == long).expect("an option")
}

fn value(rng: &mut Rng, row: &OptionRow) -> Option<Vec<u8>> {
    if row.value != Value::None && rng.once_in(12) {
        return Some(rng.one_of(WRONG).as_bytes().to_vec());
    }
    valid_value(rng, row)
}

fn valid_value(rng: &mut Rng, row: &OptionRow) -> Option<Vec<u8>> {
    let optional = matches!(row.value, Value::Optional(_)) && rng.once_in(2);
    if row.value == Value::None || optional {
        return None;
    }
    let values = VALUES.iter().find(|(long, _)| *long == row.long).map_or(WRONG, |(_, values)| values);
    Some(rng.one_of(values).as_bytes().to_vec())
}

impl Part {
    /// Appends it in a random spelling.
    fn write(&self, rng: &mut Rng, words: &mut Words) {
        let (shorts, long, value) = match self {
            Part::Loose(word) => return words.push(word.clone()),
            Part::Command(row, role) => (row.shorts, row.long, (row.value != Value::None).then_some(role)),
            Part::Option(row, value) => (row.shorts, row.long, value.as_ref()),
        };
        let attached = |name: String, sign: &str, value: &Vec<u8>| [name.as_bytes(), sign.as_bytes(), value].concat();
        let letter = shorts.as_bytes().get(rng.below(shorts.len())).copied().filter(|_| !rng.once_in(4));
        let Some(letter) = letter.map(char::from) else {
            match value {
                None => words.push(format!("--{long}").into_bytes()),
                Some(value) if rng.once_in(2) => words.push(attached(format!("--{long}"), "=", value)),
                Some(value) => words.extend([format!("--{long}").into_bytes(), value.clone()]),
            }
            return;
        };
        // Sometimes in one word with the previous letter, if that takes no value.
        let bundle = words.last().is_some_and(|last| is_bundle(last)) && rng.once_in(2);
        let mut name = if bundle { words.pop().unwrap_or_default() } else { b"-".to_vec() };
        name.push(letter as u8);
        match (value, rng.below(4)) {
            (Some(value), 0) => name.extend_from_slice(value),
            (Some(value), 1) => {
                name.push(b'=');
                name.extend_from_slice(value);
            }
            (Some(value), _) => return words.extend([name, value.clone()]),
            (None, _) => {}
        }
        words.push(name);
    }
}

/// Checks whether a word consists of letters without values, such as `-Ln`.
fn is_bundle(word: &[u8]) -> bool {
    let takes_nothing = |letter: &u8| {
        let letter = char::from(*letter);
        let option = OPTIONS.iter().find(|row| row.shorts.contains(letter)).map(|row| row.value);
        option.or(COMMANDS.iter().find(|row| row.shorts.contains(letter)).map(|row| row.value)) == Some(Value::None)
    };
    matches!(word, [b'-', letters @ ..] if !letters.is_empty() && letters.iter().all(takes_nothing))
}

/// Shuffles the parts; the command usually stays first.
fn shuffle(rng: &mut Rng, parts: &mut [Part]) {
    let first = usize::from(!rng.once_in(10));
    for at in (first + 1..parts.len()).rev() {
        parts.swap(at, first + rng.below(at + 1 - first));
    }
}

fn mistake(rng: &mut Rng, words: &mut Words) {
    if words.is_empty() {
        return;
    }
    let at = rng.below(words.len());
    match rng.below(10) {
        0 => drop(words.remove(at)),
        1 => words.insert(at, words[at].clone()),
        2 => {
            let other = rng.below(words.len());
            words.swap(at, other);
        }
        3 => words.insert(at, rng.one_of(LOOSE).as_bytes().to_vec()),
        4 => words.insert(at + 1, rng.one_of(WRONG).as_bytes().to_vec()),
        5 => words[at] = rng.one_of(WRONG).as_bytes().to_vec(),
        6 if at + 1 < words.len() => {
            let next = words.remove(at + 1);
            words[at].extend(next);
        }
        7 => {
            let place = rng.below(words[at].len() + 1);
            let rest = words[at].split_off(place);
            words.insert(at + 1, rest);
        }
        8 if !words[at].is_empty() => {
            let place = rng.below(words[at].len());
            words[at].remove(place);
        }
        _ => {
            const BYTES: &[u8] = b"0123456789abcdefimnprstuwxyzACDELRSXZ-=:.,[]# +\xff";
            let place = rng.below(words[at].len() + 1);
            let byte = *rng.one_of(BYTES);
            words[at].insert(place, byte);
        }
    }
}
