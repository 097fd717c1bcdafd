//! A bounded memory of what was asked for lately, for what can be found out again when it is forgotten.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: when the young one is full it becomes the old one, and what was in that and nobody asked for since is
/// forgotten.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    generation_max: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Holds at least so many, and at most twice as many.
    #[must_use]
    pub(crate) fn new(generation_max: usize) -> Self {
        Self { generation_max, young: HashMap::new(), old: HashMap::new() }
    }

    /// What is kept under this key. It is young again.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put(key, value);
        }
        self.young.get_mut(key)
    }

    /// Keeps it, in place of what was there.
    pub(crate) fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.generation_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_nobody_asks_for_and_keeps_the_rest() {
        let mut recent = Recent::new(100);
        for key in 0..1_000 {
            recent.put(key, key);
            assert_eq!(recent.get(&0), Some(&mut 0), "asked for all the time");
            assert!(recent.young.len() <= 100 && recent.old.len() <= 100);
        }
        assert_eq!(recent.get(&1), None);
        assert!((901..1_000).all(|key| recent.get(&key) == Some(&mut { key })), "the last ones");
    }

    #[test]
    fn what_is_put_again_replaces_what_was_there() {
        let mut recent = Recent::new(1);
        recent.put(1, "first");
        recent.put(2, "pushes it into the old generation");
        recent.put(1, "second");
        recent.put(3, "pushes that one, too");
        assert_eq!(recent.get(&1), Some(&mut "second"));
    }
}
