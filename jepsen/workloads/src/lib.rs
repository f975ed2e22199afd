//! What clients do to a cluster, simulated or real, and what must hold of the answers.
