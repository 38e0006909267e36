//! TABLE: the words of ipvsadm's language. A row says how a word is spelled, what it takes, with which commands it is
//! legal, how it is read, how it is written in a saved line, and what help says of it.
//!
//! Order is that of ipvsadm's complaints when several options of a line are wrong, and of the options in saved lines.

use super::draft::{self, Draft};
use super::error::Reason;
use super::resolver::Resolver;
use super::saved::{self, Line, Saved};

/// What ipvsadm can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the commands, described in COMMANDS")]
pub enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    None,
    /// A value, whatever it looks like; the name is for help.
    Required(&'static str),
    /// A value unless it begins with `-`; the name is for help.
    Optional(&'static str),
}

/// A command: exactly one comes first on a line.
#[derive(Debug)]
pub struct CommandRow {
    /// What it does.
    pub verb: Verb,
    /// What messages call it.
    pub name: &'static str,
    /// `--long`, without the dashes.
    pub long: &'static str,
    /// Letters behind one dash, none to two.
    pub shorts: &'static str,
    /// What follows it.
    pub value: Value,
    /// One line of help.
    pub help: &'static str,
}

/// An option.
pub struct OptionRow {
    /// What messages call it. Spellings with the same name exclude each other. "" is never complained of.
    pub name: &'static str,
    /// `--long`, without the dashes.
    pub long: &'static str,
    /// A letter behind one dash, or none.
    pub shorts: &'static str,
    /// What follows it.
    pub value: Value,
    /// The commands that need it.
    pub required: &'static [Verb],
    /// The commands that take it.
    pub allowed: &'static [Verb],
    /// The commands that take it as the only one of those that are exclusive with them.
    pub exclusive: &'static [Verb],
    /// What ipvsadm says when the value is wrong; `{}` is the value.
    pub complaint: &'static str,
    /// One line of help.
    pub help: &'static str,
    pub(crate) read: Read,
    pub(crate) save: Option<Save>,
}

pub(crate) type Read = for<'a> fn(&mut Draft<'a>, &'a [u8], &mut dyn Resolver) -> Result<(), Reason>;
pub(crate) type Save = fn(&mut Line<'_>, &Saved<'_>);

impl std::fmt::Debug for OptionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--{}", self.long)
    }
}

impl CommandRow {
    const fn new(verb: Verb, shorts: &'static str, long: &'static str, help: &'static str) -> Self {
        Self { verb, name: long, long, shorts, value: Value::None, help }
    }

    const fn taking(mut self, value: &'static str) -> Self {
        self.value = Value::Required(value);
        self
    }

    const fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

/// The commands, in the order of help.
pub const COMMANDS: &[CommandRow] = &[
    CommandRow::new(Verb::AddService, "A", "add-service", "add a virtual service"),
    CommandRow::new(Verb::EditService, "E", "edit-service", "replace the settings of a virtual service"),
    CommandRow::new(Verb::DeleteService, "D", "delete-service", "delete a virtual service with its servers"),
    CommandRow::new(Verb::Flush, "C", "clear", "delete all services and servers").called("flush"),
    CommandRow::new(Verb::Restore, "R", "restore", "carry out the lines of standard input"),
    CommandRow::new(Verb::Save, "S", "save", "write the table as lines for --restore"),
    CommandRow::new(Verb::AddServer, "a", "add-server", "add a server to a virtual service"),
    CommandRow::new(Verb::EditServer, "e", "edit-server", "replace the settings of a server"),
    CommandRow::new(Verb::DeleteServer, "d", "delete-server", "delete a server"),
    CommandRow::new(Verb::List, "Ll", "list", "list the table, or one service"),
    CommandRow::new(Verb::Zero, "Z", "zero", "set counters to zero: of one service, or all"),
    CommandRow::new(Verb::Set, "", "set", "set the timeouts: TCP, TCP after FIN, UDP, in seconds; 0 keeps"),
    CommandRow::new(Verb::StartDaemon, "", "start-daemon", "start a sync daemon").taking("master|backup"),
    CommandRow::new(Verb::StopDaemon, "", "stop-daemon", "stop a sync daemon").taking("master|backup"),
    CommandRow::new(Verb::Help, "h", "help", "show this help"),
    CommandRow::new(Verb::Version, "v", "version", "show the version"),
];

impl OptionRow {
    const fn flag(long: &'static str, shorts: &'static str, read: Read, help: &'static str) -> Self {
        Self {
            name: long,
            long,
            shorts,
            value: Value::None,
            required: &[],
            allowed: &[],
            exclusive: &[],
            complaint: "",
            help,
            read,
            save: None,
        }
    }

    const fn value(
        long: &'static str,
        shorts: &'static str,
        value: &'static str,
        complaint: &'static str,
        read: Read,
        help: &'static str,
    ) -> Self {
        let mut row = Self::flag(long, shorts, read, help);
        row.value = Value::Required(value);
        row.complaint = complaint;
        row
    }

    const fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    const fn on(mut self, allowed: &'static [Verb]) -> Self {
        self.allowed = allowed;
        self
    }

    const fn needed_on(mut self, required: &'static [Verb]) -> Self {
        self.required = required;
        self
    }

    const fn alone_on(mut self, exclusive: &'static [Verb]) -> Self {
        self.exclusive = exclusive;
        self
    }

    const fn saved(mut self, save: Save) -> Self {
        self.save = Some(save);
        self
    }

    /// A spelling of the service's address: one of them is needed.
    const fn service(long: &'static str, shorts: &'static str, read: Read, help: &'static str) -> Self {
        Self::value(long, shorts, "host[:port]", "illegal virtual server address[:port] specified", read, help)
            .called("service-address")
            .needed_on(NAMES_A_SERVICE)
            .on(&[Verb::Zero])
            .alone_on(&[Verb::List])
    }
}

const NAMES_A_SERVICE: &[Verb] =
    &[Verb::AddService, Verb::EditService, Verb::DeleteService, Verb::AddServer, Verb::EditServer, Verb::DeleteServer];
const SETS_A_SERVICE: &[Verb] = &[Verb::AddService, Verb::EditService];
const SETS_A_SERVER: &[Verb] = &[Verb::AddServer, Verb::EditServer];
const NAMES_A_SERVER: &[Verb] = &[Verb::AddServer, Verb::EditServer, Verb::DeleteServer];
const LIST: &[Verb] = &[Verb::List];
const START: &[Verb] = &[Verb::StartDaemon];

/// The options.
pub const OPTIONS: &[OptionRow] = &[
    OptionRow::flag("numeric", "n", draft::numeric, "addresses and ports as numbers").on(&[Verb::List, Verb::Save]),
    OptionRow::flag("connection", "c", draft::connection, "the connections").alone_on(LIST),
    OptionRow::service("tcp-service", "t", draft::tcp_service, "the virtual service, TCP")
        .saved(saved::service_address),
    OptionRow::service("udp-service", "u", draft::udp_service, "the virtual service, UDP"),
    OptionRow::service("sctp-service", "", draft::sctp_service, "the virtual service, SCTP"),
    OptionRow {
        value: Value::Required("mark"),
        complaint: "invalid fwmark value `{}' specified",
        ..OptionRow::service("fwmark-service", "f", draft::fwmark_service, "the virtual service, by firewall mark")
    },
    OptionRow::flag("ipv6", "6", draft::ipv6, "the mark's service is IPv6").called(""),
    OptionRow::value(
        "scheduler",
        "s",
        "scheduler",
        "illegal scheduler specified",
        draft::scheduler,
        "how servers are picked; wlc by default",
    )
    .on(SETS_A_SERVICE)
    .saved(saved::scheduler),
    OptionRow {
        value: Value::Optional("timeout"),
        ..OptionRow::value(
            "persistent",
            "p",
            "timeout",
            "invalid timeout value `{}' specified",
            draft::persistent,
            "keep a client with its server, for 360 seconds by default",
        )
    }
    .on(SETS_A_SERVICE)
    .saved(saved::persistent),
    OptionRow::value(
        "netmask",
        "M",
        "netmask",
        "illegal virtual server persistent mask specified",
        draft::netmask,
        "clients equal under this mask (IPv4) or prefix length (IPv6) are one to persistence",
    )
    .on(SETS_A_SERVICE)
    .saved(saved::netmask),
    OptionRow::value(
        "real-server",
        "r",
        "host[:port]",
        "illegal real server address[:port] specified",
        draft::real_server,
        "the server; the service's port by default",
    )
    .needed_on(NAMES_A_SERVER)
    .saved(saved::real_server),
    OptionRow::flag("gatewaying", "g", draft::gatewaying, "direct routing, the default")
        .called("forwarding-method")
        .on(SETS_A_SERVER)
        .saved(saved::forwarding),
    OptionRow::flag("ipip", "i", draft::ipip, "through a tunnel").called("forwarding-method").on(SETS_A_SERVER),
    OptionRow::flag("masquerading", "m", draft::masquerading, "masquerading (NAT)")
        .called("forwarding-method")
        .on(SETS_A_SERVER),
    OptionRow::value(
        "weight",
        "w",
        "weight",
        "illegal weight specified",
        draft::weight,
        "share of connections; 1 by default, 0 for none",
    )
    .on(SETS_A_SERVER)
    .saved(saved::weight),
    OptionRow::value(
        "u-threshold",
        "x",
        "connections",
        "illegal u_threshold specified",
        draft::upper_threshold,
        "no new connections from this many on; 0 for no limit",
    )
    .on(SETS_A_SERVER)
    .saved(saved::upper_threshold),
    OptionRow::value(
        "l-threshold",
        "y",
        "connections",
        "illegal l_threshold specified",
        draft::lower_threshold,
        "new connections again below this many",
    )
    .on(SETS_A_SERVER)
    .saved(saved::lower_threshold),
    OptionRow::value(
        "mcast-interface",
        "",
        "interface",
        "illegal interface specified",
        draft::interface,
        "sync: the interface; eth0 by default",
    )
    .on(START),
    OptionRow::flag("timeout", "", draft::timeout, "the timeouts").alone_on(LIST),
    OptionRow::flag("daemon", "", draft::daemon, "the sync daemons").alone_on(LIST),
    OptionRow::flag("stats", "", draft::stats, "counters").on(LIST),
    OptionRow::flag("rate", "", draft::rate, "counters per second").on(LIST),
    OptionRow::flag("thresholds", "", draft::thresholds, "thresholds").on(LIST),
    OptionRow::flag("persistent-conn", "", draft::persistent_connections, "persistent connections").on(LIST),
    OptionRow::flag("nosort", "", draft::no_sort, "in the kernel's order").on(LIST),
    OptionRow::flag("sort", "", draft::sort, "sorted, as always").called(""),
    // Legal with --list and --stop-daemon, where it does nothing.
    OptionRow::value("syncid", "", "id", "illegal syncid specified", draft::sync_id, "sync: 0 to 255; 0 by default")
        .on(&[Verb::StartDaemon, Verb::StopDaemon, Verb::List]),
    OptionRow::flag("exact", "X", draft::exact, "counters in full").on(LIST),
    OptionRow::value(
        "pe",
        "",
        "engine",
        "illegal persistence engine specified",
        draft::engine,
        "persistence engine: sip",
    )
    .on(SETS_A_SERVICE)
    .saved(saved::engine),
    OptionRow::flag("ops", "o", draft::one_packet, "schedule every UDP packet by itself")
        .on(SETS_A_SERVICE)
        .saved(saved::one_packet),
    OptionRow::value("sched-flags", "b", "flags", "", draft::scheduler_flags, "scheduler flags, separated by commas")
        .on(SETS_A_SERVICE)
        .saved(saved::scheduler_flags),
    OptionRow::value(
        "mcast-group",
        "",
        "address",
        "invalid {family} mcast-group `{}'",
        draft::group,
        "sync: multicast group; 224.0.0.81 by default",
    )
    .on(START),
    OptionRow::value(
        "mcast-port",
        "",
        "port",
        "illegal mcast-port specified",
        draft::multicast_port,
        "sync: UDP port; 8848 by default",
    )
    .on(START),
    OptionRow::value(
        "mcast-ttl",
        "",
        "hops",
        "illegal mcast-ttl specified",
        draft::ttl,
        "sync: time to live; 1 by default",
    )
    .on(START),
    OptionRow::value(
        "sync-maxlen",
        "",
        "bytes",
        "illegal sync-maxlen specified",
        draft::max_length,
        "sync: largest message",
    )
    .on(START),
    OptionRow::flag("tun-info", "", draft::tunnel_info, "tunnels").on(LIST),
    OptionRow::value(
        "tun-type",
        "",
        "type",
        "illegal tunnel type specified",
        draft::tunnel_type,
        "tunnel: ipip (the default), gue or gre",
    )
    .on(SETS_A_SERVER)
    .saved(saved::tunnel),
    OptionRow::value(
        "tun-port",
        "",
        "port",
        "illegal tunnel port specified",
        draft::tunnel_port,
        "port of a gue tunnel",
    )
    .on(SETS_A_SERVER),
    OptionRow::flag("tun-nocsum", "", draft::no_checksum, "tunnel without checksum, the default").on(SETS_A_SERVER),
    OptionRow::flag("tun-csum", "", draft::checksum, "gue or gre tunnel with checksum").on(SETS_A_SERVER),
    OptionRow::flag("tun-remcsum", "", draft::remote_checksum, "gue tunnel with remote checksum offload")
        .on(SETS_A_SERVER),
    OptionRow::flag("stream", "", draft::stream, "carry out each line as it comes, without checking all first")
        .on(&[Verb::Restore]),
];

/// For a command, the options that it takes: bit `i` is the first row of that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Legal {
    pub(crate) required: u64,
    pub(crate) allowed: u64,
    pub(crate) exclusive: u64,
}

/// The row that stands for all of an option's spellings.
pub(crate) const fn first_of_name(row: usize) -> usize {
    let mut first = 0;
    while !same(OPTIONS[first].name, OPTIONS[row].name) {
        first += 1;
    }
    first
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn has(verbs: &[Verb], verb: usize) -> bool {
    let mut i = 0;
    while i < verbs.len() {
        if verbs[i] as usize == verb {
            return true;
        }
        i += 1;
    }
    false
}

const VERBS: usize = Verb::Version as usize + 1;

/// The legality of every option with every command.
pub(crate) const LEGAL: [Legal; VERBS] = {
    assert!(OPTIONS.len() <= 64, "one bit a row");
    let mut legal = [Legal { required: 0, allowed: 0, exclusive: 0 }; VERBS];
    let mut verb = 0;
    while verb < VERBS {
        let mut row = 0;
        while row < OPTIONS.len() {
            let bit = 1 << first_of_name(row);
            let option = &OPTIONS[row];
            if has(option.required, verb) {
                legal[verb].required |= bit;
            }
            if has(option.exclusive, verb) {
                legal[verb].exclusive |= bit;
            }
            if has(option.required, verb)
                || has(option.exclusive, verb)
                || has(option.allowed, verb)
                || option.name.is_empty()
            {
                legal[verb].allowed |= bit;
            }
            row += 1;
        }
        verb += 1;
    }
    legal
};

/// A word of the language.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    Command(&'static CommandRow),
    /// With the bit of all of its spellings.
    Option(&'static OptionRow, u64),
}

impl Word {
    const fn option(row: usize) -> Self {
        Self::Option(&OPTIONS[row], 1 << first_of_name(row))
    }

    pub(crate) fn value(self) -> Value {
        match self {
            Self::Command(row) => row.value,
            Self::Option(row, _) => row.value,
        }
    }

    pub(crate) fn from_letter(letter: u8) -> Option<Self> {
        *LETTERS.get(usize::from(letter))?
    }

    /// Long names are never shortened.
    pub(crate) fn from_long(long: &[u8]) -> Option<Self> {
        if let Some(row) = OPTIONS.iter().position(|row| row.long.as_bytes() == long) {
            return Some(Self::option(row));
        }
        COMMANDS.iter().find(|row| row.long.as_bytes() == long).map(Self::Command)
    }
}

/// What every letter means.
static LETTERS: [Option<Word>; 128] = {
    let mut letters = [None; 128];
    let mut row = 0;
    while row < OPTIONS.len() {
        mean(&mut letters, OPTIONS[row].shorts, Word::option(row));
        row += 1;
    }
    let mut row = 0;
    while row < COMMANDS.len() {
        mean(&mut letters, COMMANDS[row].shorts, Word::Command(&COMMANDS[row]));
        row += 1;
    }
    letters
};

const fn mean(letters: &mut [Option<Word>; 128], shorts: &str, word: Word) {
    let mut i = 0;
    while i < shorts.len() {
        let letter = &mut letters[shorts.as_bytes()[i] as usize];
        assert!(letter.is_none(), "a letter means one thing");
        *letter = Some(word);
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_and_every_name_is_found() {
        let name = |word: Option<Word>| match word? {
            Word::Command(row) => Some(row.long),
            Word::Option(row, bit) => {
                assert_eq!(OPTIONS[bit.trailing_zeros() as usize].name, row.name);
                Some(row.long)
            }
        };
        let options = OPTIONS.iter().map(|row| (row.long, row.shorts));
        for (long, shorts) in options.chain(COMMANDS.iter().map(|row| (row.long, row.shorts))) {
            assert_eq!(name(Word::from_long(long.as_bytes())), Some(long));
            for letter in shorts.bytes() {
                assert_eq!(name(Word::from_letter(letter)), Some(long));
            }
        }
        assert!(Word::from_letter(b'0').is_none() && Word::from_letter(0xff).is_none());
        assert!(Word::from_long(b"lis").is_none() && Word::from_long(b"").is_none());
    }
}
