//! Numbers to tables and plots: accuracy, confusion, latency, agreement.
