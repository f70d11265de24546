//! Which LSNs somebody reads at.
