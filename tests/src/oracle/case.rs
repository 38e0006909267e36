//! Cases as they are written: command lines, and what is different on purpose.
//!
//! ```text
//! # A comment stands at the begin of a line.
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
//! Every line is run by both programs, by `/bin/sh` where a line needs one; `%` begins what the laboratory does itself
//! ([`super::actions`]). There is no expected text: that is what the reference says. Directives:
//!
//! | | |
//! |---|---|
//! | `@for NAME a "b c" d` | one case for each value; `{NAME}` stands for it, also in the title. Two of them: every pair |
//! | `@mask NAME…` | what no two runs have in common ([`super::mask`]) |
//! | `@limit SECONDS` | for each command; 5 if nothing is said |
//! | `@compat ROW` | this case is different on purpose, as that row of docs/compat.md says |
//! | `@before 6.6` | … and a race: it is run until the reference loses it; from that kernel on only ours is run |
//! | `@table differs` | … and so is what the kernel holds in the end |
//!
//! What is different is written behind the command, and must be so to the letter; what is not written must be the same:
//!
//! ```text
//! ipvsadm -Sn
//! | -A -t 10.0.0.1:80 -s rr          what ours prints, line by line
//! [exit 2]                           how ours ends, if not with exit status 0
//! ! thresholds                       words that ours has on standard error; alone, this wants no @compat
//! ```

use std::time::Duration;

use super::mask::Mask;

/// How long a command may take if nothing is said.
const LIMIT: Duration = Duration::from_secs(5);

/// Some lines to be run by both programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// `services::persistent-60`
    pub name: String,
    /// The lines.
    pub steps: Vec<Step>,
    /// What is blanked before outputs are compared.
    pub masks: Vec<Mask>,
    /// The row of docs/compat.md that says why the outputs differ.
    pub compat: Option<String>,
    /// From this kernel on only ours is run.
    pub before: Option<(u32, u32)>,
    /// In the end the kernel holds something else.
    pub table_differs: bool,
    /// For each command.
    pub limit: Duration,
}

/// A line, and what ours is to do with it if that is not what the reference does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// As typed.
    pub typed: String,
    /// What ours does where the reference does something else.
    pub ours: Option<Different>,
    /// Words on our standard error, whatever the reference has there.
    pub says: Vec<String>,
}

/// What ours does.
#[derive(Clone, Debug, PartialEq)]
pub struct Different {
    /// The whole of it.
    pub stdout: String,
    /// `exit 0`
    pub end: String,
}

impl Step {
    /// A line that is the same to both.
    pub fn typed(line: impl Into<String>) -> Step {
        Step { typed: line.into(), ..Step::default() }
    }

    fn different(&mut self) -> &mut Different {
        self.ours.get_or_insert_with(|| Different { stdout: String::new(), end: "exit 0".to_owned() })
    }
}

impl Case {
    /// A case that is the same to both.
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

    /// Whether it is well written.
    pub fn check(&self) -> Result<(), String> {
        let differs = self.table_differs || self.steps.iter().any(|step| step.ours.is_some());
        match &self.compat {
            Some(_) if !differs => Err(format!("{}: @compat, and nothing differs", self.name)),
            None if differs => Err(format!("{}: it differs, and no @compat says why", self.name)),
            _ if self.steps.is_empty() => Err(format!("{}: no lines", self.name)),
            _ if self.name.contains(['{', ' ']) => Err(format!("{}: no name for a test", self.name)),
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
        let step = case.steps.last_mut().ok_or_else(|| at("before the first command"));
        match line.as_bytes()[0] {
            b'@' => directive(case, variables, &line[1..]).ok_or_else(|| at("no such directive"))?,
            b'|' => {
                let text = &mut step?.different().stdout;
                text.push_str(line.strip_prefix("| ").unwrap_or(&line[1..]));
                text.push('\n');
            }
            b'[' => {
                let end = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).ok_or_else(|| at("no end"))?;
                end.clone_into(&mut step?.different().end);
            }
            b'!' => step?.says.push(line[1..].trim().to_owned()),
            _ => {
                let mut typed = line.to_owned();
                if let Some(word) = heredoc(line) {
                    loop {
                        let (_, more) = lines.next().ok_or_else(|| at("a heredoc without its end"))?;
                        typed = typed + "\n" + more;
                        if more == word {
                            break;
                        }
                    }
                }
                case.steps.push(Step::typed(typed));
            }
        }
    }
    if let Some((case, variables)) = current {
        cases.extend(each_value(case, &variables));
    }
    Ok(cases)
}

/// The word that ends the heredoc of this line, if it has one.
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

/// Words; quotes make one of several, or of none.
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
            says: step.says.iter().map(fill).collect(),
        };
        let title = case.name.replace(&place, &value.replace(' ', "_"));
        let case = Case { name: title, steps: case.steps.iter().map(step).collect(), ..case.clone() };
        each_value(case, rest)
    };
    values.iter().flat_map(with).collect()
}
