use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;

fn settings(text: &str) -> Result<Settings, String> {
    let parsed = Specification::parse(text).map_err(|error| error.to_string())?;
    parsed.ok_or("none")?.settings().map_err(|error| error.to_string())
}

#[test]
fn specifications_read_as_pg_basebackup_reads_them() {
    let of = |method, level| Ok(Settings { method, level, workers: 0, long: false });
    assert_eq!(settings("gzip"), of(Method::Gzip, None));
    assert_eq!(settings("5"), of(Method::Gzip, Some(5)));
    assert_eq!(settings("client-lz4:1"), of(Method::Lz4, Some(1)));
    assert_eq!(settings("zstd:-5"), of(Method::Zstd, Some(-5)));
    let all = settings("server-zstd:level=3,workers=4,long").unwrap();
    assert_eq!(all, Settings { method: Method::Zstd, level: Some(3), workers: 4, long: true });
    assert_eq!(Specification::parse("none"), Ok(None));
    assert_eq!(Specification::parse("0"), Ok(None));
    let server = Specification::parse("server-gzip:9").unwrap().unwrap();
    assert_eq!((server.location, server.detail.as_deref()), (Some(Location::Server), Some("9")));
}

#[test]
fn nonsense_is_refused_in_postgresqls_words() {
    for (text, why) in [
        ("brotli", "unrecognized compression algorithm: \"brotli\""),
        ("gzip:10", "expects a compression level between 1 and 9"),
        ("lz4:13", "between 0 and 12"),
        ("zstd:23", "and 22"),
        ("gzip:workers=2", "does not accept a worker count"),
        ("lz4:long", "does not support long-distance mode"),
        ("zstd:level", "requires a value"),
        ("zstd:level=x", "must be an integer"),
        ("zstd:long=maybe", "must be a Boolean value"),
        ("zstd:level=1,", "found empty string"),
        ("zstd:window=3", "unrecognized compression option: \"window\""),
        ("zstd:workers=-1", "invalid worker count"),
        ("none:1", "does not accept a compression level"),
        ("", "unrecognized compression algorithm"),
    ] {
        let error = settings(text).expect_err(text);
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn suffixes_name_the_method() {
    assert_eq!(Method::split_suffix("base.tar.zst"), ("base.tar", Some(Method::Zstd)));
    assert_eq!(Method::split_suffix("base.tar"), ("base.tar", None));
}

fn compress(settings: Option<Settings>, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(settings, Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn decompress(method: Method, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Decoder::new(method, bytes)?.read_to_end(&mut out)?;
    Ok(out)
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(
        pattern in proptest::collection::vec(any::<u8>(), 1..300),
        repeat in 1usize..2000,
        text in proptest::sample::select(vec!["gzip", "gzip:1", "lz4", "zstd", "zstd:1", "zstd:level=1,workers=2", "zstd:long"]),
    ) {
        let bytes = pattern.repeat(repeat);
        let settings = settings(text).unwrap();
        let mut packed = compress(Some(settings), &bytes);
        prop_assert_eq!(&decompress(settings.method, &packed).unwrap(), &bytes);
        // Two after one another read as one.
        packed.extend(compress(Some(settings), b"more"));
        let both = [&bytes[..], b"more"].concat();
        prop_assert_eq!(decompress(settings.method, &packed).unwrap(), both);
    }

    #[test]
    fn garbage_is_an_error_or_nothing(bytes in any::<Vec<u8>>()) {
        for method in Method::ALL {
            let _ = decompress(method, &bytes);
        }
    }
}
