/// A stretch of time in which the clocks of a zone do not change, in seconds since 1970: `start` is in it, `end` is not.
///
/// A **wall** is what the clock on the wall shows, in seconds since it showed midnight of 1 January 1970. Within a
/// stretch there is one wall for each moment; between stretches walls are left out (a gap) or come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// How far the clocks are ahead of UTC, in seconds.
    pub(crate) offset: i64,
}

impl Stretch {
    pub(crate) fn wall(&self, second: i64) -> i64 {
        second.saturating_add(self.offset)
    }

    pub(crate) fn moment(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.offset)
    }

    /// The wall that a clock would show at the end, if it did not change.
    pub(crate) fn end_wall(&self) -> i64 {
        self.wall(self.end)
    }
}
