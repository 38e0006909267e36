//! Colours, where somebody looks.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment variable NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The colours in use: all plain where nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Palette {
    /// What comes.
    pub(crate) add: Style,
    /// What goes.
    pub(crate) remove: Style,
    /// What changes.
    pub(crate) change: Style,
    /// What it costs, and other remarks.
    pub(crate) remark: Style,
    /// What is wrong.
    pub(crate) bad: Style,
    /// Titles.
    pub(crate) title: Style,
}

impl Palette {
    /// For a stream.
    pub(crate) fn of(color: Color, stream: &impl IsTerminal) -> Self {
        let is_plain = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = match color {
            Color::Auto => stream.is_terminal() && !is_plain(),
            Color::Always => true,
            Color::Never => false,
        };
        if !colored {
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
