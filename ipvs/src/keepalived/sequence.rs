//! `~SEQ` and `~LST`: a line that is processed once for each of several values.

use super::definitions::Definitions;

pub(super) struct Sequence {
    values: Values,
    /// The rest of the line.
    pub(super) text: String,
}

enum Values {
    Numbers { name: String, next: Option<i64>, step: i64, last: i64, is_hexadecimal: bool },
    List { names: Vec<String>, sets: std::vec::IntoIter<Vec<String>> },
}

impl Sequence {
    /// Reads a line that begins with `~SEQ` or `~LST`. Returns it with the bytes of the values that were replaced.
    pub(super) fn parse(line: &str, definitions: &Definitions) -> Result<(Self, usize), String> {
        match line.strip_prefix("~SEQ") {
            Some(rest) => Self::numbers(rest, definitions),
            None => Self::list(line.strip_prefix("~LST").unwrap_or_default()).map(|list| (list, 0)),
        }
    }

    fn numbers(rest: &str, definitions: &Definitions) -> Result<(Self, usize), String> {
        const FORM: &str = "a sequence is written ~SEQ(NAME, START, STEP, END), with numbers";
        let (is_hexadecimal, rest) = match rest.strip_prefix('x') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (arguments, text) =
            rest.trim_start().strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or(FORM)?;
        let (name, numbers) = arguments.split_once(',').ok_or(FORM)?;
        let name = name.trim().to_owned();
        let (numbers, replaced) = definitions.replace_all(numbers)?;
        let numbers: Vec<i64> = numbers.split(',').map(number).collect::<Option<_>>().ok_or(FORM)?;
        let sign = |is_upwards| if is_upwards { 1 } else { -1 };
        let (start, step, last) = match numbers[..] {
            [last] => (sign(last >= 0), sign(last >= 1), last),
            [start, last] => (start, sign(start <= last), last),
            [start, step, last] => (start, step, last),
            _ => return Err(FORM.into()),
        };
        if name.is_empty() {
            return Err(FORM.into());
        }
        if step == 0 || (start < last && step < 0) || (start > last && step > 0) {
            return Err(format!("the sequence from {start} does not reach {last} in steps of {step}"));
        }
        if is_hexadecimal && (start < 0 || last < 0) {
            return Err("~SEQx needs positive numbers".into());
        }
        let values = Values::Numbers { name, next: Some(start), step, last, is_hexadecimal };
        Ok((Self { values, text: text.trim_start().to_owned() }, replaced))
    }

    fn list(rest: &str) -> Result<Self, String> {
        const FORM: &str = "a list is written ~LST(NAME, VALUE, …) or ~LST({NAME, NAME}, {VALUE, VALUE}, …)";
        let mut rest = rest.trim_start().strip_prefix('(').ok_or(FORM)?;
        let mut sets = Vec::new();
        let text = loop {
            let set;
            (set, rest) = value_set(rest).ok_or(FORM)?;
            sets.push(set);
            let end = rest.chars().next();
            rest = rest.get(1..).unwrap_or_default();
            match end {
                Some(',') => {}
                Some(')') => break rest,
                _ => return Err(FORM.into()),
            }
        };
        let names = sets.remove(0);
        if sets.is_empty() || names.iter().any(String::is_empty) {
            return Err(FORM.into());
        }
        for set in &mut sets {
            if set.len() > names.len() {
                return Err(format!("the list has more values than names: {}", set.join(", ")));
            }
            set.resize(names.len(), String::new());
        }
        Ok(Self { values: Values::List { names, sets: sets.into_iter() }, text: text.trim_start().to_owned() })
    }

    /// Returns the names with their next values.
    pub(super) fn next(&mut self) -> Option<Vec<(String, String)>> {
        match &mut self.values {
            Values::Numbers { name, next, step, last, is_hexadecimal } => {
                let value = (*next)?;
                let is_over = |value: i64| if *step > 0 { value > *last } else { value < *last };
                *next = value.checked_add(*step).filter(|value| !is_over(*value));
                let text = if *is_hexadecimal { format!("{value:x}") } else { value.to_string() };
                Some(vec![(name.clone(), text)])
            }
            Values::List { names, sets } => Some(names.iter().cloned().zip(sets.next()?).collect()),
        }
    }
}

/// Reads a value, or several in braces. Returns them and the text after them.
fn value_set(text: &str) -> Option<(Vec<String>, &str)> {
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let (values, rest) = inner.split_once('}')?;
        return Some((values.split(',').map(|value| value.trim().to_owned()).collect(), rest.trim_start()));
    }
    let end = text.find([',', ')'])?;
    Some((vec![text[..end].trim().to_owned()], &text[end..]))
}

/// Reads a number as strtol(3) does: decimal, hexadecimal with `0x`, octal with `0`.
fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits_only = |digits: &str, radix| {
        let is_number = digits.starts_with(|c: char| c.is_ascii_hexdigit());
        i64::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    let number = match (digits.strip_prefix("0x").or(digits.strip_prefix("0X")), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => digits_only(hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => digits_only(octal, 8),
        _ => digits_only(digits, 10),
    };
    number.map(|number| sign * number)
}
