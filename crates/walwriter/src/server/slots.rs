//! The connections of one worker, by token.

/// Names a connection for as long as it lives; never names another one after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Token {
    index: u32,
    /// How often the place has been used.
    generation: u32,
}

impl Token {
    pub(super) const fn to_u64(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    pub(super) const fn from_u64(word: u64) -> Self {
        Self { index: word as u32, generation: (word >> 32) as u32 }
    }
}

/// Places that are used again.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        assert!(self.free.len() <= self.places.len(), "free places are places");
        self.places.len() - self.free.len()
    }

    /// Puts in what `make` makes of its future token.
    pub(super) fn insert(&mut self, make: impl FnOnce(Token) -> T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let Some((generation, place)) = self.places.get_mut(index as usize) else {
            unreachable!("free places are places")
        };
        assert!(place.is_none(), "a place has one connection");
        let token = Token { index, generation: *generation };
        *place = Some(make(token));
        token
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let (generation, place) = self.places.get_mut(token.index as usize)?;
        if *generation == token.generation { place.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let (generation, place) = self.places.get_mut(token.index as usize)?;
        if *generation != token.generation {
            return None;
        }
        let value = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(token.index);
        assert!(self.free.len() <= self.places.len(), "free places are places");
        Some(value)
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        let used = self.places.iter().zip(0..).filter(|((_, value), _)| value.is_some());
        used.map(|((generation, _), index)| Token { index, generation: *generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_name_what_comes_after_it() {
        let mut slots = Slots::new();
        let first = slots.insert(|_| 'a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert(|_| 'b');
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get_mut(Token::from_u64(second.to_u64())), Some(&mut 'b'));
        assert_eq!((slots.len(), slots.tokens()), (1, vec![second]));
    }
}
