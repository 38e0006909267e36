//! The text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{self, Display, Write as _};
use std::io;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// It only increases, or starts again at 0.
    Counter,
    Gauge,
}

impl Kind {
    /// Returns the name of the type in the format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric of each item of a type, such as all services.
pub(super) struct Metric<T: 'static> {
    /// The name without the prefix.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// A sentence.
    pub(super) help: &'static str,
    /// The labels besides those of the item.
    pub(super) labels: &'static [&'static str],
    /// Adds the samples of an item. Their number may be 0.
    pub(super) samples: fn(&T, &mut Samples<'_>),
}

/// An item that metrics are about.
pub(super) trait Item {
    /// The labels that identify the item.
    const LABELS: &'static [&'static str];

    /// Returns these labels with their values, as [`labels`] writes them.
    fn labels(&self) -> &str;
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Fraction(f64),
}

macro_rules! values {
    ($($type:ty, $value:ident => $result:expr;)*) => { $(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $result
            }
        }
    )* };
}

values! {
    u64, value => Self::Whole(value);
    u32, value => Self::Whole(value.into());
    usize, value => Self::Whole(value as u64);
    bool, value => Self::Whole(value.into());
    f64, value => Self::Fraction(value);
}

/// A text that is written in parts. That of a large table has more than 10 MB.
pub(super) struct Text<'w> {
    out: &'w mut dyn io::Write,
    part: Vec<u8>,
}

/// The size from which a part is written, in bytes.
const PART: usize = 32 * 1024;

impl<'w> Text<'w> {
    pub(super) fn new(out: &'w mut dyn io::Write) -> Self {
        Self { out, part: Vec::with_capacity(PART + PART / 8) }
    }

    /// Writes the last part.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.write_part()
    }

    fn write_part(&mut self) -> io::Result<()> {
        self.out.write_all(&self.part)?;
        self.part.clear();
        Ok(())
    }

    /// Adds metrics of items. A metric without samples is omitted.
    pub(super) fn add<'i, T: Item + 'static>(
        &mut self,
        prefix: &str,
        metrics: &[Metric<T>],
        items: impl Iterator<Item = &'i T> + Clone,
    ) -> io::Result<()> {
        for metric in metrics {
            let name = format!("{prefix}{}", metric.name);
            let start = self.part.len();
            write_head(&mut self.part, &name, metric.kind, metric.help);
            let mut has_samples = false;
            for item in items.clone() {
                let before = self.part.len();
                let out = Output::Text(&mut self.part);
                (metric.samples)(item, &mut Samples { out, name: name.as_bytes(), labels: item.labels() });
                has_samples |= self.part.len() > before;
                if self.part.len() >= PART && has_samples {
                    self.write_part()?;
                }
            }
            if !has_samples {
                self.part.truncate(start);
            }
        }
        Ok(())
    }
}

/// The samples of one metric and one item.
pub(super) struct Samples<'t> {
    out: Output<'t>,
    /// The whole name.
    name: &'t [u8],
    /// The labels of the item.
    labels: &'t str,
}

enum Output<'t> {
    Text(&'t mut Vec<u8>),
    /// Only counts the samples.
    Count(&'t mut usize),
}

impl Samples<'_> {
    /// Adds a sample that has only the labels of the item.
    pub(super) fn add(&mut self, value: impl Into<Value>) {
        self.add_with(&[], value);
    }

    /// Adds a sample with further labels. A label without a value is omitted: the two are the same to Prometheus.
    pub(super) fn add_with(&mut self, labels: &[(&str, &dyn Display)], value: impl Into<Value>) {
        let out = match &mut self.out {
            Output::Count(count) => return **count += 1,
            Output::Text(out) => out,
        };
        out.extend_from_slice(self.name);
        let start = out.len();
        out.push(b'{');
        out.extend_from_slice(self.labels.as_bytes());
        for (name, value) in labels {
            write_label(out, start + 1, name, value);
        }
        if out.len() == start + 1 {
            out.truncate(start);
        } else {
            out.push(b'}');
        }
        out.push(b' ');
        match value.into() {
            Value::Whole(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Value::Fraction(value) => write_shown(out, &value),
        }
        out.push(b'\n');
    }
}

/// Returns labels, as they are written between braces, with further ones: `service="tcp:192.0.2.1:80",server="10.0.0.1:80"`.
/// A label without a value is omitted.
pub(super) fn extended(labels: &str, further: &[(&str, &dyn Display)]) -> String {
    /// Enough for an IPv6 address with a port.
    const VALUE: usize = 50;
    let lengths = further.iter().map(|(name, _)| name.len() + VALUE);
    let mut out = Vec::with_capacity(labels.len() + lengths.sum::<usize>());
    out.extend_from_slice(labels.as_bytes());
    for (name, value) in further {
        write_label(&mut out, 0, name, value);
    }
    // Nothing is lossy: all parts are texts.
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Writes a label that has a value. `first` is the place of the first label.
fn write_label(out: &mut Vec<u8>, first: usize, name: &str, value: &dyn Display) {
    let start = out.len();
    if start > first {
        out.push(b',');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    let before = out.len();
    // Writing to a vector does not fail.
    let _ = write!(Escaped(out), "{value}");
    if out.len() == before {
        out.truncate(start);
    } else {
        out.push(b'"');
    }
}

/// Escapes the value of a label.
struct Escaped<'o>(&'o mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !text.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
            self.0.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for byte in text.bytes() {
            match byte {
                b'\\' => self.0.extend_from_slice(br"\\"),
                b'"' => self.0.extend_from_slice(br#"\""#),
                b'\n' => self.0.extend_from_slice(br"\n"),
                byte => self.0.push(byte),
            }
        }
        Ok(())
    }
}

/// Writes a value as it is displayed. Writing to a vector does not fail.
fn write_shown(out: &mut Vec<u8>, value: &dyn Display) {
    let _ = io::Write::write_fmt(out, format_args!("{value}"));
}

/// Writes the lines that describe a metric.
pub(super) fn write_head(out: &mut Vec<u8>, name: &str, kind: Kind, help: &str) {
    // The texts are those of this program, and need no escapes.
    write_shown(out, &format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
}

/// Writes a sample with these labels, as [`labels`] writes them.
pub(super) fn write_sample(out: &mut Vec<u8>, name: &str, labels: &str, value: impl Into<Value>) {
    Samples { out: Output::Text(out), name: name.as_bytes(), labels }.add(value);
}

/// Returns the number of series that an item has.
pub(super) fn count<T: Item>(metrics: &[Metric<T>], item: &T) -> usize {
    let mut count = 0;
    for metric in metrics {
        (metric.samples)(item, &mut Samples { out: Output::Count(&mut count), name: b"", labels: "" });
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lamp(&'static str, Option<f64>);

    impl Item for Lamp {
        const LABELS: &'static [&'static str] = &["lamp"];

        fn labels(&self) -> &str {
            self.0
        }
    }

    const LAMPS: &[Metric<Lamp>] = &[
        Metric {
            name: "lit",
            kind: Kind::Gauge,
            help: "Whether the lamp is lit.",
            labels: &["colour", "room"],
            samples: |lamp, out| out.add_with(&[("colour", &"re\"d\\\n"), ("room", &"")], lamp.1.is_some()),
        },
        Metric {
            name: "seconds_total",
            kind: Kind::Counter,
            help: "Time that the lamp was lit.",
            labels: &[],
            samples: |lamp, out| lamp.1.into_iter().for_each(|value| out.add(value)),
        },
    ];

    fn text(metrics: &[Metric<Lamp>], lamps: &[Lamp]) -> String {
        let mut out = Vec::new();
        let mut text = Text::new(&mut out);
        text.add("lamp_", metrics, lamps.iter()).expect("a vector");
        text.end().expect("a vector");
        String::from_utf8(out).expect("a text")
    }

    #[test]
    fn metrics_are_groups_of_lines() {
        assert_eq!(
            text(LAMPS, &[Lamp("", None), Lamp("lamp=\"2\"", Some(0.25))]),
            "# HELP lamp_lit Whether the lamp is lit.\n\
             # TYPE lamp_lit gauge\n\
             lamp_lit{colour=\"re\\\"d\\\\\\n\"} 0\n\
             lamp_lit{lamp=\"2\",colour=\"re\\\"d\\\\\\n\"} 1\n\
             # HELP lamp_seconds_total Time that the lamp was lit.\n\
             # TYPE lamp_seconds_total counter\n\
             lamp_seconds_total{lamp=\"2\"} 0.25\n"
        );
        assert_eq!(text(&LAMPS[1..], &[Lamp("", None)]), "");
    }

    #[test]
    fn long_texts_are_written_in_parts() {
        let lamp = || Lamp("lamp=\"2\"", None);
        let many: Vec<Lamp> = std::iter::repeat_with(lamp).take(PART / 10).collect();
        let long = text(LAMPS, &many);
        assert_eq!(long.lines().count(), 2 + PART / 10, "{}", long.len());
        assert!(long.ends_with("\nlamp_lit{lamp=\"2\",colour=\"re\\\"d\\\\\\n\"} 0\n"));
    }

    #[test]
    fn series_are_counted() {
        assert_eq!([Lamp("", None), Lamp("", Some(1.0))].map(|lamp| count(LAMPS, &lamp)), [1, 2]);
    }

    #[test]
    fn whole_numbers_are_exact() {
        let mut out = Vec::new();
        write_sample(&mut out, "n", "", u64::MAX);
        assert_eq!(out, b"n 18446744073709551615\n");
        assert_eq!(extended("a=\"1\"", &[("b", &"ä\""), ("c", &"")]), "a=\"1\",b=\"ä\\\"\"");
        assert_eq!(extended("", &[("a", &""), ("b", &1)]), "b=\"1\"");
    }
}
