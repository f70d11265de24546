//! Row and tree locks, their queues, and deadlocks.
