//! Checkpoints: fuzzy, paced, and what they allow to be forgotten.
