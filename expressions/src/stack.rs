use std::thread;

use crate::limits::STACK_BYTES;

/// Does `work` on a thread with [`STACK_BYTES`] of stack, and waits for it. `None` if there can be no such thread,
/// or if the work panicked.
pub(crate) fn with_known_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("expressions".to_owned()).stack_size(STACK_BYTES);
        builder.spawn_scoped(scope, work).ok()?.join().ok()
    })
}
