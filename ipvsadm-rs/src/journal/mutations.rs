//! Mutated files: every file of a journal, and files that describe a table. `IPVS_MUTATIONS` is the number of mutations
//! (default 300), `IPVS_SEED` the seed (default 1).

#[allow(dead_code, unreachable_pub, reason = "the fuzz targets use this file, too")]
#[path = "mutation.rs"]
mod mutation;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipvs::rules::{self, Numeric, ParseError, ValueError};
use ipvs::{Config, Destination, Director, Forwarding, Model, Scheduler, Scope, Service, ServiceKey, State};

use super::testing::Place;
use super::{Folder, Intent, Journal, Status, inexpressible, rollback_plan, rollback_plan_of_any_table};
use crate::file::{self, DaemonOptions, Format};
use mutation::{Rng, mutate};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Returns a table with a service and two servers.
fn table() -> State {
    let key = ServiceKey::tcp([192, 0, 2, 1], 80);
    let server = |last| Destination::new(([10, 0, 0, last], 8080), Forwarding::Masquerade);
    let mut director = Model::new();
    let changes = [
        ipvs::Change::AddService(Service::new(key, Scheduler::WRR)),
        ipvs::Change::AddDestination(key, server(1)),
        ipvs::Change::AddDestination(key, server(2)),
    ];
    assert!(director.submit(&changes).expect("valid").is_empty());
    director.state().expect("a model")
}

/// Applies two plans in a new journal: one that is done, and one that is pending.
fn journal(state_dir: &Path) -> PathBuf {
    let folder = Folder::of(state_dir, None).expect("a journal");
    let journal = Journal::open(folder, Duration::ZERO).expect("opens");
    let scope = Scope { protect: vec!["192.0.2.9".parse().expect("an address")], ..Scope::default() };
    for confirm_within in [None, Some(Duration::from_secs(90))] {
        let changes = ["-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3", "-D -u 192.0.2.1:53"].into_iter().collect();
        let intent = Intent { command: "apply", file: None, scope: &scope, changes, undoes: None, confirm_within };
        let mut entry = journal.begin(intent, &table()).expect("writes");
        entry.done();
        journal.write(&entry).expect("writes");
    }
    PathBuf::from(journal.to_string())
}

/// Reads a journal in every way. Each error must have a message. Returns the number of entries that could be read.
fn read(state_dir: &Path) -> usize {
    let folder = match Folder::of(state_dir, None) {
        Ok(folder) => folder,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return 0;
        }
    };
    let mut accepted = Vec::new();
    for (number, entry) in folder.entries() {
        match entry {
            Ok(entry) => {
                assert_eq!(entry.number, number, "the entry of another plan");
                accepted.push(entry);
            }
            Err(error) => assert!(!format!("{error:#}").is_empty()),
        }
    }
    for (place, entry) in accepted.iter().enumerate() {
        let later = &accepted[place + 1..];
        for plan in [rollback_plan(&folder, entry, later), rollback_plan_of_any_table(&folder, entry, later)] {
            match plan {
                // A table that is put back is the one in the second line, and is valid.
                Ok((config, _)) => assert_eq!(config.validate(), Ok(())),
                Err(error) => assert!(!format!("{error:#}").is_empty()),
            }
        }
        let _ = (inexpressible(entry, later), folder.origin(entry), folder.phase(entry));
        let _ = folder.drainer(entry.number).map(|holder| holder.to_string());
    }
    let found = [folder.unfinished().map(|(entry, _)| entry), folder.failed_rollback()];
    assert!(found.iter().flatten().all(|found| accepted.iter().any(|entry| entry.number == found.number)));
    accepted.len()
}

#[test]
fn mutated_journals_are_read_or_explained() {
    let place = Place::new("mutations");
    let folder = journal(place.path());
    assert_eq!(read(place.path()), 2);
    let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&folder)
        .expect("a directory")
        .map(|file| file.expect("a file").path())
        .map(|path| (path.clone(), fs::read(path).expect("reads")))
        .collect();
    files.sort();
    let names: Vec<_> = files.iter().filter_map(|(path, _)| path.file_name()?.to_str()).collect();
    for name in ["000001.json", "000002.json", "000002.timer", "lock", "namespace"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let contents: Vec<Vec<u8>> = files.iter().map(|(_, bytes)| bytes.clone()).collect();
    let words = dictionary(&contents);
    let mut rng = Rng::new(number("IPVS_SEED", 1));
    let (mut refused, times) = (0, number("IPVS_MUTATIONS", 300));
    for _ in 0..times {
        // The entries are mutated as often as all other files together.
        let entries = rng.below(2) == 0;
        let (path, bytes) = loop {
            let file = &files[rng.below(files.len())];
            if file.0.extension().is_some_and(|extension| extension == "json") == entries {
                break file;
            }
        };
        fs::write(path, mutate(bytes, &contents, &words, &mut rng)).expect("writes");
        refused += u64::from(read(place.path()) < 2);
        fs::write(path, bytes).expect("writes");
    }
    assert_eq!(read(place.path()), 2);
    println!("of {times} mutated journals, {refused} had an entry that was refused");
    assert!(refused > 0 && refused < times, "{refused} of {times} mutated journals were refused");
}

/// An entry that was copied or renamed is not accepted as another plan.
#[test]
fn an_entry_of_another_number_is_refused() {
    let place = Place::new("another-number");
    let folder = journal(place.path());
    fs::copy(folder.join("000001.json"), folder.join("000003.json")).expect("copies");
    let folder = Folder::of(place.path(), None).expect("a journal");
    let error = folder.read(3).map(|entry| entry.number).expect_err("the entry of plan 1");
    assert!(format!("{error:#}").ends_with("contains the entry of plan 1"), "{error:#}");
    assert!(folder.read(1).is_ok_and(|entry| entry.status == Status::Applied));
}

#[test]
fn mutated_files_are_read_or_explained() {
    let place = Place::new("files");
    let config = Config::from(&table());
    let mut rules = Vec::new();
    rules::write_config(&mut rules, &config);
    let json = serde_json::to_vec_pretty(&config).expect("writes");
    let toml = "order = \"kernel\"\n\n[timeouts]\ntcp = 900\n\n[[services]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1\"\n\
                port = 80\nscheduler = \"wrr\"\n\n[[services.destinations]]\naddress = \"10.0.0.1\"\nport = 8080\nweight = 3\n";
    let contents = [rules, json, toml.into()];
    let words = dictionary(&contents);
    let mut rng = Rng::new(number("IPVS_SEED", 1));
    let (mut refused, times) = (0, number("IPVS_MUTATIONS", 300));
    for turn in 0..times {
        let kind = (turn % 3) as usize;
        let format = [Format::Rules, Format::Json, Format::Toml][kind];
        let bytes =
            if turn < 3 { contents[kind].clone() } else { mutate(&contents[kind], &contents, &words, &mut rng) };
        if format == Format::Rules && has_host_names(&bytes) {
            continue;
        }
        let path = place.path().join("file");
        fs::write(&path, bytes).expect("writes");
        let input = file::read(&path, Some(format), &DaemonOptions::default()).expect("reads");
        assert!(input.warnings.iter().all(|warning| !warning.show("file", "warning").is_empty()));
        match input.config {
            Ok(config) => assert_eq!(config.validate(), Ok(())),
            Err(errors) => {
                refused += 1;
                assert!(turn >= 3 && !errors.is_empty());
                assert!(errors.iter().all(|error| !error.message.is_empty()), "{errors:?}");
                assert!(errors.iter().all(|error| !error.show("file", "error").is_empty()));
            }
        }
    }
    println!("of {times} mutated files, {refused} were refused");
    assert!(refused > 0 && refused < times, "{refused} of {times} mutated files were refused");
}

/// Returns whether a line contains a name that would be looked up. A name server may need seconds to answer.
fn has_host_names(text: &[u8]) -> bool {
    let is_name = |error: &ParseError| {
        matches!(error, ParseError::BadValue { error: ValueError::Host(_) | ValueError::UnknownPort, .. })
    };
    rules::Lines::new(text, &mut Numeric).any(|line| line.is_err_and(|error| is_name(&error.error)))
}

/// Returns the words of the files, and values at the limits.
fn dictionary(contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(byte);
    let words = contents.iter().flat_map(|bytes| bytes.split(|byte| !is_word(byte))).filter(|word| !word.is_empty());
    let values =
        ["0", "-1", "65536", "4294967296", "18446744073709551616", "null", "[]", "{}", "\"\"", "\n", "\0", "\u{ff}"];
    words.map(<[u8]>::to_vec).chain(values.map(|value| value.as_bytes().to_vec())).collect()
}
