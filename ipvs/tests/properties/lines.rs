//! ipvsadm's language, line by line.

use ipvs::Change;
use ipvs::rules::{COMMANDS, Command, Line, LineError, Lines, Numeric, OPTIONS, parse, parse_posix};
use ipvs::testing::{promises, random};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;

use crate::expressible;

fn read(text: &[u8]) -> Vec<Result<Command, LineError>> {
    Lines::new(text, &mut Numeric).map(|line| line.map(|line| line.command)).collect()
}

/// Words of the language, and what is almost one.
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
    /// What can be said is said, and understood.
    #[test]
    fn every_change(change in expressible::change()) {
        let line = change.to_string();
        prop_assert_eq!(read(line.as_bytes()), vec![Ok(Command::Change(change))], "{}", line);
    }

    /// What cannot be said in full is a line all the same: nothing of it is taken for another.
    #[test]
    fn one_line_for_each(changes in vec(random::change(), 0..20)) {
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
    fn any_bytes(text in vec(any::<u8>(), 0..400)) {
        let lines = text.split(|&byte| byte == b'\n').count();
        prop_assert!(read(&text).len() <= lines);
    }

    /// The words of a command line may have any bytes in them, and blanks.
    #[test]
    fn any_arguments(words in vec(prop_oneof![word().prop_map(String::into_bytes), vec(any::<u8>(), 0..12)], 0..8)) {
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
    fn any_words(words in vec(word(), 0..8)) {
        understood_or_explained(&words.join(" "))?;
    }

    /// A good line with a word more, a word less, and another word.
    #[test]
    fn almost_right(
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
        understood_or_explained(&words.join(" "))?;
    }
}

/// What is understood can be said again, in other words perhaps; what is not is told of with its place.
fn understood_or_explained(line: &str) -> Result<(), TestCaseError> {
    for read in Lines::new(line.as_bytes(), &mut Numeric) {
        match read {
            Ok(Line { command: Command::Change(change), .. }) => {
                let again = change.to_string();
                prop_assert_eq!(self::read(again.as_bytes()), vec![Ok(Command::Change(meant(change)))], "{}", again);
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

/// A netmask without persistence does nothing, and is not written.
fn meant(change: Change) -> Change {
    match change {
        Change::AddService(service) => Change::AddService(promises::meant(service)),
        Change::EditService(service) => Change::EditService(promises::meant(service)),
        other => other,
    }
}

#[test]
fn a_change_without_words_is_a_comment() {
    let strange = ipvs::ServiceKey::new(ipvs::Protocol::Other(99), [192, 0, 2, 1], 80);
    assert!(read(Change::DeleteService(strange).to_string().as_bytes()).is_empty());
}

/// The kernel lets an interface be called so.
#[test]
fn names_that_are_no_text_stay_as_they_are() {
    let interface = ipvs::Interface::new(b"lan\xe9").expect("a name");
    let change = Change::StartDaemon(ipvs::SyncDaemon::new(ipvs::Role::Master, interface, 0));
    let mut line = Vec::new();
    ipvs::rules::write_change(&mut line, &change);
    assert_eq!(line, b"--start-daemon master --mcast-interface lan\xe9 --syncid 0");
    assert_eq!(read(&line), vec![Ok(Command::Change(change))]);
}
