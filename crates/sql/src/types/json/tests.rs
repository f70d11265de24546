use super::normalize;

#[test]
fn text_becomes_what_jsonb_prints() {
    let input =
        r#"{"b":1, "aa":[1,2,{}], "a":1.0, "b": 2e2, "c": 1e-3, "d":-0, "é":"\u00e9\n\/\u0001", "x":[]}"#;
    let expected =
        r#"{"a": 1.0, "b": 200, "c": 0.001, "d": 0, "x": [], "aa": [1, 2, {}], "é": "é\n/\u0001"}"#;
    assert_eq!(normalize(input).unwrap(), expected);
    assert_eq!(normalize(" null ").unwrap(), "null");
    assert_eq!(normalize("-12.50E+1").unwrap(), "-125.0");
    assert_eq!(normalize(r#""\ud83d\ude00""#).unwrap(), "\"😀\"");
    assert_eq!(normalize(expected).unwrap(), expected);
}

#[test]
fn other_text_is_refused() {
    for text in [
        "",
        "{",
        "{\"a\":}",
        "[1,]",
        "01",
        "1.",
        "nul",
        "'a'",
        "\"\\x\"",
        "\"",
        "1 2",
        "\"\\ud800\"",
        "truex",
        "\"\u{1}\"",
    ] {
        assert_eq!(normalize(text).unwrap_err().sqlstate(), "22P02", "{text}");
    }
    assert_eq!(normalize(r#""\u0000""#).unwrap_err().sqlstate(), "22P05");
    assert_eq!(normalize(&"[".repeat(100_000)).unwrap_err().sqlstate(), "54001");
    for number in ["1e99999999999999999999", "1e131072", "1e-16384", "0.1e-16383"] {
        assert_eq!(normalize(number).unwrap_err().sqlstate(), "22003", "{number}");
    }
}

#[test]
fn numbers_are_written_out_as_far_as_numeric_goes() {
    for (number, length) in [("1e131071", 131_072), ("1e-16383", 16_385), ("-0.0e999999", 1), ("0e-3", 5)] {
        let written = normalize(number).unwrap();
        assert_eq!(written.len(), length, "{number}");
        assert_eq!(normalize(&written).unwrap(), written);
    }
}

#[test]
fn what_short_numbers_make_together_is_bounded() {
    let member = "\"a\":1e130000,";
    let many = format!("{{{}\"a\":1}}", member.repeat(1000));
    assert_eq!(normalize(&many).unwrap_err().sqlstate(), "54000");
    assert_eq!(normalize(&format!("[{many}]")).unwrap_err().sqlstate(), "54000");
}
