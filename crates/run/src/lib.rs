//! The run directory: the hand-over between the stages.
