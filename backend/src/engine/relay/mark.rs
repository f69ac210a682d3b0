//! The high-water mark of confirmed dispatch numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::ports::DispatchNumber;

/// The high-water mark of confirmed dispatch numbers. It rises over a number only when that number was
/// confirmed, so a number that was given but not yet published can never be passed over.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// Everything up to here is confirmed or over.
    confirmed: u64,
    /// Confirmed, but above a number that is not: the first number of each run of them, and the last. There are no more
    /// runs than numbers that are open, however long the oldest of these stays so.
    ahead: BTreeMap<u64, u64>,
    /// What the store knows.
    kept: u64,
}

impl Mark {
    /// Starts from what an earlier process left: of the numbers up to `issued`, only `unsent` are open.
    pub(super) fn recover(&mut self, issued: DispatchNumber, unsent: impl Iterator<Item = DispatchNumber>) {
        let open: BTreeSet<u64> = unsent.map(|number| number.0).collect();
        self.confirmed = open.first().map_or(issued.0, |first| first - 1);
        let ends = open.iter().skip(1).map(|next| next - 1).chain([issued.0]);
        for (number, last) in open.iter().zip(ends) {
            if last > *number {
                self.ahead.insert(number + 1, last);
            }
        }
    }

    pub(super) fn confirm(&mut self, number: DispatchNumber) {
        let number = number.0;
        if self.is_confirmed(DispatchNumber(number)) {
            return;
        }
        let last = self.ahead.remove(&(number + 1)).unwrap_or(number);
        if number == self.confirmed + 1 {
            self.confirmed = last;
            return;
        }
        match self.ahead.range_mut(..number).next_back() {
            Some((_, end)) if *end + 1 == number => *end = last,
            _ => drop(self.ahead.insert(number, last)),
        }
    }

    pub(super) fn is_confirmed(&self, number: DispatchNumber) -> bool {
        let run = self.ahead.range(..=number.0).next_back();
        number.0 <= self.confirmed || run.is_some_and(|(_, last)| number.0 <= *last)
    }

    pub(super) fn to_keep(&self) -> Option<DispatchNumber> {
        (self.confirmed > self.kept).then_some(DispatchNumber(self.confirmed))
    }

    pub(super) fn kept(&mut self, up_to: DispatchNumber) {
        self.kept = self.kept.max(up_to.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mark_never_passes_an_unconfirmed_number() {
        let mut mark = Mark::default();
        mark.recover(DispatchNumber(10), [DispatchNumber(4), DispatchNumber(7)].into_iter());
        assert_eq!(mark.to_keep(), Some(DispatchNumber(3)));
        mark.confirm(DispatchNumber(11));
        mark.confirm(DispatchNumber(7));
        assert_eq!(mark.to_keep(), Some(DispatchNumber(3)), "4 is still open");
        mark.confirm(DispatchNumber(4));
        assert_eq!(mark.to_keep(), Some(DispatchNumber(11)));
        mark.kept(DispatchNumber(11));
        assert_eq!(mark.to_keep(), None);
        mark.confirm(DispatchNumber(13));
        assert_eq!(mark.to_keep(), None, "12 was given to somebody who has not published it yet");
    }

    #[test]
    fn one_number_that_stays_open_costs_no_memory() {
        let mut mark = Mark::default();
        for number in (2..1_000_000).rev() {
            mark.confirm(DispatchNumber(number));
        }
        assert_eq!((mark.to_keep(), mark.ahead.len()), (None, 1));
        mark.confirm(DispatchNumber(1));
        assert_eq!((mark.to_keep(), mark.ahead.len()), (Some(DispatchNumber(999_999)), 0));
    }

    proptest! {
        #[test]
        fn it_is_what_a_list_of_all_numbers_says(
            issued in 0..40_u64,
            open in prop::collection::btree_set(1..40_u64, 0..10),
            confirmed in prop::collection::vec(1..60_u64, 0..60),
        ) {
            let open: BTreeSet<u64> = open.into_iter().filter(|number| *number <= issued).collect();
            let mut all: BTreeSet<u64> = (1..=issued).filter(|number| !open.contains(number)).collect();
            let mut mark = Mark::default();
            mark.recover(DispatchNumber(issued), open.into_iter().map(DispatchNumber));
            for number in confirmed {
                mark.confirm(DispatchNumber(number));
                all.insert(number);
                let rises_to = (1..).take_while(|number| all.contains(number)).last().unwrap_or(0);
                prop_assert_eq!(mark.to_keep().map_or(0, |up_to| up_to.0), rises_to);
                for number in 1..62 {
                    prop_assert_eq!(mark.is_confirmed(DispatchNumber(number)), all.contains(&number));
                }
            }
        }
    }
}
