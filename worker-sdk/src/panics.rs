//! Where a handler panicked. The process's panic hook knows it; who catches the panic does not.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    panic::{PanicHookInfo, set_hook, take_hook},
    sync::Once,
};

thread_local! {
    /// Where this thread panicked last.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes the place of every panic from now on, before the hook that there was. Does nothing the second time.
pub(crate) fn note_places() {
    static NOTING: Once = Once::new();
    NOTING.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            LAST.set(place(info));
            before(info);
        }));
    });
}

/// Where this thread has just panicked, if that was noted.
pub(crate) fn take_place() -> Option<String> {
    LAST.take()
}

/// The line; and the way to it, if `RUST_BACKTRACE` asks for that.
fn place(info: &PanicHookInfo<'_>) -> Option<String> {
    let location = info.location()?;
    let backtrace = Backtrace::capture();
    Some(match backtrace.status() {
        BacktraceStatus::Captured => format!("at {location}\n{backtrace}"),
        _ => format!("at {location}"),
    })
}
