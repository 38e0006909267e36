//! The limits of a configuration. A short file can describe a large one, and a hostile file must not exhaust a machine.

/// The size of keepalived's buffer for a line. It splits longer lines.
pub(super) const LONGEST_LINE: usize = 1022;
/// The number of lines that definitions and sequences may produce in total.
pub(super) const MOST_LINES: usize = 500_000;
/// The number of bytes that definitions and sequences may produce in total.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// The bytes that are counted for each value in addition to its text, so that empty values are limited, too.
const VALUE: usize = 16;
/// The number of words in all files, with those that definitions and sequences produce.
pub(super) const MOST_WORDS: usize = 2_000_000;
/// The number of lines with `include`.
pub(super) const MOST_INCLUDES: usize = 10_000;
/// The number of replacements in a line. More are a definition that contains itself.
pub(super) const MOST_REPLACEMENTS: usize = 1000;
/// The number of included files, definitions and sequences that can be inside each other.
pub(super) const DEEPEST: usize = 64;
/// The number of blocks that can be inside each other. keepalived has at most five.
pub(super) const DEEPEST_BLOCK: usize = 16;
/// The number of services and servers. A short range describes many.
pub(super) const MOST_SERVERS: usize = 300_000;

/// Counts the results of definitions, sequences and includes.
#[derive(Debug, Default)]
pub(super) struct Used {
    lines: usize,
    bytes: usize,
    includes: usize,
    words: usize,
}

impl Used {
    /// Counts a line that a definition or a sequence produces.
    pub(super) fn line(&mut self, text: &str) -> Result<(), String> {
        self.lines += 1;
        if self.lines > MOST_LINES {
            return Err(format!("definitions and sequences produce more than {MOST_LINES} lines"));
        }
        self.bytes(text.len())
    }

    /// Counts a value of this length that replaces a parameter, or that a sequence sets.
    pub(super) fn value(&mut self, length: usize) -> Result<(), String> {
        self.bytes(length + VALUE)
    }

    fn bytes(&mut self, length: usize) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(length);
        if self.bytes > MOST_BYTES {
            return Err(format!("definitions and sequences produce more than {} MiB", MOST_BYTES >> 20));
        }
        Ok(())
    }

    /// Counts a line with `include`.
    pub(super) fn include(&mut self) -> Result<(), String> {
        self.includes += 1;
        if self.includes > MOST_INCLUDES {
            return Err(format!("more than {MOST_INCLUDES} lines with `include' are not supported"));
        }
        Ok(())
    }

    /// Counts a word of a statement.
    pub(super) fn word(&mut self) -> Result<(), String> {
        self.words += 1;
        if self.words > MOST_WORDS {
            return Err(format!("more than {MOST_WORDS} words are not supported"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Lines;
    use super::super::{Include, IncludedFile, Options, read, tree};
    use super::{MOST_WORDS, Used};
    use crate::convert::Report;

    /// Includes two files for every pattern.
    struct Two(&'static str);

    impl Include for Two {
        fn include(&mut self, _: &str, _: &str) -> Result<Vec<IncludedFile>, String> {
            Ok(vec![IncludedFile { name: "two".into(), text: self.0.into() }; 2])
        }
    }

    const SIZE: usize = 10 << 20;

    /// Repeats a text up to a size.
    fn filled(head: &str, text: &str) -> String {
        let count = (SIZE - head.len()) / text.len();
        format!("{head}{}", text.repeat(count))
    }

    /// Returns the last error of a configuration, and the number of bytes that were processed.
    fn last_error(text: &str, included: &'static str) -> (String, usize) {
        let (mut report, mut include, options) = (Report::default(), Two(included), Options::default());
        let mut lines = Lines::new("f", text.as_bytes(), &options, &mut include, &mut report);
        tree::read(&mut lines);
        let work = lines.work;
        (report.errors.last().map(ToString::to_string).unwrap_or_default(), work)
    }

    /// Each text would take minutes or gigabytes without the limits.
    #[test]
    fn hostile_texts_take_bounded_work() {
        let long = "x".repeat(900);
        let chain: String = (1..900).map(|number| format!("$A{number}=$A{}\n", number - 1)).collect();
        let chain = format!("$A0=3\n{chain}");
        let list = format!("~LST({{a{}}}{})\n", ",a".repeat(200), ",{}".repeat(180));
        let cases = [
            (filled("", "{"), "f:1:1: the line is longer than 1022 bytes: keepalived would split it"),
            (filled("SSL ", "\u{e4}"), "f:1:1: the line is longer than 1022 bytes: keepalived would split it"),
            (filled("", "{\n"), "f:1001:1: more than 1000 errors: the others are not listed"),
            (format!("{}\n", "SSL{}".repeat(200)).repeat(1000), ""),
            (format!("~SEQ(A, 1, 400000) {long}\n"), "f:1:1: definitions and sequences produce more than 16 MiB"),
            (
                "~SEQ(A, 1, 9000) ~SEQ(B, 1, 9000) b\n".into(),
                "f:1:1: definitions and sequences produce more than 500000 lines",
            ),
            (filled("", &list), "f:29:1: definitions and sequences produce more than 16 MiB"),
            (filled(&chain, "$A899\n"), "f:1794:1: definitions and sequences produce more than 16 MiB"),
            (filled(&chain, "~SEQ(B, $A90)\n"), "f:33862:1: definitions and sequences produce more than 16 MiB"),
            (filled("$A=x$A\n", "$A\n"), "f:885:1: definitions and sequences produce more than 16 MiB"),
            (filled("", "include x\n"), "f:10001:1: more than 10000 lines with `include' are not supported"),
        ];
        for (text, expected) in cases {
            let (error, work) = last_error(&text, "");
            let shown: String = text.chars().take(40).collect();
            assert_eq!(error, expected, "{shown}");
            assert!(work < 50 * SIZE, "{shown}: {work}");
        }
    }

    #[test]
    fn words_are_limited() {
        let mut used = Used::default();
        let refused = (0..=MOST_WORDS).find_map(|number| used.word().err().map(|error| (number, error)));
        assert_eq!(refused, Some((MOST_WORDS, "more than 2000000 words are not supported".into())));
    }

    #[test]
    fn depth_counts_nesting() {
        // 100 files of one include are not inside each other.
        struct Many;
        impl Include for Many {
            fn include(&mut self, _: &str, _: &str) -> Result<Vec<IncludedFile>, String> {
                Ok((0..100).map(|number| IncludedFile { name: number.to_string(), text: b"SSL\n".to_vec() }).collect())
            }
        }
        let converted = read("f", b"include *.conf\ninclude *.conf\n", &Options::default(), &mut Many).expect("reads");
        assert_eq!(converted.notes.len(), 200);
        assert_eq!(&*converted.notes[99].position.file, "99");
        let (error, work) = last_error("include x\n", "include x\n");
        assert_eq!(error, "two:1:1: too many files include each other");
        assert!(work < 2000, "{work}");
    }

    #[test]
    fn marks_are_counted() {
        let marks: String = (1..=3000).map(|mark| format!("fwmark {mark}\n")).collect();
        let servers: String = (0..200).map(|number| format!("real_server 10.0.0.{number} {{\n}}\n")).collect();
        let text =
            format!("virtual_server_group a {{\n{marks}}}\nvirtual_server group a {{\nlvs_sched rr\n{servers}}}\n");
        let errors = read("f", text.as_bytes(), &Options::default(), &mut Two("")).expect_err("too many");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["f:3003:1: more than 300000 services and servers are not supported"]);
    }
}
