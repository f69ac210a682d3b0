//! The wall clock jumps (F48).
