//! The broker: restarted, killed, wiped, absent, frozen, out of memory or disk, and its queues taken away (F1–F5, F11–F18).
