//! The buffer pool: pages in memory, each as of every LSN that somebody may read at.
