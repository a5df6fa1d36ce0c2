//! How a line of the log looks on stderr: time, level, words and fields; before it the priority, where systemd may read it.

use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The form of a line.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// Whether each line begins with `<N>` (sd-daemon(3)), for what collects the standard error of services.
    pub priority: bool,
    /// Whether it tells the time; who collects lines mostly knows it.
    pub time: bool,
}

/// The priority of a level (syslog(3)); the journal gets the same.
pub fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let mut said = Said::default();
        event.record(&mut said);
        let mut line = String::new();
        if self.time {
            SystemTime.format_time(&mut Writer::new(&mut line))?;
            line.push(' ');
        }
        if !self.priority {
            line.push_str(&painted(level, out.has_ansi_escapes()));
            line.push(' ');
        }
        line.push_str(&said.message);
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(line, " {fields}")?;
            }
        }
        line.push_str(&said.fields);
        for part in line.lines() {
            if self.priority {
                write!(out, "<{}>", priority(level))?;
            }
            writeln!(out, "{part}")?;
        }
        Ok(())
    }
}

/// The level in five characters, in its colour (ECMA-48 SGR) where that is wanted.
fn painted(level: Level, colour: bool) -> String {
    let code = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    if colour { format!("\x1b[{code}m{level:>5}\x1b[0m") } else { format!("{level:>5}") }
}

/// What an event says: its words, and its fields without the id that only the journal has a use for.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "MESSAGE_ID" => {}
            name => {
                let _ = write!(self.fields, " {name}={value}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(form: Lines) -> String {
        let sink = Sink::default();
        let layer = tracing_subscriber::fmt::layer().event_format(form).with_writer(sink.clone()).with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(MESSAGE_ID = "abc", EXPORT_TASK = %"t-1", EXPORT_STREAM = None::<&str>, "first\nsecond");
            tracing::info!("plain");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_line_has_its_priority_and_no_id() {
        assert_eq!(written(Lines { priority: true, time: false }), "<4>first\n<4>second EXPORT_TASK=t-1\n<6>plain\n");
    }

    #[test]
    fn for_people_there_are_time_and_level() {
        let text = written(Lines { priority: false, time: true });
        assert!(text.starts_with("20") && text.contains("Z  WARN first\nsecond EXPORT_TASK=t-1\n"), "{text}");
        assert!(text.contains("  INFO plain\n") && !text.contains("abc"), "{text}");
    }
}
