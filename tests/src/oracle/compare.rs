//! What is the same and what is not.

use super::case::{Case, Step};
use super::diff::diff;
use super::mask::{self, Mask};
use super::run::Transcript;
use super::shell::Outcome;

/// The differences that should not be; `None` if all is well.
pub fn report(case: &Case, reference: &Transcript, ours: &Transcript) -> Option<String> {
    let expected = side(case, reference, |step, outcome| match &step.ours {
        Some(different) => (different.stdout.clone(), different.end.clone()),
        None => (outcome.stdout.clone(), outcome.end.clone()),
    });
    let seen = side(case, ours, |_, outcome| (outcome.stdout.clone(), outcome.end.clone()));
    let tables = |transcript: &Transcript| mask::apply(only_of_tables(&case.masks), &transcript.table);
    let (held, holds) = (tables(reference), tables(ours));
    let table = match (case.table_differs, held == holds) {
        (false, _) => diff(&held, &holds).map(|diff| format!("what the kernel holds:\n{diff}")),
        (true, true) => Some("what the kernel holds is the same, though the case says it is not\n".to_owned()),
        (true, false) => None,
    };
    let steps = case.steps.iter().zip(reference.outcomes.iter().zip(&ours.outcomes));
    let words = steps.filter_map(|(step, (reference, ours))| words(step, reference, ours));
    let outputs = diff(&expected, &seen).map(|diff| format!("the reference (-) and ours (+):\n{diff}"));
    let parts: Vec<String> = outputs.into_iter().chain(table).chain(words).collect();
    (!parts.is_empty()).then(|| format!("{}\n{}", case.name, parts.concat()))
}

/// What one side did, all of it.
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

/// Whether ours says on standard error what the reference says, and perhaps more, but nothing where that is silent.
fn in_other_words(reference: &Outcome, ours: &Outcome) -> bool {
    let sentences: Vec<&str> = reference.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let silence = sentences.is_empty() == ours.stderr.trim().is_empty();
    silence && sentences.iter().all(|sentence| ours.stderr.contains(sentence))
}

/// Whether two programs did the same with a line.
pub fn same(reference: &Outcome, ours: &Outcome) -> bool {
    (&reference.stdout, &reference.end) == (&ours.stdout, &ours.end) && in_other_words(reference, ours)
}

/// What is wrong with what ours says on standard error, and with a difference that is none.
fn words(step: &Step, reference: &Outcome, ours: &Outcome) -> Option<String> {
    if let Some(different) = &step.ours
        && (&different.stdout, &different.end) == (&reference.stdout, &reference.end)
    {
        return Some(format!("# {}\nthe reference does just the same\n", step.typed));
    }
    let said = if step.ours.is_none() && step.says.is_empty() {
        in_other_words(reference, ours)
    } else {
        step.says.iter().all(|words| ours.stderr.contains(words))
    };
    (!said).then(|| {
        let (typed, reference, ours) = (&step.typed, &reference.stderr, &ours.stderr);
        format!("# {typed}\nstandard error of the reference:\n{reference}and of ours:\n{ours}")
    })
}
