//! A network as a graph of typed operators, cut into a chain of segments.
//!
//! Cut at each value that every path from the image to the scores passes, a network is a chain:
//! between two cuts lies a [`Segment`] with one input and one output. A plain layer is a segment of
//! one node; a residual block, a squeeze-and-excite block or half of a transformer's block is one
//! of several. Names of operators are ONNX's; settings are typed, and what opsets spell
//! differently is the same here. Shapes leave the batch open: see [`Size`].

mod arithmetic;
mod classifier;
mod error;
mod kind;
mod layout;
mod network;
mod node;
mod op;
mod output;
mod segment;
mod size;
mod unfold;
mod window;

pub use error::RuleError;
pub use network::{Graph, Image};
pub use node::{Input, Node, Parameter, Values};
pub use op::{Binary, Gemm, Lrn, Op, Other, Reduction, SliceAxis, Unary};
pub use segment::{Segment, UntypedError};
pub use size::{Count, Dims, Size};
pub use unfold::UnfoldedConv;
pub use window::{Conv, PadMode, Padded, Pool, Window};
