//! The event file that TensorBoard reads: which events it holds, and how a file is brought up to date.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::proto::{
    Event, HparamsPluginData, Kind, Metadata, PluginData, SessionStartInfo, Setting, Shape,
    Summary, Tensor, Value, What,
};
use super::record;

/// What the first record of a file holds.
const VERSION: &str = "brain.Event:2";
/// The type of a tensor of strings.
const DT_STRING: i32 = 7;
/// The type of a tensor of floats.
const DT_FLOAT: i32 = 1;

/// An event, and how many seconds after the one before it happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    pub event: Event,
    pub seconds: f64,
}

impl Timed {
    /// The first event of a file.
    pub fn version() -> Self {
        Self::at(0, What::FileVersion(VERSION.into()))
    }

    /// A text in Markdown.
    pub fn text(tag: &str, text: &str) -> Self {
        let value = Value {
            // As PyTorch's `add_text` and Keras's callback name theirs.
            tag: format!("{tag}/text_summary"),
            tensor: Some(Tensor {
                dtype: DT_STRING,
                shape: Some(Shape::default()),
                string_val: vec![text.as_bytes().to_vec()],
            }),
            metadata: Some(metadata("text", Vec::new())),
            scalar: None,
        };
        Self::summary(0, vec![value])
    }

    /// Hyperparameters: words that are numbers or truth values become these.
    pub fn hparams(settings: Vec<(String, String)>) -> Self {
        let kind = |value: String| match (value.parse(), value.parse::<f64>()) {
            (Ok(truth), _) => Kind::Bool(truth),
            (_, Ok(number)) if number.is_finite() => Kind::Number(number),
            _ => Kind::Text(value),
        };
        let setting = |(key, value)| {
            let kind = Some(kind(value));
            (key, Setting { kind })
        };
        let start = SessionStartInfo {
            hparams: settings.into_iter().map(setting).collect(),
        };
        let data = HparamsPluginData {
            session_start_info: Some(start),
        };
        let value = Value {
            tag: "_hparams_/session_start_info".into(),
            // All is in the metadata; the tensor is that of TensorBoard's own writer, and empty.
            tensor: Some(Tensor {
                dtype: DT_FLOAT,
                shape: Some(Shape {
                    dim: vec![super::proto::Dim::default()],
                }),
                string_val: Vec::new(),
            }),
            metadata: Some(metadata("hparams", data.encode_to_vec())),
            scalar: None,
        };
        Self::summary(0, vec![value])
    }

    /// Figures of a step, each under its tag; those that are missing are left out.
    pub fn scalars(step: usize, scalars: &[(&str, Option<f64>)]) -> Self {
        let value = |&(tag, value): &(&str, Option<f64>)| {
            Some(Value {
                tag: tag.into(),
                scalar: Some(value? as f32),
                tensor: None,
                metadata: None,
            })
        };
        Self::summary(step as i64, scalars.iter().filter_map(value).collect())
    }

    fn summary(step: i64, value: Vec<Value>) -> Self {
        Self::at(step, What::Summary(Summary { value }))
    }

    fn at(step: i64, what: What) -> Self {
        let event = Event {
            wall_time: 0.0,
            step,
            what: Some(what),
        };
        Self {
            event,
            seconds: 0.0,
        }
    }

    /// The same event, so many seconds after the one before.
    #[must_use]
    pub fn after(self, seconds: f64) -> Self {
        Self { seconds, ..self }
    }
}

fn metadata(plugin: &str, content: Vec<u8>) -> Metadata {
    let plugin_data = PluginData {
        plugin_name: plugin.into(),
        content,
    };
    Metadata {
        plugin_data: Some(plugin_data),
    }
}

/// Makes a file hold exactly these events. Those that it holds already, from the first to the first that
/// differs in more than its time, stay as they are, and what is missing is appended: TensorBoard keeps the
/// file open while it is shown, and would not see another one of its name.
pub fn sync(path: &Path, events: &[Timed]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    let (kept, length) = common(&bytes, events);
    if length < bytes.len() {
        file.set_len(length as u64)?;
    }
    file.seek(SeekFrom::Start(length as u64))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs_f64();
    // At once, so that a process that is killed leaves whole records.
    file.write_all(&encode(&events[kept..], now))
}

/// How many of the events a file holds already, and the bytes that they take.
fn common(file: &[u8], events: &[Timed]) -> (usize, usize) {
    let mut rest = file;
    let mut kept = 0;
    while let Some((bytes, after)) = record::read(rest) {
        let found = Event::decode(bytes).map(|event| Event {
            wall_time: 0.0,
            ..event
        });
        if events.get(kept).map(|timed| &timed.event) != found.as_ref().ok() {
            break;
        }
        kept += 1;
        rest = after;
    }
    (kept, file.len() - rest.len())
}

/// Encodes events of which the last happens now.
pub fn encode(events: &[Timed], now: f64) -> Vec<u8> {
    let mut file = Vec::new();
    let mut later: f64 = events.iter().skip(1).map(|timed| timed.seconds).sum();
    for (at, timed) in events.iter().enumerate() {
        let event = Event {
            wall_time: now - later,
            ..timed.event.clone()
        };
        record::write(&mut file, &event.encode_to_vec());
        later -= events.get(at + 1).map_or(0.0, |next| next.seconds);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Timed> {
        let epoch = |number: usize| {
            let scalars = [("train/loss", Some(1.0 / number as f64)), ("none", None)];
            Timed::scalars(number, &scalars).after(10.0)
        };
        let recipe = Timed::text("recipe", "# r");
        [Timed::version(), recipe]
            .into_iter()
            .chain((1..=3).map(epoch))
            .collect()
    }

    fn read(mut file: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some((bytes, rest)) = record::read(file) {
            events.push(Event::decode(bytes).unwrap());
            file = rest;
        }
        assert!(file.is_empty(), "{} bytes are left", file.len());
        events
    }

    #[test]
    fn a_file_cut_or_damaged_anywhere_gets_every_event_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = events();
        sync(&path, &events).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let without_times = |file: &[u8]| -> Vec<Event> {
            let events = read(file).into_iter();
            events
                .map(|event| Event {
                    wall_time: 0.0,
                    ..event
                })
                .collect()
        };
        let expected: Vec<Event> = events.iter().map(|timed| timed.event.clone()).collect();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            for left in [&whole[..at], &damaged] {
                std::fs::write(&path, left).unwrap();
                sync(&path, &events).unwrap();
                let now = std::fs::read(&path).unwrap();
                assert_eq!(without_times(&now), expected, "at {at}");
            }
        }
    }

    #[test]
    fn what_is_there_keeps_its_bytes_and_what_is_too_much_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events = events();
        sync(&path, &events).unwrap();
        let whole = std::fs::read(&path).unwrap();
        sync(&path, &events).unwrap();
        assert!(std::fs::read(&path).unwrap() == whole);
        sync(&path, &events[..3]).unwrap();
        let shorter = std::fs::read(&path).unwrap();
        assert!(whole.starts_with(&shorter) && read(&shorter).len() == 3);
        let mut other = events;
        other[2] = Timed::scalars(1, &[("train/loss", Some(7.0))]);
        sync(&path, &other).unwrap();
        let now = read(&std::fs::read(&path).unwrap());
        assert_eq!((now.len(), &now[2].what), (5, &other[2].event.what));
    }

    #[test]
    fn events_that_were_missing_get_the_times_that_they_had() {
        let file = encode(&events(), 1000.0);
        let times: Vec<f64> = read(&file).iter().map(|event| event.wall_time).collect();
        assert_eq!(times, [970.0, 970.0, 980.0, 990.0, 1000.0]);
    }

    #[test]
    fn hyperparameters_have_types() {
        let settings = [
            ("a", "0.5"),
            ("b", "true"),
            ("c", "same"),
            ("d", "inf"),
            ("e", "[1, 2]"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let event = Timed::hparams(settings.into()).event;
        let Some(What::Summary(summary)) = event.what else {
            panic!("no summary");
        };
        let plugin = summary.value[0].metadata.clone().unwrap().plugin_data;
        let content = plugin.unwrap().content;
        let data = HparamsPluginData::decode(content.as_slice()).unwrap();
        let hparams = data.session_start_info.unwrap().hparams;
        let kinds = hparams.into_values().map(|setting| setting.kind.unwrap());
        let text = |text: &str| Kind::Text(text.into());
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [
                Kind::Number(0.5),
                Kind::Bool(true),
                text("same"),
                text("inf"),
                text("[1, 2]")
            ]
        );
    }
}
