//! Manual pages: the texts of `manual/`, with parts generated from the tables and from clap.
//!
//! A text consists of `# HEADINGS`, paragraphs, literal lines (indented by four blanks), and terms, each followed by a
//! line `: its meaning`. The marks `{synopsis}`, `{commands}`, `{options}`, `{common}`, `{schedulers}`, `{metrics}` and
//! `{verbs}` are replaced by generated parts.
//!
//! `clap_mangen` is not used, because it renders a `Command` as sections with their own headings (`SH OPTIONS`). These
//! pages have options in the middle of a text, list commands separately from options, and list the common options once
//! for all verbs. With `clap_mangen`, each of these places would need a `Command` with only its arguments, and code
//! that removes the heading. This would be as much code as `write_argument`.

use std::io::{self, Write};

use clap::{Arg, Command};
use ipvs::Scheduler;
use roff::{Inline, Roff, bold, italic, roman};

use crate::classic::help::{synopses, wrap_synopsis};
use crate::context::COMMON;
use crate::verbs::metrics::names::{self, Known};

/// The width of a synopsis, in columns. With the indentation of literal lines, it fits a terminal of 80 columns.
const SYNOPSIS_WIDTH: usize = 66;

/// Writes the page of a program.
pub(crate) fn write(out: &mut dyn Write, text: &str, command: &Command) -> io::Result<()> {
    let mut page = Roff::new();
    let name = command.get_name();
    let source = concat!("ipvsadm-rs ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name.to_uppercase().as_str(), "8", crate::classic::help::DATE, source, "Linux Virtual Server"]);
    // No hyphenation, so that options, keys and paths can be searched and copied. The right margin is ragged, because
    // long words would leave wide gaps.
    page.control("nh", []).control("ad", ["l"]);
    for block in text.split("\n\n").map(|block| block.trim_matches('\n')) {
        write_block(&mut page, block, command);
    }
    page.to_writer(out)
}

fn write_block(page: &mut Roff, block: &str, command: &Command) {
    let name = command.get_name();
    if let Some(heading) = block.strip_prefix("# ") {
        page.control("SH", [heading]);
    } else if block.starts_with("    ") {
        write_literal(page, block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned()));
    } else if let Some((term, meaning)) = block.split_once("\n: ") {
        page.control("TP", []).text([bold(term)]).text(inline(meaning));
    } else {
        match block {
            "{commands}" => write_arguments(page, command, |argument| is_under(argument, "Commands")),
            "{options}" => write_arguments(page, command, |argument| is_under(argument, "Options")),
            "{common}" => write_arguments(page, command, |argument| is_under(argument, COMMON)),
            "{synopsis}" => {
                let lines = |synopsis: &String| wrap_synopsis(&format!("{name} {synopsis}"), SYNOPSIS_WIDTH);
                write_literal(page, synopses().iter().flat_map(lines));
            }
            "{schedulers}" => {
                for (scheduler, help) in Scheduler::KNOWN {
                    page.control("TP", []).text([bold(scheduler.to_string())]).text([roman(help.trim())]);
                }
            }
            "{metrics}" => names::all().iter().for_each(|metric| write_metric(page, metric)),
            "{verbs}" => {
                command.get_subcommands().filter(|verb| !verb.is_hide_set()).for_each(|verb| write_verb(page, verb))
            }
            paragraph => drop(page.control("PP", []).text(inline(paragraph))),
        }
    }
}

fn write_metric(page: &mut Roff, metric: &Known) {
    let labels = if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(", ")) };
    let meaning = format!("{} ({})", metric.help, metric.kind.name());
    page.control("TP", []).text([bold(&metric.name), roman(labels)]).text(inline(&meaning));
}

/// Writes literal lines.
fn write_literal(page: &mut Roff, lines: impl Iterator<Item = String>) {
    page.control("PP", []).control("nf", []).control("RS", ["4"]);
    for line in lines {
        page.text([roman(line)]);
    }
    page.control("RE", []).control("fi", []);
}

/// Returns a text, with the parts between backquotes in bold.
fn inline(text: &str) -> Vec<Inline> {
    let text = text.replace('\n', " ");
    let pieces = text.split('`').enumerate();
    pieces.map(|(i, piece)| if i % 2 == 1 { bold(piece) } else { roman(piece) }).collect()
}

fn is_under(argument: &Arg, heading: &str) -> bool {
    argument.get_help_heading() == Some(heading)
}

fn write_arguments(page: &mut Roff, command: &Command, wanted: impl Fn(&Arg) -> bool) {
    for argument in command.get_arguments().filter(|argument| wanted(argument) && !argument.is_hide_set()) {
        write_argument(page, argument);
    }
}

fn write_argument(page: &mut Roff, argument: &Arg) {
    let mut spellings: Vec<String> = Vec::new();
    spellings.extend(argument.get_short_and_visible_aliases().into_iter().flatten().map(|letter| format!("-{letter}")));
    spellings.extend(argument.get_long().map(|long| format!("--{long}")));
    let mut term = vec![bold(spellings.join(", "))];
    let takes_value = argument.get_action().takes_values();
    if takes_value {
        let values = argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str());
        let values = values.collect::<Vec<_>>().join(" ");
        let is_optional = argument.get_num_args().is_some_and(|number| number.min_values() == 0);
        let gap = if spellings.is_empty() { "" } else { " " };
        term.push(roman(if is_optional { format!("{gap}[") } else { gap.into() }));
        term.push(italic(values));
        term.push(roman(if is_optional { "]" } else { "" }));
    }
    let mut help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let possible = argument.get_possible_values();
    if takes_value && !possible.is_empty() && !argument.is_hide_possible_values_set() {
        let values: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
        help += &format!(" ({})", values.join(", "));
    }
    let default: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes_value && !default.is_empty() {
        help += &format!(" [default: {}]", default.join(" "));
    }
    let mut paragraphs = help.split("\n\n");
    page.control("TP", []).text(term).text(inline(paragraphs.next().unwrap_or_default()));
    for paragraph in paragraphs {
        page.control("IP", []).text(inline(paragraph));
    }
}

fn write_verb(page: &mut Roff, verb: &Command) {
    if verb.get_name() == "help" {
        return;
    }
    let names: Vec<String> =
        std::iter::once(verb.get_name()).chain(verb.get_visible_aliases()).map(str::to_uppercase).collect();
    page.control("SH", [names.join(", ").as_str()]);
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_start_matches("ipvsadm-rs ");
    page.control("PP", []).text([roman(format!("ipvsadm-rs {usage}"))]);
    let about = verb.get_long_about().or(verb.get_about()).map(ToString::to_string).unwrap_or_default();
    for paragraph in about.split("\n\n") {
        let end = if paragraph.ends_with('.') { "" } else { "." };
        page.control("PP", []).text(inline(&format!("{paragraph}{end}")));
    }
    write_arguments(page, verb, |argument| !is_under(argument, COMMON) && argument.get_id() != "help");
    let end = verb.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    for block in end.split("\n\n") {
        match block.split_once(':').unwrap_or_default() {
            (title @ ("Example" | "Examples"), lines) => {
                page.control("PP", []).text([roman(format!("{title}:"))]);
                write_literal(page, lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
            }
            _ => write_exit_codes(page, block),
        }
    }
}

/// Writes the end of a verb's help: paragraphs, of which the first is a title and a list of exit codes. A line of the
/// list is a code and its meaning, after two blanks. Lines with more blanks continue the meaning.
fn write_exit_codes(page: &mut Roff, text: &str) {
    for paragraph in text.split("\n\n") {
        let is_item = |line: &str| line.starts_with("  ") && !line.starts_with("   ");
        let title: Vec<&str> = paragraph.lines().take_while(|line| !is_item(line)).collect();
        page.control("PP", []).text(inline(&title.join(" ")));
        let mut items: Vec<(&str, String)> = Vec::new();
        for line in paragraph.lines().skip(title.len()) {
            match (line.trim().split_once(' '), items.last_mut()) {
                (Some((code, meaning)), _) if is_item(line) => items.push((code, meaning.trim().to_owned())),
                (_, Some((_, meaning))) => *meaning = format!("{meaning} {}", line.trim()),
                (_, None) => {}
            }
        }
        for (code, meaning) in items {
            page.control("TP", []).text([bold(code)]).text(inline(&meaning));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    const WIDTH: usize = 80;
    /// The indentation of sections, and that of literal lines within them.
    const INDENTATION: usize = 11;

    #[test]
    fn literal_lines_fit_a_terminal() {
        for text in [
            include_str!("../../manual/ipvsadm.md"),
            include_str!("../../manual/ipvsadm-save.md"),
            include_str!("../../manual/ipvsadm-restore.md"),
            include_str!("../../manual/ipvsadm-rs.md"),
        ] {
            for line in text.lines().filter_map(|line| line.strip_prefix("    ")) {
                assert!(INDENTATION + line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    /// clap wraps all texts but the usage.
    #[test]
    fn help_fits_a_terminal() {
        let mut commands = vec![crate::verbs::command().term_width(WIDTH)];
        while let Some(mut command) = commands.pop() {
            command.build();
            for help in [command.render_help(), command.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= WIDTH, "{}: {line}", command.get_name());
                }
            }
            commands.extend(command.get_subcommands().map(|verb| Command::clone(verb).term_width(WIDTH)));
        }
    }

    /// The files are installed by the package, and are not in the directory of the reader.
    #[test]
    fn pages_name_no_file_of_the_source() {
        for text in [include_str!("../../manual/ipvsadm.md"), include_str!("../../manual/ipvsadm-rs.md")] {
            assert!(!text.contains(" docs/"), "a path relative to the source");
        }
    }
}
