//! ipvsadm's language, line by line.

use ipvs::Change;
use ipvs::rules::program::{COMMANDS, OPTIONS, parse_posix};
use ipvs::rules::{Command, Line, LineError, Lines, Numeric, parse};
use ipvs::testing::fields::same_change;
use ipvs::testing::saved::RULES;
use ipvs::testing::{expressible, promises, random};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;

fn read(text: &[u8]) -> Vec<Result<Command, LineError>> {
    Lines::new(text, &mut Numeric).map(|line| line.map(|line| line.command)).collect()
}

/// Words of the language, and words that are similar to one.
fn word() -> impl Strategy<Value = String> {
    let commands = COMMANDS.iter().flat_map(|row| [format!("--{}", row.long), format!("-{}", row.shorts)]);
    let options = OPTIONS.iter().flat_map(|row| [format!("--{}", row.long), format!("-{}", row.shorts)]);
    let values =
        ["192.0.2.1:80", "[2001:db8::1]:80", "10.0.0.1", "0", "1", "rr", "master", "ipvsadm", "gue", "--", "-"];
    let known = commands.chain(options).chain(values.map(str::to_owned)).collect::<Vec<_>>();
    prop_oneof![
        8 => select(known.clone()),
        1 => (select(known.clone()), "[a-z0-9=:.-]{0,4}").prop_map(|(word, tail)| word + &tail),
        1 => (select(known.clone()), select(known)).prop_map(|(word, value)| format!("{word}={value}")),
        1 => "[!-~]{0,8}",
    ]
}

proptest! {
    /// Every change that the language can express is written and read back.
    #[test]
    fn every_change_round_trips(change in expressible::change()) {
        let line = change.to_string();
        match &read(line.as_bytes())[..] {
            [Ok(Command::Change(read))] => same_change(&change, read, "rules", RULES)?,
            other => prop_assert!(false, "{}: {:?}", line, other),
        }
    }

    /// A change that the language cannot fully express is one line, too. It is not read as another kind of change.
    #[test]
    fn each_change_is_one_line(changes in vec(random::change(), 0..20)) {
        let text: String = changes.iter().map(|change| format!("{change}\n")).collect();
        let read = read(text.as_bytes());
        prop_assert_eq!(read.len(), changes.len(), "{}", text);
        for (line, change) in read.iter().zip(changes) {
            if let Ok(Command::Change(read)) = line {
                prop_assert_eq!(read.command_name(), change.command_name());
                prop_assert_eq!(read.service(), change.service());
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_explained(text in vec(any::<u8>(), 0..400)) {
        let lines = text.split(|&byte| byte == b'\n').count();
        prop_assert!(read(&text).len() <= lines);
    }

    /// The words of a command line can have any bytes, including blanks.
    #[test]
    fn any_arguments_are_read_or_explained(words in vec(prop_oneof![word().prop_map(String::into_bytes), vec(any::<u8>(), 0..12)], 0..8)) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        for read in [parse(&words, &mut Numeric), parse_posix(&words, &mut Numeric)] {
            match read {
                Ok(Command::Change(change)) => prop_assert!(!change.to_string().is_empty()),
                Ok(_) => {}
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn any_words_are_read_or_explained(words in vec(word(), 0..8)) {
        read_or_explained(&words.join(" "))?;
    }

    /// Valid lines in which words were added, removed and replaced.
    #[test]
    fn wrong_lines_are_read_or_explained(
        change in expressible::change(),
        mistakes in vec((any::<Index>(), prop_oneof![Just(None), word().prop_map(Some)], any::<bool>()), 0..3),
    ) {
        let line = change.to_string();
        let mut words: Vec<&str> = line.split(' ').collect();
        for (at, word, instead) in &mistakes {
            let at = at.index(words.len());
            let end = at + usize::from(*instead || word.is_none());
            words.splice(at..end, word.as_deref());
            if words.is_empty() {
                break;
            }
        }
        read_or_explained(&words.join(" "))?;
    }
}

/// Checks that a line that can be read can be written and read again, possibly with other words. Otherwise the line
/// must have an error with its column.
fn read_or_explained(line: &str) -> Result<(), TestCaseError> {
    for read in Lines::new(line.as_bytes(), &mut Numeric) {
        match read {
            Ok(Line { command: Command::Change(change), .. }) => {
                let again = change.to_string();
                prop_assert_eq!(
                    self::read(again.as_bytes()),
                    vec![Ok(Command::Change(effective(change)))],
                    "{}",
                    again
                );
            }
            Ok(_) => {}
            Err(error) => {
                prop_assert_eq!((error.number, &*error.text), (1, line));
                prop_assert!((1..=line.len() + 1).contains(&error.column), "{}", error);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
    Ok(())
}

/// Returns the change with the default netmask if persistence is off: the netmask then has no effect and is not
/// written.
fn effective(change: Change) -> Change {
    match change {
        Change::AddService(service) => Change::AddService(promises::effective(service)),
        Change::EditService(service) => Change::EditService(promises::effective(service)),
        other => other,
    }
}

#[test]
fn an_inexpressible_change_is_a_comment() {
    let strange = ipvs::ServiceKey::new(ipvs::Protocol::Other(99), [192, 0, 2, 1], 80);
    assert!(read(Change::DeleteService(strange).to_string().as_bytes()).is_empty());
}

/// The kernel accepts such names of interfaces.
#[test]
fn names_can_have_bytes_that_are_not_utf_8() {
    let interface = ipvs::Interface::new(b"lan\xe9").expect("a name");
    let change = Change::StartDaemon(ipvs::SyncDaemon::new(ipvs::Role::Master, interface, 0));
    let mut line = Vec::new();
    ipvs::rules::write_change(&mut line, &change);
    assert_eq!(line, b"--start-daemon master --mcast-interface lan\xe9 --syncid 0");
    assert_eq!(read(&line), vec![Ok(Command::Change(change))]);
}

/// In a line, a word that begins with `#` begins a comment, and the word `ipvsadm` is skipped.
#[test]
fn names_can_be_like_a_comment_or_the_program() {
    let service = |name| ipvs::Service {
        engine: Some(ipvs::Engine::new(name).expect("a name")),
        ..ipvs::Service::new(ipvs::ServiceKey::udp([192, 0, 2, 1], 80), ipvs::Scheduler::new(name).expect("a name"))
    };
    let daemon = |name| ipvs::SyncDaemon::new(ipvs::Role::Master, ipvs::Interface::new(name).expect("a name"), 0);
    for name in ["#1", "ipvsadm"] {
        for change in [Change::AddService(service(name)), Change::StartDaemon(daemon(name))] {
            assert_eq!(read(change.to_string().as_bytes()), vec![Ok(Command::Change(change))]);
        }
    }
    assert_eq!(Change::StartDaemon(daemon("#1")).to_string(), "--start-daemon master --mcast-interface=#1 --syncid 0");
}
