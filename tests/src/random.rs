//! Random moments for faults, from a seed that is printed.

use std::time::Duration;

/// A small generator of random numbers (SplitMix64). Its seed is printed, which the output of a failed test shows;
/// `WALSHIP_TESTS_SEED` sets it. Faults hit running processes, so a seed repeats the plan but not every coincidence.
pub struct Random(u64);

impl Random {
    /// A generator with a new seed, or the one in the environment.
    #[track_caller]
    pub fn new() -> Self {
        let given = std::env::var("WALSHIP_TESTS_SEED")
            .ok()
            .map(|seed| seed.parse().expect("WALSHIP_TESTS_SEED is a number"));
        let seed = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock is past 1970").as_micros() as u64
        });
        println!("to repeat this plan: WALSHIP_TESTS_SEED={seed}");
        Self(seed)
    }

    /// The generator of that seed, which somebody else prints.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Lets a random time below `limit` pass: the moment of a fault.
    pub fn moment(&mut self, limit: Duration) {
        std::thread::sleep(Duration::from_micros(self.below(limit.as_micros() as u64)));
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
