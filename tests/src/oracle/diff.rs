//! Two texts side by side, as `diff -u` shows them.

/// The lines that differ, with some around them; `None` if none does.
pub fn diff(left: &str, right: &str) -> Option<String> {
    if left == right {
        return None;
    }
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let before = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let most = left.len().min(right.len()) - before;
    let after = left.iter().rev().zip(right.iter().rev()).take(most).take_while(|(left, right)| left == right).count();
    let (from, to) =
        (before.saturating_sub(CONTEXT), |lines: &[&str]| (lines.len() - after + CONTEXT).min(lines.len()));
    let changes = changes(&left[from..to(&left)], &right[from..to(&right)]);
    Some(shown(&changes))
}

const CONTEXT: usize = 4;
/// More than this is not compared line by line: what is left of it and what is right are shown one after the other.
const MOST: usize = 4_000_000;
const LINES: usize = 200;

#[derive(Clone, Copy, PartialEq)]
enum Change<'a> {
    Both(&'a str),
    Left(&'a str),
    Right(&'a str),
}

/// By the longest common subsequence.
fn changes<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<Change<'a>> {
    if left.len() * right.len() > MOST {
        let lines = |lines: &[&'a str], as_change: fn(&'a str) -> Change<'a>| {
            lines.iter().take(LINES / 2).map(|line| as_change(line)).collect::<Vec<_>>()
        };
        return [lines(left, Change::Left), lines(right, Change::Right)].concat();
    }
    let mut longest = vec![vec![0u32; right.len() + 1]; left.len() + 1];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            let skip = longest[i + 1][j].max(longest[i][j + 1]);
            longest[i][j] = if left[i] == right[j] { longest[i + 1][j + 1] + 1 } else { skip };
        }
    }
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            changes.push(Change::Both(left[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            changes.push(Change::Left(left[i]));
            i += 1;
        } else {
            changes.push(Change::Right(right[j]));
            j += 1;
        }
    }
    changes
}

fn shown(changes: &[Change<'_>]) -> String {
    let near = |at: &usize| {
        let around = &changes[at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(changes.len())];
        around.iter().any(|change| !matches!(change, Change::Both(_)))
    };
    let mut text = String::new();
    let mut last = None;
    for at in (0..changes.len()).filter(near).take(LINES) {
        if last.is_some_and(|last| last + 1 != at) {
            text += "    …\n";
        }
        last = Some(at);
        text += &match changes[at] {
            Change::Both(line) => format!("    {line}\n"),
            Change::Left(line) => format!("  - {line}\n"),
            Change::Right(line) => format!("  + {line}\n"),
        };
    }
    text
}
