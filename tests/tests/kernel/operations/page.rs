//! Reads documentation pages: commands after prompts, and their output.

use std::time::Duration;

use ipvs_tests::command::Ran;
use ipvs_tests::wait;

/// A placeholder for any text within a line. If it is the whole line, it matches any number of lines.
const ANYTHING: &str = "…";

/// The commands under one heading.
pub(crate) struct Page {
    steps: Vec<Step>,
}

struct Step {
    host: String,
    command: String,
    printed: Vec<String>,
}

/// Returns the code block after a line.
pub(crate) fn block_after(text: &str, line: &str) -> String {
    let after = text.split_once(&format!("\n{line}\n\n```\n")).map_or("", |(_, after)| after);
    let block = after.split_once("```").map_or("", |(block, _)| block);
    assert!(!block.is_empty(), "no block after {line}");
    block.to_owned()
}

/// Returns the headings of a text.
pub(crate) fn headings(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("## "))
}

impl Page {
    /// Reads the commands under a heading with the prompt of one of these hosts, `HOST# `. The host "" has the prompt
    /// `# `.
    pub(crate) fn of(text: &str, heading: &str, hosts: &[&str]) -> Page {
        let lines = text.lines().skip_while(|line| *line != format!("## {heading}")).skip(1);
        let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
        let steps = lines.split(|line| line.trim_start().starts_with("```")).skip(1).step_by(2);
        let steps: Vec<Step> = steps.flat_map(|block| commands(block, hosts)).collect();
        assert!(!steps.is_empty(), "no commands under {heading}");
        Page { steps }
    }

    /// Reads the examples of a manual page.
    pub(crate) fn of_manual(text: &str) -> Page {
        let lines = text.lines().skip_while(|line| *line != "# EXAMPLES").skip(1);
        let block: Vec<&str> = lines.take_while(|line| !line.starts_with("# ")).collect();
        let commands = block.into_iter().filter_map(|line| line.strip_prefix("    # "));
        let step = |command: &str| Step { host: String::new(), command: command.into(), printed: Vec::new() };
        let steps: Vec<Step> = commands.map(step).collect();
        assert!(!steps.is_empty(), "no examples");
        Page { steps }
    }

    /// Runs all commands in order and checks their output.
    pub(crate) fn run(&self, shell: impl Fn(&str, &str) -> Ran) {
        for Step { host, command, printed } in &self.steps {
            let run = || {
                let ran = shell(host, command);
                let as_printed = ran.code == Some(0) && (printed.is_empty() || printed_by(&ran, printed));
                if as_printed { Ok(()) } else { Err(format!("{host}{ran}")) }
            };
            // The kernel updates the reported counters every two seconds, and directors write reports every five seconds.
            let changes_by_itself = ["ipvsadm -L", "ipvsadm-rs fleet"].iter().any(|start| command.starts_with(start));
            let patience = if changes_by_itself { Duration::from_secs(20) } else { Duration::ZERO };
            wait::until(patience, run);
        }
    }
}

/// Reads the commands of a code block, each with the output below it.
fn commands(block: &[&str], hosts: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // Output has the indentation of its block.
    let indent = block.first().map_or(0, |line| line.len() - line.trim_start().len());
    for line in block.iter().map(|line| line.get(indent..).unwrap_or_default()) {
        match line.split_once("# ").filter(|(host, _)| hosts.contains(host)) {
            Some((host, command)) => {
                steps.push(Step { host: host.into(), command: command.into(), printed: Vec::new() });
            }
            // Lines before the first command are skipped: a drawing, or another language.
            None => steps.last_mut().into_iter().for_each(|step| step.printed.push(line.to_owned())),
        }
    }
    steps
}

fn printed_by(ran: &Ran, wanted: &[String]) -> bool {
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    fits(&wanted, &lines)
}

fn fits(wanted: &[&str], lines: &[&str]) -> bool {
    match wanted {
        [] => lines.is_empty(),
        [ANYTHING, rest @ ..] => (0..=lines.len()).any(|skipped| fits(rest, &lines[skipped..])),
        [line, rest @ ..] => lines.split_first().is_some_and(|(first, others)| same(line, first) && fits(rest, others)),
    }
}

/// Compares a line without blanks at the end, which are invisible on a page.
fn same(wanted: &str, line: &str) -> bool {
    match wanted.split_once(ANYTHING) {
        Some((start, end)) => line.starts_with(start) && line[start.len()..].ends_with(end),
        None => wanted.trim_end() == line.trim_end(),
    }
}
