//! keepalived's configuration, with included files.

use ipvs::Errors;
use ipvs::convert::{ConvertError, Converted};
use ipvs::keepalived::{Include, IncludedFile, Options, read};

/// Includes the same text for every pattern. Patterns that begin with `n` match nothing, and `e` is an error.
struct Same<'t>(&'t [u8]);

impl Include for Same<'_> {
    fn include(&mut self, pattern: &str, _: &str) -> Result<Vec<IncludedFile>, String> {
        let file = IncludedFile { name: "included".into(), text: self.0.to_vec() };
        match pattern.bytes().next() {
            Some(b'n') => Ok(Vec::new()),
            Some(b'e') => Err("refused".into()),
            Some(b'2') => Ok(vec![file.clone(), file]),
            _ => Ok(vec![file]),
        }
    }
}

/// Reads a configuration. The text after a NUL is that of included files.
pub fn keepalived(bytes: &[u8]) -> bool {
    let (text, included) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b""[..]),
    };
    let options = Options::default().config_id("main");
    check(read("file", text, &options, &mut Same(included)))
}

/// Checks the promises of a conversion. Returns whether the table has a service.
pub(super) fn check(converted: Result<Converted, Errors<ConvertError>>) -> bool {
    let Converted { config, managed, notes } = match converted {
        Ok(converted) => converted,
        Err(errors) => {
            let are_complete = errors
                .iter()
                .all(|error| error.position.line >= 1 && error.position.column >= 1 && !error.message.is_empty());
            assert!(are_complete && !errors.is_empty(), "{errors}");
            return false;
        }
    };
    assert_eq!(config.validate(), Ok(()));
    assert!(
        config.services.iter().map(|service| service.service.key).eq(managed.iter().map(|managed| managed.service))
    );
    assert!(notes.iter().all(|note| note.position.line >= 1 && note.position.column >= 1 && !note.text.is_empty()));
    !config.services.is_empty()
}
