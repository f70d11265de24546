//! Transactions: private write sets, savepoints, isolation.
