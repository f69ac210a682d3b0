//! Races and crowds (F57–F59).
