//! The server as its clients see it: the binary, at a port of its own, with real models.

mod conformance;
mod control;
mod ending;
mod grpc;
mod hostile;
mod images;
mod layouts;
mod load;
mod predict;
mod server;
mod tls;
