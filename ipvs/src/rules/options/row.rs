//! The rows of the tables of commands and options.

use std::fmt;

use crate::destination::Destination;
use crate::key::{DestinationKey, ServiceKey};
use crate::rules::draft::Draft;
use crate::rules::line_writer::LineWriter;
use crate::rules::resolver::Resolver;
use crate::rules::value_error::ValueError;
use crate::service::Service;

/// The action of a command. [`COMMANDS`](super::COMMANDS) describes each.
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

/// The value of a command or an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value.
    None,
    /// The next word, even if it begins with `-`. The text is the name of the value in help.
    Required(&'static str),
    /// The next word, unless it begins with `-`. The text is the name of the value in help.
    Optional(&'static str),
}

/// A command. A line has exactly one, before its options.
#[derive(Debug)]
pub struct CommandRow {
    /// The action of the command.
    pub verb: Verb,
    /// The name of the command in messages.
    pub name: &'static str,
    /// The long spelling, without the dashes.
    pub long: &'static str,
    /// The letters of the short spellings, at most two. "": no short spelling.
    pub shorts: &'static str,
    /// The value that follows the command.
    pub value: Value,
    /// The words that follow the command without an option, for help. Usually "": no words.
    pub words: &'static str,
    /// The help text, one line.
    pub help: &'static str,
}

impl CommandRow {
    pub(super) const fn new(verb: Verb, shorts: &'static str, long: &'static str, help: &'static str) -> Self {
        Self { verb, name: long, long, shorts, value: Value::None, words: "", help }
    }

    pub(super) const fn taking(mut self, value: &'static str) -> Self {
        self.value = Value::Required(value);
        self
    }

    pub(super) const fn with_words(mut self, words: &'static str) -> Self {
        self.words = words;
        self
    }

    pub(super) const fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

/// An option.
pub struct OptionRow {
    /// The name of the option in messages. Spellings with the same name exclude each other. An option with the name ""
    /// may be repeated, and every command accepts it.
    pub name: &'static str,
    /// The long spelling, without the dashes.
    pub long: &'static str,
    /// The letter of the short spelling, or "" if there is none.
    pub shorts: &'static str,
    /// The value of the option.
    pub value: Value,
    /// The commands that require the option.
    pub required: &'static [Verb],
    /// The commands that accept the option.
    pub allowed: &'static [Verb],
    /// The commands that accept at most one of the options that list them here.
    pub exclusive: &'static [Verb],
    /// ipvsadm's message about an invalid value. `{}` is replaced with the value.
    pub complaint: &'static str,
    /// The help text, one line, without the default.
    pub help: &'static str,
    /// The default in help, or "" if help shows none.
    pub default: &'static str,
    /// Whether `ipvsadm-rs set` has the option.
    pub settable: bool,
    /// Whether ipvsadm 1.31 lacks the option.
    pub beyond_1_31: bool,
    pub(crate) read: Read,
    pub(crate) off: Option<fn(&mut Draft<'_>)>,
    pub(crate) write: Option<Write>,
}

/// The function that reads an option.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    Flag(fn(&mut Draft<'_>)),
    Value(ReadValue),
}

pub(crate) type ReadValue = for<'a> fn(&mut Draft<'a>, &'a [u8], &mut dyn Resolver) -> Result<(), ValueError>;

/// The function that writes an option in a saved line, by the type of its value.
#[derive(Clone, Copy)]
pub(crate) enum Write {
    ServiceKey(fn(&mut LineWriter<'_>, &ServiceKey)),
    Service(fn(&mut LineWriter<'_>, &Service)),
    /// The service is `None` if it is not known.
    DestinationKey(fn(&mut LineWriter<'_>, Option<&ServiceKey>, DestinationKey)),
    Destination(fn(&mut LineWriter<'_>, &Destination)),
}

impl fmt::Debug for OptionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.long)
    }
}

/// Compares the long spellings, which are unique.
impl PartialEq for OptionRow {
    fn eq(&self, other: &Self) -> bool {
        self.long == other.long
    }
}

impl OptionRow {
    /// Returns whether `ipvsadm-rs set` accepts the value `off`.
    pub fn has_off(&self) -> bool {
        self.off.is_some()
    }

    pub(super) const fn flag(long: &'static str, shorts: &'static str, read: fn(&mut Draft<'_>)) -> Self {
        Self {
            name: long,
            long,
            shorts,
            value: Value::None,
            required: &[],
            allowed: &[],
            exclusive: &[],
            complaint: "",
            help: "",
            default: "",
            settable: false,
            beyond_1_31: false,
            read: Read::Flag(read),
            off: None,
            write: None,
        }
    }

    pub(super) const fn value(long: &'static str, shorts: &'static str, value: Value, read: ReadValue) -> Self {
        Self { value, read: Read::Value(read), ..Self::flag(long, shorts, |_| ()) }
    }

    /// Returns a row for a spelling of the service's address. One of these rows is required.
    pub(super) const fn service(long: &'static str, shorts: &'static str, read: ReadValue) -> Self {
        Self {
            name: "service-address",
            required: super::NAMES_A_SERVICE,
            allowed: &[Verb::Zero],
            exclusive: &[Verb::List],
            complaint: "illegal virtual server address[:port] specified",
            ..Self::value(long, shorts, Value::Required("host[:port]"), read)
        }
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub(super) const fn complaint(mut self, complaint: &'static str) -> Self {
        self.complaint = complaint;
        self
    }

    pub(super) const fn called(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    pub(super) const fn on(mut self, allowed: &'static [Verb]) -> Self {
        self.allowed = allowed;
        self
    }

    pub(super) const fn needed_on(mut self, required: &'static [Verb]) -> Self {
        self.required = required;
        self
    }

    pub(super) const fn alone_on(mut self, exclusive: &'static [Verb]) -> Self {
        self.exclusive = exclusive;
        self
    }

    pub(super) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(super) const fn settable(mut self) -> Self {
        self.settable = true;
        self
    }

    pub(super) const fn settable_or_off(mut self, off: fn(&mut Draft<'_>)) -> Self {
        self.off = Some(off);
        self.settable()
    }

    pub(super) const fn beyond_1_31(mut self) -> Self {
        self.beyond_1_31 = true;
        self
    }

    pub(super) const fn write_service_key(mut self, write: fn(&mut LineWriter<'_>, &ServiceKey)) -> Self {
        self.write = Some(Write::ServiceKey(write));
        self
    }

    pub(super) const fn write_service(mut self, write: fn(&mut LineWriter<'_>, &Service)) -> Self {
        self.write = Some(Write::Service(write));
        self
    }

    pub(super) const fn write_server_key(
        mut self,
        write: fn(&mut LineWriter<'_>, Option<&ServiceKey>, DestinationKey),
    ) -> Self {
        self.write = Some(Write::DestinationKey(write));
        self
    }

    pub(super) const fn write_server(mut self, write: fn(&mut LineWriter<'_>, &Destination)) -> Self {
        self.write = Some(Write::Destination(write));
        self
    }
}
