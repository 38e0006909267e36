//! The alert rules and the dashboard in `dist/prometheus` use only metrics, labels and values that exist.

use std::collections::HashSet;

use serde_json::Value;

use super::names;
use crate::sight::condition::{Condition, Problem};

const ALERTS: &str = include_str!("../../../dist/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../dist/prometheus/dashboard.json");

/// Labels that Prometheus adds, and a label of node_exporter.
const OTHER_LABELS: [&str; 2] = ["instance", "file"];

/// Returns the expressions of the rules, which are on the line of `expr:` or on the lines below it.
fn expressions_of_rules() -> Vec<String> {
    let mut expressions: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in ALERTS.lines().map(str::trim) {
        if let Some(expression) = line.strip_prefix("expr: ") {
            expressions.push(expression.trim_start_matches(">-").into());
            is_inside = true;
        } else if line.ends_with(':') || line.split_once(": ").is_some_and(|(key, _)| key == "for") {
            is_inside = false;
        } else if let Some(last) = expressions.last_mut().filter(|_| is_inside) {
            *last += &format!(" {line}");
        }
    }
    expressions
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

fn expressions_of_dashboard() -> Vec<String> {
    let dashboard = dashboard();
    let targets = dashboard["panels"].as_array().expect("panels").iter().flat_map(|panel| panel["targets"].as_array());
    let mut expressions: Vec<String> =
        targets.flatten().map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["query"]["query"].as_str().unwrap_or_default();
        // label_values(SERIES, LABEL)
        expressions.extend(query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(',')).map(
            |(series, label)| {
                assert!(is_label(label.trim().trim_end_matches(')')), "{query}");
                series.to_owned()
            },
        ));
    }
    expressions
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_label(label: &str) -> bool {
    OTHER_LABELS.contains(&label) || names::all().iter().any(|metric| metric.labels.contains(&label))
}

/// Checks one selector: `name{label="value", …}`. Returns the rest of the expression.
fn check_selector<'e>(name: &str, rest: &'e str, expression: &str) -> &'e str {
    let known = names::all().into_iter().find(|metric| metric.name == name);
    let known = known.unwrap_or_else(|| panic!("no metric {name}: {expression}"));
    let Some(labels) = rest.strip_prefix('{') else { return rest };
    let (labels, rest) = labels.split_once('}').expect("a closing brace");
    for matcher in labels.split(", ") {
        let label: &str = matcher.split(|c| !is_word(c)).next().expect("a label");
        assert!(known.labels.contains(&label) || label == "instance", "no label {label} of {name}: {expression}");
        let value = matcher.trim_start_matches(is_word).trim_start_matches(['=', '!', '~']).trim_matches('"');
        let values: HashSet<&str> = match label {
            "state" => Condition::ALL.map(Condition::name).into(),
            "problem" => Problem::ALL.map(Problem::name).into(),
            "forwarding" => ["masquerade"].into(),
            _ => continue,
        };
        assert!(value.split('|').all(|value| values.contains(value)), "no {label} {value}: {expression}");
    }
    rest
}

fn check(expression: &str) -> usize {
    let (mut rest, mut selectors) = (expression, 0);
    while let Some(start) = rest.find("ipvs_") {
        assert!(!rest[..start].ends_with(is_word), "{expression}");
        let name = &rest[start..];
        let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
        rest = check_selector(&name[..end], &name[end..], expression);
        selectors += 1;
    }
    for clause in [" by (", " on ("] {
        for labels in expression.split(clause).skip(1) {
            let labels = labels.split(')').next().expect("a list");
            assert!(labels.split(", ").all(is_label), "{labels}: {expression}");
        }
    }
    selectors
}

#[test]
fn expressions_use_metrics_that_exist() {
    let rules = expressions_of_rules();
    assert_eq!(rules.len(), ALERTS.matches("- alert: ").count());
    assert!(rules.iter().any(|rule| rule.contains(" and on (instance, service, server) ")), "{rules:#?}");
    for rule in rules.iter().filter(|rule| !rule.contains("node_textfile_mtime_seconds")) {
        assert!(check(rule) > 0, "{rule}");
    }
    for expression in expressions_of_dashboard() {
        assert!(check(&expression) > 0, "{expression}");
    }
}

#[test]
fn texts_use_labels_that_exist() {
    for text in [ALERTS, DASHBOARD] {
        for label in text.split("$labels.").skip(1) {
            let label = label.split(|c| !is_word(c)).next().expect("a label");
            assert!(is_label(label), "{label}");
        }
    }
    for legend in DASHBOARD.split("{{").skip(1) {
        assert!(is_label(legend.split("}}").next().expect("a label")), "{legend}");
    }
}

/// Grafana moves panels that overlap, and ignores one of two with the same number.
#[test]
fn panels_are_placed() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (HashSet::new(), HashSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{panel}");
        }
    }
    assert!(ids.len() > 20);
}
