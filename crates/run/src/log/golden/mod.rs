//! Event files are those of TensorBoard's own writer, byte by byte; `make.py` made one.

use super::events::{Timed, encode};

#[test]
fn the_bytes_are_those_of_tensorboard_s_writer() {
    let settings = [("rate", "0.5"), ("softmax", "false"), ("type", "adam")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let scalars = [
        ("train/loss", Some(1.0 / 3.0)),
        ("none", None),
        ("train/accuracy", Some(0.0)),
    ];
    let events = [
        Timed::version(),
        Timed::text("recipe", "    é = 1\n"),
        Timed::hparams(settings.into()),
        Timed::scalars(300, &scalars),
    ];
    let golden = include_bytes!("events.out.tfevents.golden");
    assert_eq!(encode(&events, 1.5), golden);
}
