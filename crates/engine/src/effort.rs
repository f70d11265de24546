//! How thorough the tests are.
//!
//! `WALSHIP_TEST_EFFORT=10` has each of them look at ten times as many cases, crash states and seeds as it usually does.

use std::sync::LazyLock;

static EFFORT: LazyLock<u32> = LazyLock::new(|| match std::env::var("WALSHIP_TEST_EFFORT") {
    Ok(effort) => effort.parse().unwrap_or_else(|_| panic!("WALSHIP_TEST_EFFORT is no number: {effort}")),
    Err(_) => 1,
});

/// As many cases as usually `usual` are.
pub(crate) fn cases(usual: u32) -> u32 {
    usual.saturating_mul(*EFFORT)
}
