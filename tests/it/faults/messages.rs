//! What comes over the wire: garbage, bombs, floods, forgeries (F36–F39).
