//! Scalars: which texts are which type, and that none changes on its way.

use super::*;
use proptest::prelude::*;

#[test]
fn integers() {
    for value in [0, 1, -1, 42, i64::MAX, i64::MIN, -9_999_999_999] {
        assert_eq!(integer(value.to_string().as_bytes()), Some(value));
    }
    for bad in ["-0", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1.0", "1e3", "", "-"] {
        assert_eq!(integer(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn floats_that_come_back() {
    for (text, value) in [
        ("0", 0.0),
        ("1.50", 1.5),
        ("-12.345", -12.345),
        ("0.1", 0.1),
        ("1e22", 1e22),
        ("1E-7", 1e-7),
        ("100000000000000000000", 1e20),
        ("9007199254740992", 9007199254740992.0),
        ("1.7976931348623157e308", f64::MAX),
        ("5e-324", 5e-324),
        ("0e99999999999999999999", 0.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("2.5000000000000000000000000000000000000", 2.5),
        ("0.000000000000000000000000000000001", 1e-33),
    ] {
        assert_eq!(float(text.as_bytes()), Some(value), "{text}");
    }
    assert!(float(b"-0").unwrap().is_sign_negative() && float(b"-0.0").unwrap().is_sign_negative());
    for bad in
        ["1e400", "-1e400", "9007199254740993", "0.1234567890123456789", "1e-400", "1.23e-323", "0.300000000000000041"]
    {
        assert_eq!(float(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn decimals() {
    assert_eq!(decimal(b"12.50", 12, 2), Some(1250));
    assert_eq!(decimal(b"-12.5", 12, 2), Some(-1250));
    assert_eq!(decimal(b"12.5000", 12, 2), Some(1250));
    assert_eq!(decimal(b"1.25e1", 12, 2), Some(1250));
    assert_eq!(decimal(b"1250e-2", 12, 2), Some(1250));
    assert_eq!(decimal(b"12000e-3", 3, 1), Some(120));
    assert_eq!(decimal(b"0.00", 3, 1), Some(0));
    assert_eq!(decimal(b"99999999999999999999999999999999999999", 38, 0), Some(10i128.pow(38) - 1));
    for bad in ["12.505", "100000.00", "1e5", "1e999999999999999999999", "1e-3", "-0", "0.001"] {
        assert_eq!(decimal(bad.as_bytes(), 7, 2), None, "{bad}");
    }
    assert_eq!(decimal(b"100000000000000000000000000000000000000", 38, 0), None);
}

#[test]
fn days_and_instants() {
    assert_eq!(date(b"1970-01-01"), Some(0));
    assert_eq!(date(b"2000-02-29"), Some(11_016));
    for bad in [
        "2001-02-29",
        "1900-02-29",
        "2001-00-01",
        "2001-13-01",
        "2001-01-00",
        "2001-1-01",
        "2001/01/01",
        "20010101",
        "+001-01-01",
    ] {
        assert_eq!(date(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(timestamp(b"1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(timestamp(b"1970-01-01T01:00:00.5+01:00"), Some(500_000));
    assert_eq!(timestamp(b"1969-12-31 23:59:59.999999z"), Some(-1));
    for bad in [
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00.1234567Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T23:59:60Z",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00Zx",
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1970-01-01",
        "",
    ] {
        assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
    }
    assert!(timestamp(b"0000-01-01T00:00:00Z").is_some() && timestamp(b"9999-12-31T23:59:59.999999Z").is_some());
    assert_eq!(time(b"23:59:59.000001"), Some(86_399_000_001));
    assert_eq!((time(b"23:59"), time(b"1:02:03"), time(b"12:00:00Z")), (None, None, None));
}

proptest! {
    #[test]
    fn every_float_comes_back(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        for text in [format!("{value}"), format!("{value:e}"), format!("{value:?}")] {
            prop_assert_eq!(float(text.as_bytes()).map(f64::to_bits), Some(bits), "{}", text);
        }
    }

    #[test]
    fn a_float_is_the_number_that_was_written(text in "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?") {
        if let Some(value) = float(text.as_bytes()) {
            prop_assert_eq!(value, text.parse::<f64>().unwrap());
            prop_assert_eq!(Significant::of(format!("{value:e}").as_bytes()), Significant::of(text.as_bytes()));
        } else {
            let value: f64 = text.parse().unwrap();
            let written = Significant::of(text.as_bytes());
            let shortest = Significant::of(format!("{value:e}").as_bytes());
            prop_assert!(written.is_none() || !value.is_finite() || shortest != written);
        }
    }

    #[test]
    fn instants_agree_with_jiff(micros in -62_000_000_000_000_000i64..250_000_000_000_000_000, digits in 0u8..=6) {
        let unit = 10i64.pow(6 - u32::from(digits));
        let instant = jiff::Timestamp::from_microsecond(micros / unit * unit).unwrap();
        let text = format!("{instant:.*}", usize::from(digits));
        prop_assert_eq!(timestamp(text.as_bytes()), Some(instant.as_microsecond()), "{}", text);
        let day = &text[..10];
        prop_assert_eq!(date(day.as_bytes()).map(i64::from), Some(instant.as_second().div_euclid(86_400)), "{}", day);
    }

    #[test]
    fn decimals_are_exact(units in -10i128.pow(20)..10i128.pow(20), scale in 0i8..6) {
        prop_assume!(units != 0);
        let ten = 10i128.pow(scale as u32);
        let sign = if units < 0 { "-" } else { "" };
        let fraction = format!("{:0width$}", units.abs() % ten, width = scale as usize);
        let text = format!("{sign}{}{}{}", units.abs() / ten, if scale == 0 { "" } else { "." }, if scale == 0 { "" } else { &fraction });
        prop_assert_eq!(decimal(text.as_bytes(), 38, scale), Some(units), "{}", text);
    }

    #[test]
    fn no_text_panics(text in ".{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        for text in [text.as_bytes(), &bytes] {
            let _ = (integer(text), float(text), decimal(text, 10, 2), date(text), time(text), timestamp(text));
        }
    }
}
