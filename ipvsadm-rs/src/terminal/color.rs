//! Colours, used on terminals only.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// The condition for using colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set and not empty, or TERM is dumb
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Returns whether output to a stream is coloured.
    pub(crate) fn is_on(self, stream: &impl IsTerminal) -> bool {
        let has = |name, is: fn(&std::ffi::OsStr) -> bool| std::env::var_os(name).is_some_and(|value| is(&value));
        let is_plain = || has("NO_COLOR", |value| !value.is_empty()) || has("TERM", |value| value == "dumb");
        match self {
            Self::Auto => stream.is_terminal() && !is_plain(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The styles of the output. All are plain if colours are off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Palette {
    /// The style of additions.
    pub(crate) add: Style,
    /// The style of deletions.
    pub(crate) remove: Style,
    /// The style of edits.
    pub(crate) change: Style,
    /// The style of costs and other remarks.
    pub(crate) remark: Style,
    /// The style of errors.
    pub(crate) bad: Style,
    pub(crate) title: Style,
}

impl Palette {
    /// Returns the colours for a stream.
    pub(crate) fn of(color: Color, stream: &impl IsTerminal) -> Self {
        if !color.is_on(stream) {
            return Self::default();
        }
        let foreground = |color: AnsiColor| color.on_default();
        Self {
            add: foreground(AnsiColor::Green),
            remove: foreground(AnsiColor::Red),
            change: foreground(AnsiColor::Yellow),
            remark: foreground(AnsiColor::Cyan),
            bad: foreground(AnsiColor::Red).bold(),
            title: Style::new().bold(),
        }
    }
}
