//! Random histories against a plain map of every version of every page.
