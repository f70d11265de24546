//! A few seeds of `scripts/chaos`, which runs as many as one likes.

use walship_tests::chaos;

#[test]
fn clusters_under_faults_keep_what_they_acknowledged() {
    chaos::run(1);
}

#[test]
fn a_cluster_is_promoted_past_a_leader_and_a_standby_that_are_ahead_and_they_refuse() {
    chaos::run(4);
}

#[test]
fn a_cluster_outlives_a_promotion_that_is_killed_and_an_older_copy_of_its_leader() {
    chaos::run(7);
}

/// `WALSHIP_CHAOS_SEEDS=FIRST..LAST`, both included.
#[test]
#[ignore = "scripts/chaos runs it"]
fn the_seeds_that_were_asked_for() {
    let asked = std::env::var("WALSHIP_CHAOS_SEEDS").expect("WALSHIP_CHAOS_SEEDS=FIRST..LAST");
    let (first, last) = asked.split_once("..").unwrap_or((&asked, &asked));
    let number = |text: &str| text.parse::<u64>().expect("a seed is a number");
    let seeds = number(first)..=number(last);
    let failed: Vec<u64> =
        seeds.clone().filter(|&seed| std::panic::catch_unwind(|| chaos::run(seed)).is_err()).collect();
    let repeat: Vec<String> =
        failed.iter().map(|seed| format!("scripts/chaos --seeds {seed}..{seed}")).collect();
    println!("{} of {} seeds were clean", seeds.count() - failed.len(), asked);
    assert!(failed.is_empty(), "these were not, to be repeated with:\n{}", repeat.join("\n"));
}
