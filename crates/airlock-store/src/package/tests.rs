//! Sources, good and hostile.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use airlock_core::{Error, LimitKind, Limits, Overrides};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::Package;

/// The smallest module.
const WASM: &[u8] = b"\0asm\x01\0\0\0";
const MANIFEST: &str = r#"{"name":"a","version":"1.0.0","entryPoint":"a.wasm"}"#;

fn read(path: &Path) -> Package {
    Package::read(path, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> Error {
    Package::read(path, &Limits::default()).expect_err("it cannot be installed")
}

/// The end of the error, after the path.
fn reason(path: &Path) -> String {
    let error = refused(path).to_string();
    error.split_once("cannot be installed: ").map_or(error.clone(), |(_, reason)| reason.to_owned())
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, bytes) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
    folder
}

/// An entry of an archive: what, where, and its bytes or the link's target.
type Entry<'a> = (tar::EntryType, &'a str, &'a [u8]);

fn tar_gz(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, path, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        // Put there as it is: the library would refuse what an attacker would not.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        let is_file = kind.is_file();
        if kind.is_symlink() || kind.is_hard_link() {
            header.as_old_mut().linkname[..bytes.len()].copy_from_slice(bytes);
        }
        header.set_size(if is_file { bytes.len() as u64 } else { 0 });
        header.set_cksum();
        builder.append(&header, if is_file { *bytes } else { &[] }).expect("appended");
    }
    builder.into_inner().expect("ended").finish().expect("compressed")
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, bytes) in entries {
        writer.start_file(*path, zip::write::SimpleFileOptions::default()).expect("begun");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("ended").into_inner()
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = folder(&[("package", bytes)]);
    let path = folder.path().join("package");
    (folder, path)
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn every_kind_of_source_gives_the_same_plugin() {
    let plain = folder(&[("manifest.json", MANIFEST.as_bytes()), ("a.wasm", WASM)]);
    let nested = tar_gz(&[
        (tar::EntryType::Directory, "a-1.0.0/", b""),
        (FILE, "a-1.0.0/manifest.json", MANIFEST.as_bytes()),
        (FILE, "a-1.0.0/a.wasm", WASM),
    ]);
    let flat = zip(&[("manifest.json", MANIFEST.as_bytes()), ("./a.wasm", WASM)]);
    let (_gz_home, gz) = file(&nested);
    let (_zip_home, zip) = file(&flat);
    for path in [plain.path(), &gz, &zip] {
        let package = read(path);
        assert_eq!((package.name(), package.entry()), ("a", "a.wasm"));
        assert_eq!(package.manifest().and_then(|manifest| manifest.version.as_deref()), Some("1.0.0"));
        assert_eq!(package.files().collect::<Vec<_>>(), [("a.wasm", WASM)]);
        assert_eq!(package.source(), path.canonicalize().expect("there").to_string_lossy());
    }
}

#[test]
fn a_wasm_file_needs_no_manifest_alone_or_in_an_archive() {
    let plain = folder(&[("tool.wasm", WASM)]);
    assert_eq!(read(&plain.path().join("tool.wasm")).name(), "tool");
    let (_home, path) = file(&tar_gz(&[(FILE, "bin/tool.wasm", WASM), (FILE, "README.md", b"read me")]));
    assert_eq!(
        (read(&path).name().to_owned(), read(&path).entry().to_owned()),
        ("tool".into(), "tool.wasm".into())
    );
    let (_home, path) = file(&zip(&[("a.wasm", WASM), ("b.wasm", WASM)]));
    assert_eq!(reason(&path), "it has no manifest, and not just one wasm file");
}

#[test]
fn an_archive_cannot_write_or_lead_anywhere() {
    let cases: [(&[Entry<'_>], &str); 10] = [
        (&[(FILE, "./", WASM)], "there is a file without a name in it"),
        (&[(FILE, "../a.wasm", WASM)], "its `../a.wasm` leads out of it"),
        (&[(FILE, "/etc/a.wasm", WASM)], "its `/etc/a.wasm` leads out of it"),
        (&[(FILE, "x/../../a.wasm", WASM)], "its `x/../../a.wasm` leads out of it"),
        (&[(FILE, "a\\..\\b.wasm", WASM)], "its `a\\..\\b.wasm` leads out of it"),
        (&[(tar::EntryType::Symlink, "l", b"/etc/passwd")], "its link `l` leads out of it, to `/etc/passwd`"),
        (&[(tar::EntryType::Symlink, "d/l", b"../../x")], "its link `d/l` leads out of it, to `../../x`"),
        (&[(tar::EntryType::Link, "d/l", b"../x")], "its link `d/l` leads out of it, to `../x`"),
        (&[(tar::EntryType::Fifo, "pipe", b"")], "its `pipe` is no file, folder or link"),
        (&[(FILE, "a.wasm", WASM), (FILE, "./a.wasm", b"other")], "there are two files `a.wasm` in it"),
    ];
    for (entries, expected) in cases {
        let (_home, path) = file(&tar_gz(entries));
        assert_eq!(reason(&path), expected);
    }
    let (_home, path) = file(&zip(&[("../a.wasm", WASM)]));
    assert_eq!(reason(&path), "its `../a.wasm` leads out of it");
}

/// An archive as PRX packs one: a folder, and the digests of what is in it.
fn prxplugin(wasm: &[u8], sums: &str) -> Vec<u8> {
    tar_gz(&[
        (FILE, "a-1.0.0/a.wasm", wasm),
        (FILE, "a-1.0.0/README.md", b"{}"),
        (FILE, "a-1.0.0/manifest.json", MANIFEST.as_bytes()),
        (FILE, "a-1.0.0/checksums.sha256", sums.as_bytes()),
    ])
}

#[test]
fn an_archive_with_digests_holds_what_they_are_of() {
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", airlock_core::Digest::of(bytes));
    let sums = [line("a.wasm", WASM), line("README.md", b"{}"), line("manifest.json", MANIFEST.as_bytes())];
    let (_folder, path) = file(&prxplugin(WASM, &sums.concat()));
    assert_eq!(read(&path).name(), "a");
    let other = [WASM, b"\0\x01\0"].concat();
    for (wasm, sums, expected) in [
        (other.as_slice(), sums.concat(), "`a.wasm` is not what `checksums.sha256` says that it is"),
        (WASM, sums[..2].concat(), "`checksums.sha256` has no digest of `manifest.json`"),
        (
            WASM,
            sums.concat() + &line("b.wasm", b""),
            "`b.wasm` is missing, of which `checksums.sha256` has a digest",
        ),
        (WASM, "none".to_owned(), "a line of `checksums.sha256` begins with no digest"),
    ] {
        let (_folder, path) = file(&prxplugin(wasm, &sums));
        assert_eq!(reason(&path), expected);
    }
}

#[test]
fn a_link_within_an_archive_is_left_where_it_is() {
    let entries = [
        (FILE, "manifest.json", MANIFEST.as_bytes()),
        (FILE, "a.wasm", WASM),
        (tar::EntryType::Symlink, "docs/latest", b"../a.wasm"),
    ];
    let (_home, path) = file(&tar_gz(&entries));
    assert_eq!(read(&path).files().count(), 1);
}

#[test]
fn an_archive_bomb_is_given_up() {
    let many: Vec<String> = (0..10_001).map(|index| format!("f{index}")).collect();
    let entries: Vec<Entry<'_>> = many.iter().map(|path| (FILE, path.as_str(), [].as_slice())).collect();
    let (_home, path) = file(&tar_gz(&entries));
    assert_eq!(reason(&path), "there are more than 10000 files in it");

    let large = vec![0; (256 << 20) + 1];
    let (_home, path) = file(&tar_gz(&[(FILE, "large", &large)]));
    assert_eq!(reason(&path), "unpacked it is larger than 256 MiB");
}

#[test]
fn what_is_no_package_says_so() {
    let (_home, path) = file(b"hello");
    assert_eq!(reason(&path), "it is no folder, no wasm file and no archive (`.tar.gz`, `.zip`)");
    let (_home, path) = file(&tar_gz(&[(FILE, "a.wasm", WASM)])[..20]);
    assert_eq!(reason(&path), "it is damaged, or not what it says it is");
    assert_eq!(refused(Path::new("/nowhere")).code(), "plugin-not-found");
    let empty = folder(&[("notes.txt", b"")]);
    assert_eq!(refused(empty.path()).code(), "no-manifest");
    let text = folder(&[("manifest.json", MANIFEST.as_bytes()), ("a.wasm", b"(module)")]);
    assert_eq!(reason(text.path()), "`a.wasm` is no WebAssembly");
    let named = folder(&[("manifest.json", br#"{"name":"../a","entryPoint":"a.wasm"}"#), ("a.wasm", WASM)]);
    assert!(reason(named.path()).starts_with("its name has to begin with a letter or digit"));
}

#[test]
fn a_folder_that_is_not_built_says_how() {
    let cortex = folder(&[("manifest.json", MANIFEST.as_bytes())]);
    assert_eq!(reason(cortex.path()), "there is no `a.wasm` in it");
    assert_eq!(refused(cortex.path()).hint(), Some("it has to be built first"));
    let go = folder(&[("manifest.json", MANIFEST.as_bytes()), ("go.mod", b"")]);
    let error = refused(go.path());
    assert!(error.hint().is_some_and(|hint| hint.contains("go build -buildmode=c-shared")), "{error:?}");
    let toml = "[plugin]\nname = \"a\"\nversion = \"1\"\nruntime = \"wasm\"\n[[commands]]\nname = \"a\"\n\
                binary = \"a.wasm\"\n[hooks]\nbuild = \"make\"\n";
    let hooked = folder(&[("plugin.toml", toml.as_bytes())]);
    let error = refused(hooked.path());
    let hint = error.hint().expect("it says how");
    assert!(hint.starts_with("it has to be built first: `airlock install --build /"), "{hint}");
}

#[test]
fn a_link_in_a_folder_cannot_lead_out_of_it() {
    let outside = folder(&[("secret.wasm", WASM)]);
    let inner = folder(&[("manifest.json", MANIFEST.as_bytes())]);
    std::os::unix::fs::symlink(outside.path().join("secret.wasm"), inner.path().join("a.wasm"))
        .expect("linked");
    assert!(refused(inner.path()).to_string().ends_with("`a.wasm` leads out of the plugin's folder"));
}

#[test]
fn a_file_is_bounded_by_the_limit_for_artifacts() {
    let limits = Limits::default().with(&Overrides::from([(LimitKind::ArtifactSize, 4)]));
    let plain = folder(&[("manifest.json", MANIFEST.as_bytes()), ("a.wasm", WASM)]);
    for path in [plain.path().to_owned(), plain.path().join("a.wasm")] {
        let error = Package::read(&path, &limits).expect_err("it is larger");
        assert!(
            matches!(error.code(), "limit-artifact_size" | "limit-artifact-size" | "not-installable"),
            "{error}"
        );
    }
}

#[test]
fn only_a_folder_can_be_linked() {
    let plain = folder(&[("manifest.json", MANIFEST.as_bytes()), ("a.wasm", WASM)]);
    let package = read(plain.path()).linked().expect("a folder");
    assert_eq!(package.link().map(Path::to_owned), plain.path().canonicalize().ok());
    assert!(read(&plain.path().join("a.wasm")).linked().is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), start in 0_usize..4) {
        let starts: [&[u8]; 4] = [&[], &[0x1f, 0x8b, 8, 0], b"PK\x03\x04", b"\0asm"];
        bytes.splice(0..starts[start].len().min(bytes.len()), starts[start].iter().copied());
        let _ = super::archive::read("a source", bytes);
    }

    #[test]
    fn a_path_that_is_taken_stays_inside(path in "[a./\\\\]{0,12}") {
        if let Some(inside) = super::normalised(&path) {
            prop_assert!(!inside.starts_with('/') && inside.split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }
}
