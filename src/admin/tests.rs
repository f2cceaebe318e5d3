//! The admin API as its callers see it.
