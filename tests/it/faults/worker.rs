//! Workers: killed, frozen, cut off, repeating themselves (F25–F35).
