//! How many of something there are, in words.

/// The noun for `number` of what one is called: `plural(1, "file")` is `file`, of any other number `files`.
pub fn plural<N: PartialEq + From<u8>>(number: N, one: &str) -> String {
    if number == N::from(1) { one.to_owned() } else { format!("{one}s") }
}

#[cfg(test)]
mod tests {
    use super::plural;

    #[test]
    fn only_one_is_one() {
        assert_eq!([0_u64, 1, 2].map(|n| plural(n, "file")), ["files", "file", "files"]);
        assert_eq!([-1_i64, 1].map(|n| plural(n, "day")), ["days", "day"]);
    }
}
