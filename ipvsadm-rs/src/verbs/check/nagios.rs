//! The output of a plugin of Nagios: <https://nagios-plugins.org/doc/guidelines.html>.

use super::live::{Checked, Drift, Status, Verdict};
use crate::sight::condition::Problem;
use crate::terminal::plural::count;

/// The number of problems that have a line of their own. Nagios keeps at most 8 KiB of output.
const SHOWN: usize = 30;

/// Returns the text of a verdict. The first line has the status, a summary, and performance data after a `|`.
pub(super) fn text(verdict: &Verdict) -> String {
    let status = verdict.status.name().to_uppercase();
    let mut text = format!("IPVS {status} - {} | {}\n", plain(&verdict.summary()), performance(verdict));
    let problems: Vec<&Checked> = verdict.checked.iter().filter(|checked| checked.problem.is_some()).collect();
    for Checked { service, status, message, .. } in problems.iter().take(SHOWN) {
        text += &plain(&format!("{service}: {}: {message}", status.name()));
        text.push('\n');
    }
    if problems.len() > SHOWN {
        text += &format!("and {} with problems\n", count((problems.len() - SHOWN) as u64, "more service"));
    }
    for line in verdict.drift.iter().flat_map(Drift::lines) {
        text += &plain(&line);
        text.push('\n');
    }
    text
}

/// Returns the text for a check that failed.
pub(super) fn unknown(error: &anyhow::Error) -> String {
    let text = crate::verbs::sentence(error);
    format!("IPVS {} - {}\n", Status::Unknown.name().to_uppercase(), plain(text.lines().next().unwrap_or_default()))
}

/// Returns a text as part of a line. A `|` would begin performance data.
fn plain(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

/// Returns values with their thresholds: `LABEL=VALUE;WARNING;CRITICAL;MINIMUM`. A value above a threshold of 0 is a
/// problem.
fn performance(verdict: &Verdict) -> String {
    let mut values = vec![format!("services={};;;0", verdict.services)];
    for (problem, (name, number)) in Problem::ALL.iter().zip(&verdict.problems) {
        let thresholds = match Status::of(*problem) {
            Status::Critical => ";0",
            Status::Warning => "0;",
            Status::Ok | Status::Unknown => ";",
        };
        values.push(format!("{name}={number};{thresholds};0"));
    }
    values.extend(verdict.servers.iter().map(|(name, number)| format!("servers_{name}={number};;;0")));
    values.push(format!("active_connections={};;;0", verdict.active_connections));
    values.push(format!("inactive_connections={};;;0", verdict.inactive_connections));
    values.extend(verdict.drift.iter().map(|drift| format!("drift={};0;;0", drift.changes.len())));
    values.join(" ")
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model, apply, plan};

    use super::*;

    fn verdict(rules: &str, changes: Option<&[&str]>) -> Verdict {
        let mut director = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        let drift = changes
            .map(|changes| Drift { file: "rules".into(), changes: changes.iter().map(ToString::to_string).collect() });
        Verdict::new(&director.state().expect("a model").services, &[], drift)
    }

    #[test]
    fn a_good_table_has_one_line() {
        assert_eq!(
            text(&verdict("-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1 -g\n", Some(&[]))),
            "IPVS OK - 1 service and 1 server checked | services=1;;;0 no_servers=0;;0;0 all_weight_0=0;;0;0 \
             refuses_all=0;;0;0 refuses_some=0;0;;0 full=0;0;;0 draining=0;;;0 servers_up=1;;;0 servers_full=0;;;0 \
             servers_draining=0;;;0 servers_drained=0;;;0 active_connections=0;;;0 inactive_connections=0;;;0 \
             drift=0;0;;0\n"
        );
    }

    #[test]
    fn problems_have_lines() {
        let rules = "-A -f 1 -s rr\n-A -f 2 -s rr\n-a -f 2 -r 10.0.0.1 -g -w 0\n-A -f 3 -s sh\n-a -f 3 -r 10.0.0.1 -g\n\
                     -a -f 3 -r 10.0.0.2 -g -w 0\n";
        let verdict = verdict(rules, Some(&["-D -f 7", "--start-daemon master --mcast-interface a|b"]));
        assert_eq!(verdict.status, Status::Critical);
        let text = text(&verdict);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with(
                "IPVS CRITICAL - 1 service has no servers, 1 service has only servers of weight 0, 1 service refuses \
                 some new clients, 2 changes are needed to match rules, 3 services and 3 servers checked | services=3;"
            ),
            "{text}"
        );
        assert_eq!(lines[1], "FWM 1: critical: every new client is refused: the service has no servers");
        assert_eq!(lines[2], "FWM 2: critical: every new client is refused: all servers have weight 0");
        assert!(lines[3].starts_with("FWM 3: warning: 50.0 % of new clients are refused: "), "{text}");
        assert_eq!(
            lines[4..],
            [
                "rules: warning: the table differs: 2 changes are needed",
                "  -D -f 7",
                "  --start-daemon master --mcast-interface a/b"
            ]
        );
        assert_eq!(text.matches('|').count(), 1);
    }

    #[test]
    fn many_problems_are_counted() {
        let rules: String = (1..=50).map(|mark| format!("-A -f {mark} -s rr\n")).collect();
        let text = text(&verdict(&rules, None));
        assert_eq!(text.lines().count(), 1 + SHOWN + 1);
        assert!(text.ends_with("\nand 20 more services with problems\n"), "{text}");
    }
}
