//! Reports where the two sides of a case differ.

use super::case::{Case, Step};
use super::diff::diff;
use super::mask::{self, Mask};
use super::run::Transcript;
use super::shell::Outcome;

/// Returns a report of the unintended differences, or `None` if there are none.
pub fn report(case: &Case, reference: &Transcript, ours: &Transcript) -> Option<String> {
    let expected = side(case, reference, |step, outcome| match &step.ours {
        Some(different) => (different.stdout.clone(), different.end.clone()),
        None => (outcome.stdout.clone(), outcome.end.clone()),
    });
    let seen = side(case, ours, |_, outcome| (outcome.stdout.clone(), outcome.end.clone()));
    let tables = |transcript: &Transcript| mask::apply(only_of_tables(&case.masks), &transcript.table);
    let (reference_table, our_table) = (tables(reference), tables(ours));
    let table = match (case.table_differs, reference_table == our_table) {
        (false, _) => diff(&reference_table, &our_table).map(|diff| format!("the kernel's tables:\n{diff}")),
        (true, true) => Some("the tables are the same, but the case has `@table differs`\n".to_owned()),
        (true, false) => None,
    };
    let steps = case.steps.iter().zip(reference.outcomes.iter().zip(&ours.outcomes));
    let messages = steps.filter_map(|(step, (reference, ours))| stderr_report(step, reference, ours));
    let outputs = diff(&expected, &seen).map(|diff| format!("the reference (-) and our program (+):\n{diff}"));
    let parts: Vec<String> = outputs.into_iter().chain(table).chain(messages).collect();
    (!parts.is_empty()).then(|| format!("{}\n{}", case.name, parts.concat()))
}

/// Returns outputs, exit statuses and the final table of one side.
pub fn show(case: &Case, transcript: &Transcript) -> String {
    let shown =
        side(case, transcript, |_, outcome| (format!("{}{}", outcome.stdout, outcome.stderr), outcome.end.clone()));
    shown + &transcript.table
}

fn side(case: &Case, transcript: &Transcript, shown: impl Fn(&Step, &Outcome) -> (String, String)) -> String {
    let steps = case.steps.iter().zip(&transcript.outcomes);
    let shown = steps.map(|(step, outcome)| {
        let (stdout, end) = shown(step, outcome);
        let stdout = mask::apply(&case.masks, &stdout);
        let unfinished = if stdout.is_empty() || stdout.ends_with('\n') { "" } else { "\\ no line end\n" };
        format!("# {}\n{stdout}{unfinished}[{end}]\n", step.typed)
    });
    shown.collect()
}

fn only_of_tables(masks: &[Mask]) -> &[Mask] {
    if masks.contains(&Mask::Connections) { &[Mask::Connections] } else { &[] }
}

/// Returns whether standard error of our program contains every line of the reference's. More lines are allowed, unless
/// the reference's is empty.
fn has_reference_messages(reference: &Outcome, ours: &Outcome) -> bool {
    let sentences: Vec<&str> = reference.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let both_or_none = sentences.is_empty() == ours.stderr.trim().is_empty();
    both_or_none && sentences.iter().all(|sentence| ours.stderr.contains(sentence))
}

/// Returns whether two programs had the same output and exit status.
pub fn same(reference: &Outcome, ours: &Outcome) -> bool {
    (&reference.stdout, &reference.end) == (&ours.stdout, &ours.end) && has_reference_messages(reference, ours)
}

/// Returns a report if standard error of our program is wrong or a declared difference does not exist, otherwise
/// `None`.
fn stderr_report(step: &Step, reference: &Outcome, ours: &Outcome) -> Option<String> {
    if let Some(different) = &step.ours
        && (&different.stdout, &different.end) == (&reference.stdout, &reference.end)
    {
        return Some(format!("# {}\nthe reference does the same: this difference does not exist\n", step.typed));
    }
    let as_expected = if step.ours.is_none() && step.stderr_contains.is_empty() {
        has_reference_messages(reference, ours)
    } else {
        step.stderr_contains.iter().all(|words| ours.stderr.contains(words))
    };
    (!as_expected).then(|| {
        let (typed, reference, ours) = (&step.typed, &reference.stderr, &ours.stderr);
        format!("# {typed}\nstandard error of the reference:\n{reference}standard error of our program:\n{ours}")
    })
}
