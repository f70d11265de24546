//! What a slot may be called.

use std::fmt;

use crate::command::validate_slot_name;

/// A slot's name: 1 to 63 of the characters `a-z`, `0-9` and `_` (`ReplicationSlotValidateName`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotName(String);

impl SlotName {
    /// `name`, if a slot may be called that.
    pub fn new(name: &str) -> Option<Self> {
        validate_slot_name(name).is_ok().then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_postgresql_allows() {
        for good in ["a", "standby_1", "0", &"x".repeat(63)] {
            assert!(SlotName::new(good).is_some(), "{good}");
        }
        for bad in ["", "A", "a-b", "../x", "a.slot", "é", &"x".repeat(64)] {
            assert!(SlotName::new(bad).is_none(), "{bad}");
        }
    }
}
