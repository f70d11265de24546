//! Two contenders measured in pairs: the median of their ratios, and how far it may be off.
//!
//! The machines that measure have fast and slow phases that last longer than a pair, so what counts is the ratio within a
//! pair. The interval is that of the sign test: between the two order statistics that the true median lies between with
//! the probability asked for, whatever the ratios' distribution is. It needs no simulation and no seed.

/// The ratios of pairs, each the second figure by the first.
#[derive(Clone, Debug, Default)]
pub struct Ratios(Vec<f64>);

impl Ratios {
    /// Adds a pair; of figures of which more is better.
    pub fn add(&mut self, first: f64, second: f64) {
        self.0.push(second / first);
    }

    /// The median; not a number without a pair.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    /// What the true median lies between with a probability of at least 95 %; with less than six pairs nobody knows.
    pub fn interval(&self) -> (f64, f64) {
        let sorted = self.sorted();
        match rank(sorted.len()) {
            Some(rank) => (sorted[rank], sorted[sorted.len() - 1 - rank]),
            None => (0.0, f64::INFINITY),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// How many of `count` values, at most, may be left out at either end: with a probability of not more than 2.5 % so many and
/// one more of them lie on one side of the true median.
fn rank(count: usize) -> Option<usize> {
    let mut probability = 0.5f64.powi(i32::try_from(count).ok()?);
    let (mut sum, mut rank) = (0.0, None);
    for left_out in 0..count {
        sum += probability;
        if sum > 0.025 {
            break;
        }
        rank = Some(left_out);
        probability *= (count - left_out) as f64 / (left_out + 1) as f64;
    }
    rank
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn ratios(values: impl IntoIterator<Item = f64>) -> Ratios {
        Ratios(values.into_iter().collect())
    }

    #[test]
    fn ranks_are_those_of_the_tables() {
        // Tables of the sign test: 95 % intervals of the median are from the sixth to the fifteenth of twenty values, from
        // the tenth to the twenty-first of thirty, and six is the fewest.
        assert_eq!([rank(5), rank(6), rank(20), rank(30)], [None, Some(0), Some(5), Some(9)]);
    }

    #[test]
    fn the_median_lies_in_its_interval() {
        let values = ratios((100..120).map(|n| f64::from(n) / 100.0));
        assert_eq!(values.interval(), (1.05, 1.14));
        assert!((values.median() - 1.095).abs() < 1e-9);
        assert_eq!(ratios([1.0, 1.0]).interval(), (0.0, f64::INFINITY));
    }

    #[test]
    fn pairs_become_the_seconds_part_of_the_first() {
        let mut ratios = Ratios::default();
        ratios.add(100.0, 90.0);
        assert!((ratios.median() - 0.9).abs() < 1e-9);
    }

    #[test]
    fn the_interval_has_the_true_median_as_often_as_it_says_and_misses_what_is_slower() {
        let mut random = Random::seeded(5);
        let (mut hits, mut found) = (0, 0);
        for _ in 0..1000 {
            // Noise of 6 % around 1, and around 0.92.
            let mut noise = || 0.94 + random.below(1000) as f64 * 0.00012;
            let same = ratios((0..20).map(|_| noise())).interval();
            let slower = ratios((0..20).map(|_| noise() * 0.92)).interval();
            hits += u32::from(same.0 <= 1.0 && 1.0 <= same.1);
            found += u32::from(slower.1 < 0.97);
        }
        assert!(hits >= 940, "{hits}");
        assert!(found >= 700, "{found}");
    }
}
