//! The fleet: ten thousand announcements, lost and stale ones, other protocol versions (F49–F51).
