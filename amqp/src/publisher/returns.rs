//! Which confirmed message was in fact returned.
//!
//! For a `mandatory` message that no queue takes, the broker first sends the message back and then confirms it. The
//! client library puts returned messages into a line and hands the first one to *whichever* confirm comes next, so a
//! confirm says nothing about the returned message that it carries, only that there was one. What holds is:
//!
//! * a message's return arrives before its own confirm;
//! * a confirm that carries nothing found the line empty, so every return that had arrived by then was carried by
//!   an earlier confirm;
//! * each confirm takes one return off the line and each return is followed by its own confirm, so the line is empty
//!   once nothing is outstanding.
//!
//! Hence a confirmed message is known to be routed as soon as a confirm that is not older than its own came with
//! nothing, or nothing is outstanding, and its `message_id` was not among the returned ones. Confirms are handed in
//! by *batches*, each holding every confirm that was there when it was taken: inside a batch the order is unknown.

use std::collections::HashMap;

/// A confirm as it came.
pub(super) struct Confirm {
    pub(super) sequence: u64,
    pub(super) message_id: String,
    pub(super) nacked: bool,
    /// A message that is not mandatory is never returned, so nothing is waited for.
    pub(super) mandatory: bool,
    /// The returned message that happened to be carried.
    pub(super) carried: Option<Returned>,
}

/// A message that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) message_id: String,
    pub(super) code: u16,
    pub(super) text: String,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Confirmed,
    Nacked,
    Returned(Returned),
}

/// Pairs returns with confirms by `message_id`.
#[derive(Default)]
pub(super) struct ReturnLedger {
    /// Returned messages whose own confirm has not come yet.
    returned: HashMap<String, Returned>,
    /// Confirmed messages whose return may still be in the line.
    undecided: Vec<(u64, String, bool)>,
}

impl ReturnLedger {
    /// Takes one complete batch of confirms and calls `decide` for every message whose fate is now known.
    /// `nothing_outstanding` says that no further confirm is to come for anything sent so far.
    pub(super) fn settle(
        &mut self,
        batch: Vec<Confirm>,
        nothing_outstanding: bool,
        mut decide: impl FnMut(u64, Verdict),
    ) {
        let line_was_empty = batch.iter().any(|confirm| confirm.carried.is_none());
        let mut fresh = Vec::with_capacity(batch.len());
        for confirm in batch {
            let known = confirm.carried.is_none() || !confirm.mandatory || nothing_outstanding;
            if let Some(returned) = confirm.carried {
                self.returned.insert(returned.message_id.clone(), returned);
            }
            fresh.push((confirm.sequence, confirm.message_id, confirm.nacked, known));
        }
        let older_known = line_was_empty || nothing_outstanding;
        let older = std::mem::take(&mut self.undecided)
            .into_iter()
            .map(|(sequence, message_id, nacked)| (sequence, message_id, nacked, older_known));
        for (sequence, message_id, nacked, known) in older.chain(fresh) {
            // Most of the time nothing was ever returned, and this is one look at an empty map.
            if let Some(returned) = self.returned.remove(&message_id) {
                decide(sequence, Verdict::Returned(returned));
            } else if nacked {
                decide(sequence, Verdict::Nacked);
            } else if known {
                decide(sequence, Verdict::Confirmed);
            } else {
                self.undecided.push((sequence, message_id, nacked));
            }
        }
        if nothing_outstanding {
            self.returned.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A broker and the client library's line of returned messages, with the mis-pairing.
    #[derive(Default)]
    struct Line(VecDeque<Returned>);

    impl Line {
        fn returns(&mut self, id: u64) {
            self.0.push_back(Returned { message_id: id.to_string(), code: 312, text: "NO_ROUTE".to_owned() });
        }

        fn confirms(&mut self, id: u64) -> Confirm {
            Confirm {
                sequence: id,
                message_id: id.to_string(),
                nacked: false,
                mandatory: true,
                carried: self.0.pop_front(),
            }
        }
    }

    fn settle(ledger: &mut ReturnLedger, batch: Vec<Confirm>, nothing_outstanding: bool) -> Vec<(u64, bool)> {
        let mut decided = Vec::new();
        ledger.settle(batch, nothing_outstanding, |sequence, verdict| {
            if let Verdict::Returned(returned) = &verdict {
                assert_eq!(returned.message_id, sequence.to_string(), "a return given to another message");
            }
            decided.push((sequence, matches!(verdict, Verdict::Returned(_))));
        });
        decided
    }

    #[test]
    fn a_message_confirmed_before_its_return_is_carried_is_not_taken_for_routed() {
        let (mut line, mut ledger) = (Line::default(), ReturnLedger::default());
        line.returns(1);
        line.returns(2);
        // The confirm of 2 carries the return of 1; that of 2 is still in the line.
        let second = line.confirms(2);
        assert_eq!(settle(&mut ledger, vec![second], false), []);
        let first = line.confirms(1);
        let mut decided = settle(&mut ledger, vec![first], false);
        decided.sort_unstable();
        assert_eq!(decided, [(1, true), (2, true)]);
    }

    #[test]
    fn a_routed_message_that_carried_a_return_waits_for_proof() {
        let (mut line, mut ledger) = (Line::default(), ReturnLedger::default());
        line.returns(1);
        let routed = line.confirms(7);
        assert_eq!(settle(&mut ledger, vec![routed], false), []);
        let returned = line.confirms(1);
        let mut decided = settle(&mut ledger, vec![returned], false);
        decided.sort_unstable();
        assert_eq!(decided, [(1, true), (7, false)]);
    }

    #[test]
    fn every_order_of_confirms_gives_every_message_its_own_fate() {
        // A small linear congruential generator: the same sequences in every run.
        let mut seed = 7_u64;
        let mut next = move |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        for _ in 0..500 {
            let (mut line, mut ledger) = (Line::default(), ReturnLedger::default());
            let mut outstanding: Vec<u64> = Vec::new();
            let (mut decided, mut batch) = (HashMap::new(), Vec::new());
            let mut to_send: Vec<u64> = (0..40).rev().collect();
            while !to_send.is_empty() || !outstanding.is_empty() {
                if next(2) == 0 && !to_send.is_empty() {
                    let id = to_send.pop().unwrap();
                    if id.is_multiple_of(3) {
                        line.returns(id);
                    }
                    outstanding.push(id);
                } else if !outstanding.is_empty() {
                    let index = usize::try_from(next(outstanding.len() as u64)).unwrap();
                    batch.push(line.confirms(outstanding.swap_remove(index)));
                }
                if next(4) == 0 || outstanding.is_empty() {
                    let order = std::mem::take(&mut batch).into_iter().rev().collect();
                    decided.extend(settle(&mut ledger, order, outstanding.is_empty()));
                }
            }
            assert_eq!(decided.len(), 40);
            for (id, returned) in decided {
                assert_eq!(returned, id.is_multiple_of(3), "message {id}");
            }
        }
    }
}
