//! Prints figures as tables.

use crate::figures::{Figures, Kind};
use crate::guests::Ruler;
use crate::programs::Program;

/// Prints the figures of a ruler.
pub(crate) fn print(ruler: Ruler, figures: &Figures) {
    let unit = match ruler {
        Ruler::Time => "milliseconds",
        Ruler::Instructions => "million instructions",
    };
    println!(
        "\n| {unit}, least/median | reference | floor | ours | reference/ours | reference/floor | user, ours/floor |"
    );
    println!("|---|---|---|---|---|---|---|");
    for task in &figures.tasks {
        let [reference, floor, ours] = Program::ALL.map(|program| millions(figures, task, program));
        let ratio =
            |kind, of, to| figures.ratio(kind, task, of, to).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!(
            "| {task} | {reference} | {floor} | {ours} | {} | {} | {} |",
            ratio(Kind::Whole, Program::Reference, Program::Ours),
            ratio(Kind::Whole, Program::Reference, Program::Floor),
            ratio(Kind::User, Program::Ours, Program::Floor),
        );
    }
    print_seen(figures);
}

fn millions(figures: &Figures, task: &str, program: Program) -> String {
    let text = |value: Option<u64>| value.map_or_else(String::new, |value| format!("{:.2}", value as f64 / 1e6));
    let (least, median) = (figures.least(Kind::Whole, task, program), figures.median(Kind::Whole, task, program));
    if least.is_none() { String::new() } else { format!("{}/{}", text(least), text(median)) }
}

/// Prints system calls, changing requests and memory, if they were counted.
fn print_seen(figures: &Figures) {
    let seen = |task: &&String| figures.least(Kind::Calls, task, Program::Ours).is_some();
    if !figures.tasks.iter().any(|task| seen(&task)) {
        return;
    }
    println!("\n| | system calls: reference | floor | ours | KiB: reference | floor | ours | changing requests |");
    println!("|---|---|---|---|---|---|---|---|");
    for task in figures.tasks.iter().filter(seen) {
        let all = |kind, unit: u64| {
            Program::ALL.map(|program| {
                figures.least(kind, task, program).map_or_else(String::new, |value| (value / unit).to_string())
            })
        };
        let (calls, memory, writes) = (all(Kind::Calls, 1), all(Kind::Memory, 1024), all(Kind::Writes, 1));
        println!("| {task} | {} | {} | {} |", calls.join(" | "), memory.join(" | "), writes[2]);
    }
}
