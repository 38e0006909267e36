//! Case files: command lines, and the differences from the reference that are intended.
//!
//! ```text
//! # A comment begins at the start of a line.
//! == persistent-{seconds}
//! @for seconds 1 60 2678400
//! ipvsadm -A -t 10.0.0.1:80 -s rr -p {seconds}
//! ipvsadm -R <<'END'
//! -a -t 10.0.0.1:80 -r 10.1.0.1 -m
//! END
//! ipvsadm -Ln
//! %address lo 10.0.0.1/32
//! ```
//!
//! Both programs run every line, through `/bin/sh` if the line needs a shell. Lines with `%` are actions of the
//! laboratory ([`super::actions`]). A case contains no expected output: the expected output is the reference's.
//! Directives:
//!
//! | | |
//! |---|---|
//! | `@for NAME a "b c" d` | makes one case for each value, which replaces `{NAME}` in lines and title. Two `@for` make one case for each pair |
//! | `@mask NAME…` | blanks a part of the outputs that differs in every run ([`super::mask`]) |
//! | `@limit SECONDS` | time limit for each command [default: 5] |
//! | `@compat ROW` | the row of docs/compat.md that describes the difference of this case |
//! | `@before 6.6` | the difference is a race: the reference runs again until it loses. From that kernel on, only our program runs |
//! | `@table differs` | the kernel's tables differ, too |
//!
//! Lines after a command specify exactly how our program differs. Everything else must be the same:
//!
//! ```text
//! ipvsadm -Sn
//! | -A -t 10.0.0.1:80 -s rr          a line that our program prints
//! [exit 2]                           its exit status or signal [default: exit 0]
//! ! thresholds                       words on its standard error; needs no @compat
//! ```

use std::time::Duration;

use super::mask::Mask;

/// Default limit for each command.
const LIMIT: Duration = Duration::from_secs(30);

/// Lines that both programs run.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The name after that of its file: `services::persistent-60`
    pub name: String,
    /// The lines, in the order in which they run.
    pub steps: Vec<Step>,
    /// The parts of the outputs that are blanked or sorted before the comparison.
    pub masks: Vec<Mask>,
    /// The row of docs/compat.md with the reason for the difference; `None` if nothing differs.
    pub compat: Option<String>,
    /// The first kernel (major, minor) on which only our program runs; `None` if the reference always runs.
    pub before: Option<(u32, u32)>,
    /// Whether the kernel's tables differ at the end.
    pub table_differs: bool,
    /// Time limit for each command.
    pub limit: Duration,
}

/// A line, and the differences of our program from the reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The command line as typed, or the action with its `%`.
    pub typed: String,
    /// Output and exit status of our program; `None` if they are those of the reference.
    pub ours: Option<Different>,
    /// Texts that standard error of our program must contain. It is compared with the reference's only if this is empty
    /// and `ours` is `None`.
    pub stderr_contains: Vec<String>,
}

/// Output and exit status of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Different {
    /// The whole standard output.
    pub stdout: String,
    /// The exit status or signal, such as `exit 0`.
    pub end: String,
}

impl Step {
    /// Returns a line on which both must agree.
    pub fn typed(line: impl Into<String>) -> Step {
        Step { typed: line.into(), ..Step::default() }
    }

    fn different(&mut self) -> &mut Different {
        self.ours.get_or_insert_with(|| Different { stdout: String::new(), end: "exit 0".to_owned() })
    }
}

impl Case {
    /// Returns a case in which both must agree on every line.
    pub fn new(name: impl Into<String>, lines: impl IntoIterator<Item = String>) -> Case {
        Case {
            name: name.into(),
            steps: lines.into_iter().map(Step::typed).collect(),
            masks: Vec::new(),
            compat: None,
            before: None,
            table_differs: false,
            limit: LIMIT,
        }
    }

    /// Checks that the case has lines, a valid name, and a `@compat` exactly if something differs.
    pub fn check(&self) -> Result<(), String> {
        let differs = self.table_differs || self.steps.iter().any(|step| step.ours.is_some());
        match &self.compat {
            Some(_) if !differs => Err(format!("{}: has @compat, but nothing differs", self.name)),
            None if differs => Err(format!("{}: differs, but has no @compat", self.name)),
            _ if self.steps.is_empty() => Err(format!("{}: no lines", self.name)),
            _ if self.name.contains(['{', ' ']) => {
                Err(format!("{}: the name has a blank or an unknown {{NAME}}", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// Reads the cases of a file; `name` is the file's.
pub fn parse(name: &str, text: &str) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut current: Option<(Case, Vec<Variable>)> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let at = |what: &str| format!("{name}.cases:{}: {what}: {line}", index + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("== ") {
            if let Some((case, variables)) = current.take() {
                cases.extend(each_value(case, &variables));
            }
            current = Some((Case::new(format!("{name}::{title}"), []), Vec::new()));
            continue;
        }
        let (case, variables) = current.as_mut().ok_or_else(|| at("before the first case"))?;
        match line.as_bytes()[0] {
            b'@' => directive(case, variables, &line[1..]).ok_or_else(|| at("unknown directive"))?,
            b'|' | b'[' | b'!' => {
                let step = case.steps.last_mut().ok_or_else(|| at("before the first command"))?;
                difference(step, line).ok_or_else(|| at("missing `]` at the end"))?;
            }
            _ => {
                let typed = command(line, &mut lines).ok_or_else(|| at("the end of the heredoc is missing"))?;
                case.steps.push(Step::typed(typed));
            }
        }
    }
    if let Some((case, variables)) = current {
        cases.extend(each_value(case, &variables));
    }
    Ok(cases)
}

/// Reads a line that describes a difference of our program on a step. Returns `None` if the line begins with `[` and
/// has no `]` at its end.
fn difference(step: &mut Step, line: &str) -> Option<()> {
    match line.as_bytes()[0] {
        b'|' => {
            let text = &mut step.different().stdout;
            text.push_str(line.strip_prefix("| ").unwrap_or(&line[1..]));
            text.push('\n');
        }
        b'[' => line[1..].strip_suffix(']')?.clone_into(&mut step.different().end),
        _ => step.stderr_contains.push(line[1..].trim().to_owned()),
    }
    Some(())
}

/// Returns a command, with all lines of its heredoc if it has one. Returns `None` if the end of the heredoc is missing.
fn command<'a>(line: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    let mut typed = line.to_owned();
    if let Some(word) = heredoc(line) {
        loop {
            let (_, more) = lines.next()?;
            typed = typed + "\n" + more;
            if more == word {
                break;
            }
        }
    }
    Some(typed)
}

/// Returns the word that ends the heredoc of a line, or `None` for a line without a heredoc.
fn heredoc(line: &str) -> Option<&str> {
    let (_, word) = line.split_once("<<'").filter(|_| !line.starts_with('%'))?;
    word.split_once('\'').map(|(word, _)| word)
}

type Variable = (String, Vec<String>);

fn directive(case: &mut Case, variables: &mut Vec<Variable>, line: &str) -> Option<()> {
    let mut words = words(line).into_iter();
    match words.next()?.as_str() {
        "for" => variables.push((words.next()?, words.collect())),
        "mask" => case.masks = words.map(|word| Mask::named(&word)).collect::<Option<_>>()?,
        "limit" => case.limit = Duration::from_secs(words.next()?.parse().ok()?),
        "before" => {
            let (major, minor) = words.next()?.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()))?;
            case.before = Some((major.ok()?, minor.ok()?));
        }
        "compat" => case.compat = Some(words.next()?),
        "table" if words.next()? == "differs" => case.table_differs = true,
        _ => return None,
    }
    Some(())
}

/// Splits a line at blanks. A part in quotes is one word, even if it is empty.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('"').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn each_value(case: Case, variables: &[Variable]) -> Vec<Case> {
    let Some(((name, values), rest)) = variables.split_first() else { return vec![case] };
    let place = format!("{{{name}}}");
    let with = |value: &String| {
        let fill = |text: &String| text.replace(&place, value);
        let step = |step: &Step| Step {
            typed: fill(&step.typed),
            ours: step.ours.as_ref().map(|ours| Different { stdout: fill(&ours.stdout), end: fill(&ours.end) }),
            stderr_contains: step.stderr_contains.iter().map(fill).collect(),
        };
        let title = case.name.replace(&place, &value.replace(' ', "_"));
        let case = Case { name: title, steps: case.steps.iter().map(step).collect(), ..case.clone() };
        each_value(case, rest)
    };
    values.iter().flat_map(with).collect()
}
