//! Text as roff, with the macros of man(7).

/// The longest line of a source, roughly; what is longer is broken between words.
const WIDTH: usize = 110;

/// Text in one line: `code` becomes bold, and nothing in it is taken for a request.
pub fn inline(text: &str) -> String {
    let mut roff = String::new();
    for (index, part) in text.split('`').enumerate() {
        let code = index % 2 == 1;
        let escaped = escape(part, code);
        roff.push_str(&if code { format!("\\fB{escaped}\\fR") } else { escaped });
    }
    guarded(&roff.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A paragraph's text, as [`inline`], in lines of a source.
pub fn text(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in inline(text).split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(guarded(word)),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A tagged paragraph: the tag, as [`inline`], and what it means.
pub fn entry(tag: &str, meaning: &str) -> String {
    format!(".TP\n{}\n{}", inline(tag), text(meaning))
}

/// Lines as they stand, indented.
pub fn literal<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines = lines.into_iter().map(|line| guarded(&escape(line.trim_end(), true)) + "\n");
    format!(".RS 4\n.EX\n{}.EE\n.RE\n", lines.collect::<String>())
}

/// Paragraphs apart by empty lines; the first one goes on where the page stands.
pub fn paragraphs(prose: &str) -> String {
    let all: Vec<String> = prose.split("\n\n").filter(|part| !part.trim().is_empty()).map(text).collect();
    all.join(".PP\n")
}

/// Characters that mean something to roff; in code a hyphen stays one that a shell takes.
fn escape(text: &str, code: bool) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\e"),
            '-' if code => escaped.push_str("\\-"),
            '\'' if code => escaped.push_str("\\(aq"),
            '^' if code => escaped.push_str("\\(ha"),
            '~' if code => escaped.push_str("\\(ti"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A line that begins like a request does not become one.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_bold_and_nothing_is_a_request() {
        assert_eq!(text("take `--dry-run`, or\n.not"), "take \\fB\\-\\-dry\\-run\\fR, or .not\n");
        assert_eq!(text(".TH is text"), "\\&.TH is text\n");
        assert_eq!(text("a\\b 'c' `'d'`"), "a\\eb 'c' \\fB\\(aqd\\(aq\\fR\n");
        assert!(text(&"word ".repeat(100)).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(literal(["a  -b ", ".x"]), ".RS 4\n.EX\na  \\-b\n\\&.x\n.EE\n.RE\n");
        assert_eq!(paragraphs("a\nb\n\nc\n"), "a b\n.PP\nc\n");
    }
}
