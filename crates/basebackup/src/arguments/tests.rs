use clap::CommandFactory;

use super::*;

fn options(arguments: &str) -> Result<Options, String> {
    let arguments = std::iter::once("basebackup").chain(arguments.split_whitespace());
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
    arguments.options().map_err(|error| error.to_string())
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn options_read_as_pg_basebackups() {
    let plain = options("-D /x -Fp -Xs -R -S one -C -cfast -P -v -l label").unwrap();
    assert_eq!(plain.slot, Slot::Named { name: "one".to_owned(), create: true });
    assert!(plain.recovery_configuration && plain.fast_checkpoint && plain.progress && plain.verbose);
    assert_eq!((plain.format, plain.wal, plain.label.as_str()), (Format::Plain, WalMethod::Stream, "label"));
    let tar = options("-D - -Ft -X fetch -z --no-manifest -r 1.5M -T /a\\=b/=/c").unwrap();
    assert_eq!((tar.destination, tar.max_rate, tar.manifest), (Destination::Stdout, Some(1536), None));
    assert_eq!(tar.tablespace_mapping, [(PathBuf::from("/a=b"), PathBuf::from("/c"))]);
    let twice = options("-D /x -D /y -P -P -T /a=/b -T /c=/d -l one -l two").unwrap();
    assert_eq!(twice.destination, Destination::Directory(PathBuf::from("/y")));
    assert_eq!((twice.label.as_str(), twice.tablespace_mapping.len()), ("two", 2));
    let target = options("-t server:/backups -Xnone -Z zstd:3").unwrap();
    let server = Destination::Target { name: "server".to_owned(), detail: Some("/backups".to_owned()) };
    assert_eq!(target.destination, server);
    let none = options("-D /x --manifest-checksums=none").unwrap();
    assert_eq!(none.manifest, Some(ManifestRequest { checksums: None, force_encode: false }));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, why) in [
        ("", "must specify output directory or backup target"),
        ("-D /x -t blackhole", "cannot specify both output directory and backup target"),
        ("-t blackhole -Ft", "cannot specify both format and backup target"),
        ("-t blackhole", "WAL cannot be streamed when a backup target is specified"),
        ("-t blackhole -Xn -R", "recovery configuration cannot be written"),
        ("-D -", "cannot write a plain format backup to stdout"),
        ("-D - -Ft", "cannot stream write-ahead logs in tar mode to stdout"),
        ("-D /x -Xn -S one", "replication slots can only be used with WAL streaming"),
        ("-D /x -C", "--create-slot needs a slot"),
        ("-D /x -S one --no-slot", "--no-slot cannot be used with slot name"),
        ("-D /x -C --no-slot", "--create-slot and --no-slot are incompatible options"),
        ("-D /x -Z gzip", "only tar mode backups can be compressed"),
        ("-D /x -z", "only tar mode backups can be compressed"),
        ("-D /x -Ft -Z gzip:11", "invalid compression specification"),
        ("-D /x -Ft -Z rar", "unrecognized compression algorithm"),
        ("-D /x -Ft --waldir=/y", "can only be specified in plain mode"),
        ("-D /x --waldir=y", "must be an absolute path"),
        ("-D /x -P --no-estimate-size", "incompatible options"),
        ("-D /x --no-manifest --manifest-force-encode", "incompatible options"),
        ("-D /x --no-manifest --manifest-checksums=SHA256", "incompatible options"),
        ("-D /x --manifest-checksums=MD5", "unrecognized checksum algorithm"),
        ("-D /x -r 31", "out of range"),
        ("-D /x -r 2000M", "out of range"),
        ("-D /x -r 1x", "invalid transfer rate"),
        ("-D /x -T /a", "invalid tablespace mapping format"),
        ("-D /x -T a=/b", "old directory is not an absolute path"),
        ("-D /x -T /a=b", "new directory is not an absolute path"),
        ("-D /x -T /a=/b=/c", "multiple \"=\" signs"),
        ("-D /x -w -W", "cannot be used with"),
    ] {
        let error = options(arguments).expect_err(arguments);
        assert!(error.contains(why), "{arguments}: {error}");
    }
    assert!(options("-D /x -Z server-zstd:7").is_ok());
}
