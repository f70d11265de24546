use proptest::prelude::*;

use super::*;

fn bind(
    portal: &str,
    statement: &str,
    formats: &[i16],
    values: &[Option<Vec<u8>>],
    results: &[i16],
) -> Vec<u8> {
    let mut body = Vec::new();
    backend::put_text(&mut body, portal);
    backend::put_text(&mut body, statement);
    let codes = |body: &mut Vec<u8>, codes: &[i16]| {
        body.extend((codes.len() as u16).to_be_bytes());
        codes.iter().for_each(|code| body.extend(code.to_be_bytes()));
    };
    codes(&mut body, formats);
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        match value {
            Some(value) => {
                body.extend((value.len() as i32).to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend((-1i32).to_be_bytes()),
        }
    }
    codes(&mut body, results);
    body
}

proptest! {
    #[test]
    fn no_body_makes_a_decoder_panic(tag in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::decode(tag, &body) {
            bind.arguments.for_each(drop);
            let _refused = bind.result_formats(3);
        }
    }

    #[test]
    fn no_damage_to_a_bind_makes_the_decoder_panic(
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..5),
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut body = bind("p", "s", &[1], &values, &[0, 1]);
        let at = at.index(body.len());
        body[at] = byte;
        body.truncate(cut.index(body.len()) + 1);
        if let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::decode(b'B', &body) {
            prop_assert!(bind.arguments.count() <= body.len());
        }
    }

    #[test]
    fn arguments_come_out_as_they_went_in(
        values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 0..9),
        formats in 0..3usize,
    ) {
        let formats = match formats {
            0 => vec![],
            1 => vec![1],
            _ => (0..values.len() as i16).map(|number| number % 2).collect(),
        };
        let body = bind("", "s", &formats, &values, &[]);
        let Ok(FrontendMessage::Bind(message)) = FrontendMessage::decode(b'B', &body) else {
            return Err(TestCaseError::fail("not decoded"));
        };
        let decoded: Vec<Option<Vec<u8>>> =
            message.arguments.map(|(_, value)| value.map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(decoded, values);
        for (number, (format, _)) in message.arguments.enumerate() {
            let code = if formats.len() > 1 { formats[number] } else { formats.first().copied().unwrap_or(0) };
            prop_assert_eq!(format as i16, code);
        }
    }

    #[test]
    fn the_header_alone_decides_about_a_frame(tag in any::<u8>(), length in any::<u32>()) {
        let mut header = vec![tag];
        header.extend(length.to_be_bytes());
        if let Ok(Some(frame)) = peek(&header) {
            prop_assert_eq!(frame.size, length as usize + 1);
            prop_assert!(frame.size <= 1 << 30);
            prop_assert!(frame.partial_body(&header).is_empty());
            prop_assert_eq!(frame.body(&header).is_some(), length == 4);
        }
    }
}

#[test]
fn a_gibibyte_is_the_limit_for_data_and_ten_thousand_bytes_for_the_rest() {
    let header = |tag: u8, length: u32| {
        let mut header = vec![tag];
        header.extend(length.to_be_bytes());
        header
    };
    assert!(peek(&header(b'Q', 0x3fff_fffe)).unwrap().is_some());
    assert_eq!(peek(&header(b'Q', 0x3fff_ffff)), Err(FrameError::Length { tag: b'Q', length: 0x3fff_ffff }));
    assert!(peek(&header(b'E', 10_000)).unwrap().is_some());
    assert!(peek(&header(b'E', 10_001)).is_err());
    assert!(peek(&header(b'S', 3)).is_err());
    assert_eq!(peek(b"z"), Err(FrameError::Type(b'z')));
    assert_eq!(peek(b"Q\0\0").unwrap(), None);
}

#[test]
fn result_formats_are_none_one_or_one_for_each_column() {
    let formats = |codes: &[i16], columns| {
        let body = bind("", "", &[], &[], codes);
        match FrontendMessage::decode(b'B', &body) {
            Ok(FrontendMessage::Bind(bind)) => bind.result_formats(columns).map_err(|_| ()),
            _ => Err(()),
        }
    };
    assert_eq!(formats(&[], 3), Ok(ResultFormats::TEXT));
    assert_eq!(formats(&[1], 3), Ok(ResultFormats::All(Format::Binary)));
    assert_eq!(formats(&[1, 1], 2), Ok(ResultFormats::All(Format::Binary)));
    assert_eq!(formats(&[0, 1], 2), Ok(ResultFormats::Each([Format::Text, Format::Binary].into())));
    assert_eq!(formats(&[0, 1], 3), Err(()));
    assert_eq!(formats(&[2], 1), Err(()));
}

#[test]
fn a_text_with_a_zero_inside_does_not_break_the_frame() {
    let mut out = Vec::new();
    backend::parameter_status(&mut out, "a\0b", "c");
    assert_eq!(out, b"S\0\0\0\x08a\0c\0");
}
