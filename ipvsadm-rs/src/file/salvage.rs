//! The services of a file that have no errors, for `--skip-bad-services`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use ipvs::document::Document;
use ipvs::rules::{self, Command, Lines};
use ipvs::{Change, Config, ServiceKey};

use crate::arguments::value_of;
use crate::resolver::System;

/// Returns the table that the rules describe, without the services that have errors. Every line about such a service is
/// skipped, also if the line itself is valid. Lines with errors that name no service are skipped, too.
///
/// If a line about a sync daemon has an error, the table has no sync daemons, so that none is stopped.
pub(super) fn from_rules(bytes: &[u8]) -> Config {
    let mut text = bytes.to_vec();
    let names = &mut System::default();
    let mut is_daemon_bad = false;
    loop {
        let errors = match rules::read_config(&text, names) {
            Ok(read) => {
                let daemons = read.config.daemons.filter(|_| !is_daemon_bad);
                return Config { daemons, ..read.config };
            }
            Err(errors) => errors,
        };
        is_daemon_bad |= errors.iter().any(|error| error.text.contains("-daemon"));
        let mut bad: HashSet<usize> = errors.iter().map(|error| error.number).collect();
        let services: HashSet<ServiceKey> = errors.iter().filter_map(|error| named(&error.text, names)).collect();
        for line in Lines::new(&text, names).flatten() {
            let service = match &line.command {
                Command::Change(change) => change.service(),
                _ => None,
            };
            if service.is_some_and(|service| services.contains(&service)) {
                bad.insert(line.number);
            }
        }
        // Every pass removes at least one line. The numbers of the others do not change.
        let lines = text.split(|&byte| byte == b'\n').enumerate();
        let kept = lines.map(|(i, line)| if bad.contains(&(i + 1)) { &[][..] } else { line });
        text = kept.collect::<Vec<_>>().join(&b'\n');
    }
}

/// Returns the service that an invalid line names, if that part of the line is valid.
fn named(line: &str, names: &mut System) -> Option<ServiceKey> {
    let words: Vec<OsString> = line.split_ascii_whitespace().map(OsString::from).collect();
    let spellings =
        [("tcp-service", Some('t')), ("udp-service", Some('u')), ("sctp-service", None), ("fwmark-service", Some('f'))];
    spellings.iter().find_map(|(long, short)| {
        let option = format!("--{long}");
        let value = value_of(&words, long, *short)?;
        let is_ipv6 = words.iter().any(|word| word == "-6" || word == "--ipv6");
        let mut delete = vec![OsStr::new("-D"), OsStr::new(&option), value];
        delete.extend(is_ipv6.then_some(OsStr::new("-6")));
        let delete: Vec<&[u8]> = delete.into_iter().map(OsStr::as_bytes).collect();
        match rules::parse(&delete, names).ok()? {
            Command::Change(Change::DeleteService(key)) => Some(key),
            _ => None,
        }
    })
}

/// Returns the table of a document without the services that have errors. Returns `None` if another part has errors.
pub(super) fn from_document(mut document: Document) -> Option<Config> {
    let Err(errors) = document.to_config() else { return None };
    let mut bad = HashSet::new();
    for error in errors.iter() {
        match error.path.strip_prefix("services[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok()) {
            Some(index) => drop(bad.insert(index)),
            None if error.path.starts_with("daemons") => document.daemons = None,
            None => return None,
        }
    }
    let services = document.services.into_iter().enumerate();
    document.services = services.filter(|(i, _)| !bad.contains(i)).map(|(_, service)| service).collect();
    document.to_config().ok().map(|(config, _)| config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        from_rules(text.as_bytes()).services.iter().map(|service| format!("{}\n", service.service.key)).collect()
    }

    #[test]
    fn services_with_errors_are_skipped_whole() {
        let good = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -m\n";
        let key = "TCP 192.0.2.1:80\n";
        assert_eq!(kept(good), key);
        for bad in [
            // A bad server, a bad service, a service of a mark, and lines that name none.
            "-A -t 192.0.2.2:80 -s rr\n-a -t 192.0.2.2:80 -r 10.0.0.1 -m -w x\n-a -t 192.0.2.2:80 -r 10.0.0.2\n",
            "-A -t 192.0.2.2:80 -p x\n-a -t 192.0.2.2:80 -r 10.0.0.2\n",
            "-A -f 7 -6\n-a -f 7 -6 -r nowhere\n",
            "-A -t nowhere.invalid:80\n-a -t nowhere.invalid:80 -r 10.0.0.1\n",
            "hello\n-L\n\n# comment\n",
            "-At 192.0.2.2:80\n-a --tcp-service=192.0.2.2:80 -r 10.0.0.1 -w 1 -w 2\n",
        ] {
            assert_eq!(kept(&format!("{bad}{good}")), key, "{bad}");
            assert_eq!(kept(&format!("{good}{bad}")), key, "{bad}");
        }
        assert_eq!(kept("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1 -w x\n"), "");
    }

    #[test]
    fn daemons_are_left_alone_if_one_has_an_error() {
        let good = "--start-daemon master --mcast-interface eth0\n";
        let daemons = |text: &str| from_rules(text.as_bytes()).daemons.map(|daemons| daemons.len());
        assert_eq!(daemons(&format!("{good}-A -t x\n")), Some(1));
        assert_eq!(daemons(&format!("{good}--start-daemon backup --syncid x\n")), None);
    }
}
