//! The rows by spelling, and the options of each command.

use super::{COMMANDS, CommandRow, OPTIONS, OptionRow, Value, Verb};

/// The options of a command. Bit `i` stands for all rows that have the name of row `i`. Of the exclusive options, the
/// command accepts at most one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Legal {
    pub(crate) required: u64,
    pub(crate) allowed: u64,
    pub(crate) exclusive: u64,
}

/// Returns the first row with the same name, which stands for all spellings of an option.
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

/// The options of every command.
pub(crate) const LEGAL: [Legal; VERBS] = {
    assert!(OPTIONS.len() <= 64, "each row needs one of 64 bits");
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
    /// The row, and the bit that stands for all its spellings.
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

    /// Returns the word with a long spelling, or `None` for an unknown spelling. Abbreviations are not accepted.
    pub(crate) fn from_long(long: &[u8]) -> Option<Self> {
        if let Some(row) = OPTIONS.iter().position(|row| row.long.as_bytes() == long) {
            return Some(Self::option(row));
        }
        COMMANDS.iter().find(|row| row.long.as_bytes() == long).map(Self::Command)
    }
}

/// The word of every letter. `None`: the language does not have the letter.
static LETTERS: [Option<Word>; 128] = {
    let mut letters = [None; 128];
    let mut row = 0;
    while row < OPTIONS.len() {
        assign(&mut letters, OPTIONS[row].shorts, Word::option(row));
        row += 1;
    }
    let mut row = 0;
    while row < COMMANDS.len() {
        assign(&mut letters, COMMANDS[row].shorts, Word::Command(&COMMANDS[row]));
        row += 1;
    }
    letters
};

const fn assign(letters: &mut [Option<Word>; 128], shorts: &str, word: Word) {
    let mut i = 0;
    while i < shorts.len() {
        let letter = &mut letters[shorts.as_bytes()[i] as usize];
        assert!(letter.is_none(), "a letter is used twice");
        *letter = Some(word);
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The options of ipvsadm 1.31, by their long spelling.
    const OF_1_31: &str = "numeric connection tcp-service udp-service sctp-service fwmark-service ipv6 scheduler \
        persistent netmask real-server gatewaying ipip masquerading weight u-threshold l-threshold mcast-interface \
        timeout daemon stats rate thresholds persistent-conn nosort sort syncid exact pe ops sched-flags mcast-group \
        mcast-port mcast-ttl sync-maxlen tun-info tun-type tun-port tun-nocsum tun-csum tun-remcsum";

    /// The comparisons with the reference rely on it.
    #[test]
    fn rows_know_whether_ipvsadm_1_31_has_them() {
        for row in OPTIONS {
            let is_of_1_31 = OF_1_31.split_ascii_whitespace().any(|long| long == row.long);
            let hint =
                "call `.beyond_1_31()` on its row in ipvs/src/rules/options/mod.rs if 1.31 lacks it, and only then";
            assert_eq!(row.beyond_1_31, !is_of_1_31, "--{}: {hint}", row.long);
        }
    }

    /// `set` has other spellings for some settings: `--forwarding` and `--tun-checksum`.
    #[test]
    fn every_setting_can_be_set() {
        const OTHERWISE: &str = "gatewaying ipip masquerading tun-type tun-nocsum tun-csum tun-remcsum";
        let edits = [Verb::EditService, Verb::EditServer];
        for row in OPTIONS.iter().filter(|row| edits.iter().any(|verb| row.allowed.contains(verb))) {
            let is_set_otherwise = OTHERWISE.split_ascii_whitespace().any(|long| long == row.long);
            let hint = "`ipvsadm-rs set` lacks it: add `.settable()` to its row in ipvs/src/rules/options/mod.rs";
            assert!(row.settable || is_set_otherwise, "--{}: {hint}", row.long);
        }
    }

    #[test]
    fn every_row_has_help() {
        for row in OPTIONS {
            assert!(!row.help.is_empty(), "--{} has no help", row.long);
            // The valid flags depend on the scheduler, and ipvsadm has a message for each mistake.
            let has_complaint = row.value == Value::None || row.long == "sched-flags" || !row.complaint.is_empty();
            assert!(has_complaint, "--{} has no complaint about bad values", row.long);
            let of_edits = [Verb::EditService, Verb::EditServer];
            assert!(!row.settable || of_edits.iter().any(|verb| row.allowed.contains(verb)), "--{}", row.long);
        }
    }

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
