//! The vocabulary of the records. Each word that needs escapes stands beside its JSON form, escapes chosen by hand.

/// A text and how the API writes it within JSON quotes.
pub struct Word {
    /// The text itself.
    pub text: &'static str,
    /// The same, escaped; not always in the shortest way, because real APIs do not either.
    pub json: &'static str,
}

const fn plain(text: &'static str) -> Word {
    Word { text, json: text }
}

const fn word(text: &'static str, json: &'static str) -> Word {
    Word { text, json }
}

pub const FIRST_NAMES: [Word; 16] = [
    plain("Anna"),
    plain("Žofia"),
    word("Jürgen", "J\\u00fcrgen"),
    plain("李雷"),
    plain("Bob"),
    word("Ana \"Nina\"", "Ana \\\"Nina\\\""),
    plain("O'Brien"),
    word("tab\there", "tab\\there"),
    plain("Søren"),
    word("back\\slash", "back\\\\slash"),
    plain("🦀 Ferris"),
    word("🎉 Zoë", "\\ud83c\\udf89 Zo\\u00eb"),
    plain("Chloé"),
    plain("=SUM(A1)"),
    word("a/b", "a\\/b"),
    plain("Дмитрий"),
];

pub const LAST_NAMES: [Word; 8] = [
    plain("Müller"),
    plain("Smith, Jr."),
    plain("García"),
    word("line\nbreak", "line\\nbreak"),
    plain("Nguyễn"),
    plain("Öztürk"),
    word("unit\u{1}one", "unit\\u0001one"),
    plain("van der Berg"),
];

pub const CITIES: [&str; 8] = ["Wien", "São Paulo", "東京", "Lyon", "Kraków", "Austin", "Malmö", "Nairobi"];
pub const COUNTRIES: [&str; 8] = ["AT", "BR", "JP", "FR", "PL", "US", "SE", "KE"];
pub const STATUSES: [&str; 4] = ["open", "paid", "shipped", "returned"];
pub const TAGS: [&str; 6] = ["new", "gift", "b2b", "größe-xl", "fragile", "re,turn"];

pub const NOTES: [Word; 8] = [
    plain("please leave the parcel with the neighbour on the left side, thank you"),
    plain("bitte nicht klingeln, das Baby schläft; Paket einfach vor die Tür stellen"),
    word(
        "first line of the note\nsecond line, with a comma and \"quotes\" in it",
        "first line of the note\\nsecond line, with a comma and \\\"quotes\\\" in it",
    ),
    plain("お急ぎください。配達時間は午前中を希望します。どうぞよろしくお願いします"),
    plain("the customer called twice about this order and wants an invoice by mail"),
    word(
        "path C:\\temp\\x and a tab\tbetween; euro sign € and a dash – that is all",
        "path C:\\\\temp\\\\x and a tab\\tbetween; euro sign \\u20ac and a dash \\u2013 that is all",
    ),
    plain("gift wrap in blue paper, no price on the delivery note, add the card 🎁"),
    plain("order was merged with an earlier one after a change of the shipping address"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_forms_mean_the_texts() {
        for word in FIRST_NAMES.iter().chain(&LAST_NAMES).chain(&NOTES) {
            let read: String = serde_json::from_str(&format!("\"{}\"", word.json)).unwrap();
            assert_eq!(read, word.text);
        }
    }
}
