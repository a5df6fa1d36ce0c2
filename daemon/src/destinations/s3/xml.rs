//! As much XML as the answers of S3 need: the text of an element, and elements that repeat. The bodies are bounded by who reads them.

/// The text of the first element of this name.
pub fn text(xml: &str, name: &str) -> Option<String> {
    each(xml, name).next().map(unescape)
}

/// What stands in each element of this name; elements of one name within another are not looked for.
pub fn each<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (inside, after) = next(rest, name)?;
        rest = after;
        Some(inside)
    })
}

/// What stands in the next element of this name, and what follows it.
fn next<'a>(xml: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = xml;
    loop {
        let (_, tail) = rest.split_once('<')?;
        rest = tail;
        let Some(tail) = tail.strip_prefix(name).filter(|tail| tail.starts_with(['>', ' ', '/'])) else { continue };
        let (attributes, tail) = tail.split_once('>')?;
        if attributes.ends_with('/') {
            return Some(("", tail));
        }
        let end = tail.find(&format!("</{name}>"))?;
        let (inside, tail) = tail.split_at(end);
        return Some((inside, tail));
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.trim();
    while let Some((before, tail)) = rest.split_once('&') {
        plain.push_str(before);
        let entity = tail.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        match entity {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = tail;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let code = name.strip_prefix('#')?;
            let code = match code.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => code.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Text as it may stand in an element.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_found_with_attributes_and_without() {
        let xml = "<?xml version=\"1.0\"?>\n<Error xmlns=\"u\"><Codes>x</Codes><Code>NoSuchKey</Code><Message a='b'> it&apos;s &#34;gone&#x22; </Message><Empty/></Error>";
        assert_eq!(text(xml, "Code").unwrap(), "NoSuchKey");
        assert_eq!(text(xml, "Message").unwrap(), "it's \"gone\"");
        assert_eq!(text(xml, "Empty").unwrap(), "");
        assert_eq!(text(xml, "Resource"), None);
        assert_eq!(text("<Code>cut", "Code"), None);
        let parts = "<L><Part><N>1</N></Part><PartNumberMarker>0</PartNumberMarker><Part><N>2</N></Part></L>";
        let numbers: Vec<_> = each(parts, "Part").map(|part| text(part, "N").unwrap()).collect();
        assert_eq!(numbers, ["1", "2"]);
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(value in "[ -~é]{0,40}") {
            let value = value.trim().to_owned();
            let xml = format!("<a><b>{}</b></a>", escape(&value));
            prop_assert_eq!(text(&xml, "b"), Some(value));
        }

        #[test]
        fn anything_is_survived(xml in "[<>/&;#xa-c ]{0,60}") {
            let _ = (text(&xml, "a"), each(&xml, "b").count());
        }
    }
}
