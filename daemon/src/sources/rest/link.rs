//! Reads `Link` headers (RFC 8288). A header that cannot be read is an error: taking it for the last page would lose records.

/// A link header that does not follow RFC 8288, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Link header cannot be read at byte {0}")]
pub struct BadLink(pub usize);

/// The target of the first link with relation `rel`, as it stands there; `None` where no link has it. Links with an
/// `anchor` speak of another page and do not count.
pub fn find<'a>(headers: impl IntoIterator<Item = &'a str>, rel: &str) -> Result<Option<&'a str>, BadLink> {
    let mut found = None;
    for header in headers {
        let mut reader = Reader { text: header, at: 0 };
        while let Some(link) = reader.link()? {
            let leads = link.rel.is_some_and(|rels| rels.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case(rel)));
            if leads && !link.anchored && found.is_none() {
                found = Some(link.target);
            }
        }
    }
    Ok(found)
}

struct Link<'a> {
    target: &'a str,
    rel: Option<&'a str>,
    anchored: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, characters: &[char]) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(characters).len();
    }

    fn eat(&mut self, character: char) -> bool {
        let there = self.rest().starts_with(character);
        if there {
            self.at += character.len_utf8();
        }
        there
    }

    /// What lies before the first character that `stop` matches, or all the rest.
    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.get(..rest.find(stop).unwrap_or(rest.len())).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    /// The next link of the list; empty elements are skipped.
    fn link(&mut self) -> Result<Option<Link<'a>>, BadLink> {
        self.skip(&[' ', '\t', ',']);
        if self.rest().is_empty() {
            return Ok(None);
        }
        if !self.eat('<') {
            return Err(BadLink(self.at));
        }
        let target = self.take_until(|c| c == '>');
        if !self.eat('>') {
            return Err(BadLink(self.at));
        }
        let mut link = Link { target, rel: None, anchored: false };
        loop {
            self.skip(&[' ', '\t']);
            if self.rest().is_empty() || self.eat(',') {
                return Ok(Some(link));
            }
            if !self.eat(';') {
                return Err(BadLink(self.at));
            }
            self.skip(&[' ', '\t']);
            let Some((name, value)) = self.parameter()? else { continue };
            if name.eq_ignore_ascii_case("rel") {
                // Only the first one counts (section 3.3).
                link.rel.get_or_insert(value);
            } else if name.eq_ignore_ascii_case("anchor") {
                link.anchored = true;
            }
        }
    }

    /// `name`, `name=token` or `name="quoted"`; `None` for an empty one (`;;`).
    fn parameter(&mut self) -> Result<Option<(&'a str, &'a str)>, BadLink> {
        let name = self.take_until(|c| " \t=;,<>\"".contains(c));
        self.skip(&[' ', '\t']);
        if !self.eat('=') {
            let ends = self.rest().is_empty() || self.rest().starts_with([';', ',']);
            return if ends { Ok((!name.is_empty()).then_some((name, ""))) } else { Err(BadLink(self.at)) };
        }
        if name.is_empty() {
            return Err(BadLink(self.at));
        }
        self.skip(&[' ', '\t']);
        let value = if self.eat('"') { self.quoted()? } else { self.take_until(|c| " \t;,\"".contains(c)) };
        Ok(Some((name, value)))
    }

    /// Up to the closing quote. Escapes stay as they are: relations do not need any.
    fn quoted(&mut self) -> Result<&'a str, BadLink> {
        let start = self.at;
        loop {
            self.take_until(|c| c == '"' || c == '\\');
            let end = self.at;
            if self.eat('"') {
                return Ok(self.text.get(start..end).unwrap_or_default());
            }
            if !self.eat('\\') {
                return Err(BadLink(self.at));
            }
            self.at += self.rest().chars().next().map_or(0, char::len_utf8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_link() {
        for (header, target) in [
            ("<https://a/?p=2>; rel=\"next\"", Some("https://a/?p=2")),
            ("<https://a/?p=1>; rel=\"prev\", <https://a/?p=3>; rel=\"next\"", Some("https://a/?p=3")),
            ("</x?a=1,2;b>;rel=next", Some("/x?a=1,2;b")),
            ("<x> ; title=\"a, \\\"b\\\"; <y>; rel=next\" ; rel = \"last NEXT\"", Some("x")),
            ("<x>; rel=last; rel=next", None),
            ("<x>; rel=nextish, <y>; rel=\"prev last\"", None),
            ("<x>; anchor=\"#a\"; rel=next, <y>; rel=next", Some("y")),
            (", ,<x>;; rel=next; flag ,", Some("x")),
            ("<>; rel=next", Some("")),
            ("", None),
        ] {
            assert_eq!(find([header], "next"), Ok(target), "{header}");
        }
        assert_eq!(find(["<a>; rel=prev", "<b>; rel=next"], "next"), Ok(Some("b")));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for bad in
            ["https://a; rel=next", "<x; rel=next", "<x> rel=next", "<x>; rel=\"next", "<x>; =next", "<x>; rel=\"a\"b"]
        {
            assert!(find([bad], "next").is_err(), "{bad}");
        }
    }

    fn quoted(text: &str) -> String {
        text.replace('\\', "\\\\").replace('"', "\\\"")
    }

    proptest! {
        #[test]
        fn any_header_is_survived(header in "[<>;,=\"\\\\ a-z/?ü]{0,60}") {
            let _ = find([header.as_str()], "next");
        }

        #[test]
        fn what_is_written_is_found(
            before in prop::collection::vec(("[a-z/?&=,;.]{0,12}", "[ -~]{0,12}"), 0..4),
            target in "[a-z/?&=,;.:\"]{1,30}",
            title in "[ -~]{0,20}",
            rels in prop::collection::vec("[a-m]{1,6}", 0..3),
        ) {
            let mut links: Vec<String> =
                before.iter().map(|(t, title)| format!("<{t}>; title=\"{}\"; rel=\"prev\"", quoted(title))).collect();
            let rels = rels.into_iter().chain(["next".to_owned()]).collect::<Vec<_>>().join(" ");
            links.push(format!("<{target}>;title=\"{}\";rel=\"{rels}\"", quoted(&title)));
            let header = links.join(", ");
            prop_assert_eq!(find([header.as_str()], "next"), Ok(Some(target.as_str())));
        }
    }
}
