//! The backend dies at the worst moments (F19–F24).
