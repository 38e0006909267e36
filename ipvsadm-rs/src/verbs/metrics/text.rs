//! The text format of Prometheus: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::io::Write as _;

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
    pub(super) fn add_with(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        let out = match &mut self.out {
            Output::Count(count) => return **count += 1,
            Output::Text(out) => out,
        };
        out.extend_from_slice(self.name);
        let mut separator = b'{';
        if !self.labels.is_empty() {
            out.push(b'{');
            out.extend_from_slice(self.labels.as_bytes());
            separator = b',';
        }
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            out.push(separator);
            write_label(out, name, value);
            separator = b',';
        }
        if separator == b',' {
            out.push(b'}');
        }
        out.push(b' ');
        match value.into() {
            Value::Whole(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            // Writing to a vector does not fail.
            Value::Fraction(value) => drop(write!(out, "{value}")),
        }
        out.push(b'\n');
    }
}

/// Returns labels without the braces: `service="tcp:192.0.2.1:80",server="10.0.0.1:80"`.
pub(super) fn labels(labels: &[(&str, &str)]) -> String {
    let mut out = Vec::new();
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_label(&mut out, name, value);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'"' => out.extend_from_slice(br#"\""#),
            b'\n' => out.extend_from_slice(br"\n"),
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Writes metrics of items. A metric without samples is omitted.
pub(super) fn write<'i, T: Item + 'static>(
    out: &mut Vec<u8>,
    prefix: &str,
    metrics: &[Metric<T>],
    items: impl Iterator<Item = &'i T> + Clone,
) {
    for metric in metrics {
        let name = format!("{prefix}{}", metric.name);
        let start = out.len();
        write_head(out, &name, metric.kind, metric.help);
        let end_of_head = out.len();
        for item in items.clone() {
            let output = Output::Text(out);
            (metric.samples)(item, &mut Samples { out: output, name: name.as_bytes(), labels: item.labels() });
        }
        if out.len() == end_of_head {
            out.truncate(start);
        }
    }
}

/// Writes the lines that describe a metric.
pub(super) fn write_head(out: &mut Vec<u8>, name: &str, kind: Kind, help: &str) {
    // Writing to a vector does not fail. The texts are those of this program, and need no escapes.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.name());
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
            samples: |lamp, out| out.add_with(&[("colour", "re\"d\\\n"), ("room", "")], lamp.1.is_some()),
        },
        Metric {
            name: "seconds_total",
            kind: Kind::Counter,
            help: "Time that the lamp was lit.",
            labels: &[],
            samples: |lamp, out| lamp.1.into_iter().for_each(|value| out.add(value)),
        },
    ];

    #[test]
    fn metrics_are_groups_of_lines() {
        let mut out = Vec::new();
        write(&mut out, "lamp_", LAMPS, [Lamp("", None), Lamp("lamp=\"2\"", Some(0.25))].iter());
        assert_eq!(
            String::from_utf8(out).expect("a text"),
            "# HELP lamp_lit Whether the lamp is lit.\n\
             # TYPE lamp_lit gauge\n\
             lamp_lit{colour=\"re\\\"d\\\\\\n\"} 0\n\
             lamp_lit{lamp=\"2\",colour=\"re\\\"d\\\\\\n\"} 1\n\
             # HELP lamp_seconds_total Time that the lamp was lit.\n\
             # TYPE lamp_seconds_total counter\n\
             lamp_seconds_total{lamp=\"2\"} 0.25\n"
        );
        let mut out = Vec::new();
        write(&mut out, "lamp_", &LAMPS[1..], [Lamp("", None)].iter());
        assert_eq!(out, b"");
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
        assert_eq!(labels(&[("a", "1"), ("b", "ä\"")]), "a=\"1\",b=\"ä\\\"\"");
    }
}
