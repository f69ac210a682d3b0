//! The terminal, as long as it is ours: a screen of its own, and keys one by one. However we end, it is given back as it was.

use std::{
    io::{self, Write},
    panic,
    sync::Once,
};

use crossterm::{
    cursor, execute, queue,
    style::Print,
    terminal::{
        self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
    },
};

/// How large a terminal is taken to be that does not say.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// The terminal while it is ours. Dropping it gives it back, in a panic too.
pub(super) struct Terminal(());

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When it does not let itself be taken.
    pub(super) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let told = panic::take_hook();
            // What a panic says has to be read on the user's screen, not on ours, which goes away.
            panic::set_hook(Box::new(move |panic| {
                give_back();
                told(panic);
            }));
        });
        terminal::enable_raw_mode()?;
        let taken = Self(());
        // A line that is too long for a very narrow terminal ends at its edge.
        execute!(io::stdout(), EnterAlternateScreen, DisableLineWrap, cursor::Hide)?;
        Ok(taken)
    }

    /// Draws lines in the place of those before.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub(super) fn draw(&self, lines: impl FnOnce(u16, u16) -> Vec<String>) -> io::Result<()> {
        let (width, height) = terminal::size().unwrap_or(SIZE_DEFAULT);
        let mut out = io::stdout().lock();
        for (row, line) in (0..height).zip(lines(width, height)) {
            queue!(out, cursor::MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

/// Twice does no harm. A terminal that is gone needs nothing back.
fn give_back() {
    let _ = execute!(io::stdout(), EnableLineWrap, LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
}
