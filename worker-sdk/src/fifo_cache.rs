//! A memory that forgets its oldest entries instead of growing.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Entries by key, at most so many and at most so many bytes; the oldest give way.
pub(crate) struct FifoCache<K, V> {
    entries: HashMap<K, (V, usize)>,
    /// The keys in the order in which they came.
    order: VecDeque<K>,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
}

impl<K: Eq + Hash + Clone, V> FifoCache<K, V> {
    pub(crate) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, entries_max, bytes_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        match self.entries.insert(key.clone(), (value, bytes)) {
            Some((_, bytes_before)) => self.bytes -= bytes_before,
            None => self.order.push_back(key),
        }
        self.bytes += bytes;
        while self.entries.len() > self.entries_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.entries.remove(&oldest).map_or(0, |(_, bytes)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_give_way_to_number_and_to_size() {
        let mut memory = FifoCache::new(3, 100);
        for key in 1..=4 {
            memory.insert(key, key * 10, 10);
        }
        assert_eq!((memory.get(&1), memory.get(&2)), (None, Some(&20)));
        memory.insert(5, 50, 90);
        assert_eq!((memory.get(&3), memory.get(&4), memory.get(&5)), (None, Some(&40), Some(&50)));
        memory.insert(5, 51, 95);
        assert_eq!((memory.get(&4), memory.get(&5)), (None, Some(&51)));
        assert_eq!((memory.bytes, memory.order.len()), (95, 1));
    }
}
