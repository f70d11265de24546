//! Entries in memory, until they are put in order.

/// Keys and what belongs to them, one after the other.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where an entry is in the bytes.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    payload: usize,
    end: usize,
}

impl Gathered {
    pub(super) fn push(&mut self, key: &[u8], payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.places.push(Place { key: start, payload: middle, end: self.bytes.len() });
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The memory that the entries take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Place>()
    }

    /// The entry that is at `index` now.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let place = self.places.get(index)?;
        Some((self.bytes.get(place.key..place.payload)?, self.bytes.get(place.payload..place.end)?))
    }

    /// Puts the entries in the order of their keys, those with equal keys in the order in which they came.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        let key = |place: &Place| bytes.get(place.key..place.payload).unwrap_or_default();
        // Entries were appended one after the other: their places say who came first.
        self.places
            .sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.key.cmp(&b.key)).then(a.end.cmp(&b.end)));
    }

    /// Keeps the first `count` of those that are in order, and the memory of no other.
    pub(super) fn truncate(&mut self, count: usize) {
        let mut kept = Self::default();
        for index in 0..count.min(self.len()) {
            if let Some((key, payload)) = self.get(index) {
                kept.push(key, payload);
            }
        }
        *self = kept;
    }
}
