//! A compile cache that somebody has been at.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use airlock_host::{Cache, CacheSettings, Host, LoadOptions, Mapping, Origin, Plugin};

use super::case;
use crate::support::{answer, source, survives, text};

const SEVEN: &str = r#"(module (func (export "f") (result i32) i32.const 7))"#;
const EIGHT: &str = r#"(module (func (export "f") (result i32) i32.const 8))"#;

/// A cache in a folder of its own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn code(&self) -> PathBuf {
        self.0.path().join("code")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("data/cache.key")
    }

    fn settings(&self, mapping: Mapping) -> CacheSettings {
        CacheSettings { folder: self.code(), key_file: self.key(), maximum_bytes: 1 << 30, mapping }
    }

    /// What another process of the same user would find.
    fn host(&self, mapping: Mapping) -> Host {
        let cache = Cache::open(self.settings(mapping)).unwrap();
        Host::builder().slots(4).cache(cache).build().unwrap()
    }

    fn load(&self, wat: &str) -> Plugin {
        self.host(Mapping::Shared).load_blocking(source(wat), text()).unwrap()
    }

    /// The files with this ending, of every artifact.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.code()).unwrap().map(|entry| entry.unwrap().path());
        let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let mut files: Vec<PathBuf> = files
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == ending))
            .collect();
        files.sort();
        files
    }

    fn code_file(&self) -> PathBuf {
        let mut files = self.files("cwasm");
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

/// The plugin answers right, with code from where it should be.
fn answers(plugin: &Plugin, expected: &str, origin: Origin) {
    assert_eq!(plugin.code_origin(), origin);
    assert_eq!(answer(plugin, "f", &[]), expected);
}

#[test]
fn cache_code_is_compiled_once_and_found_by_the_next_host() {
    let _case = case(35, "found again", "as any call");
    for mapping in [Mapping::Shared, Mapping::Copy] {
        let place = Place::new();
        answers(&place.load(SEVEN), "7", Origin::Compiler);
        let host = place.host(mapping);
        let again = host.load_blocking(source(SEVEN), text()).unwrap();
        answers(&again, "7", Origin::Cache);
        // A session runs in another engine than a call.
        let mut session = again.session_blocking().unwrap();
        assert_eq!(session.call_blocking::<_, i32>("f", &()).unwrap().value, 7);
        // The same bytes under another name share their code.
        let shared = host.load_blocking(source(SEVEN), text().name("other")).unwrap();
        answers(&shared, "7", Origin::Memory);
        // Another configuration does not.
        let fuelled = host.load_blocking(source(SEVEN), crate::support::limits(&[("fuel", "1000")])).unwrap();
        answers(&fuelled, "7", Origin::Compiler);
        survives(&host);
    }
}

#[test]
fn cache_flipped_byte_anywhere_is_noticed_and_compiled_again() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let path = place.code_file();
    let genuine = std::fs::read(&path).unwrap();
    for mapping in [Mapping::Shared, Mapping::Copy] {
        for at in (0..genuine.len()).step_by(997).chain([genuine.len() - 1]) {
            let mut flipped = genuine.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let plugin = place.host(mapping).load_blocking(source(SEVEN), text()).unwrap();
            answers(&plugin, "7", Origin::Compiler);
            assert_eq!(std::fs::read(&path).unwrap(), genuine, "the good one is back, {at}");
        }
    }
    for length in [0, 1, 63, genuine.len() / 2, genuine.len() - 1] {
        std::fs::write(&path, &genuine[..length]).unwrap();
        answers(&place.load(SEVEN), "7", Origin::Compiler);
    }
    answers(&place.load(SEVEN), "7", Origin::Cache);
}

#[test]
fn cache_flipped_byte_in_what_admission_found_is_noticed() {
    let _case = case(35, "admitted again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let path = place.files("shape").remove(0);
    let genuine = std::fs::read_to_string(&path).unwrap();
    // It would hide the only function, were it believed.
    std::fs::write(&path, genuine.replace("\"f\"", "\"g\"")).unwrap();
    answers(&place.load(SEVEN), "7", Origin::Cache);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), genuine);
}

#[test]
fn cache_foreign_cwasm_renamed_in_is_not_run() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let seven = place.code_file();
    answers(&place.load(EIGHT), "8", Origin::Compiler);
    let eight = place.files("cwasm").into_iter().find(|path| *path != seven).unwrap();
    // Genuine code of another plugin, under its own name and under the right one.
    let own_name = seven.parent().unwrap().join(eight.file_name().unwrap());
    std::fs::remove_file(&seven).unwrap();
    for target in [&own_name, &seven] {
        std::fs::copy(&eight, target).unwrap();
        answers(&place.load(SEVEN), "7", Origin::Compiler);
        assert!(!own_name.exists() || own_name == seven, "what is not genuine is removed");
        std::fs::remove_file(&seven).unwrap();
    }
    // Genuine code of the same plugin, compiled by somebody with another key.
    let stranger = Place::new();
    answers(&stranger.load(SEVEN), "7", Origin::Compiler);
    let theirs = stranger.code_file();
    std::fs::copy(&theirs, seven.parent().unwrap().join(theirs.file_name().unwrap())).unwrap();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    answers(&place.load(SEVEN), "7", Origin::Cache);
}

#[test]
fn cache_stamp_rewritten_does_not_help() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let path = place.code_file();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (configuration, tag) = name.split_once('-').unwrap();
    // A wrong tag, and the right tag under another configuration, an older time for both.
    let flipped: String = tag.chars().rev().collect();
    for forged in [format!("{configuration}-{flipped}"), format!("{configuration}-{}", "0".repeat(64))] {
        let forged = path.with_file_name(forged).with_extension("cwasm");
        std::fs::rename(&path, &forged).unwrap();
        let file = std::fs::File::options().write(true).open(&forged).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        answers(&place.load(SEVEN), "7", Origin::Compiler);
        assert!(path.exists() && !forged.exists());
    }
    // Names that are none of ours are left alone.
    let foreign = path.with_file_name("README");
    std::fs::write(&foreign, "hello").unwrap();
    answers(&place.load(SEVEN), "7", Origin::Cache);
    assert!(foreign.exists());
}

#[test]
fn cache_symlink_is_not_followed() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let path = place.code_file();
    // The very file, but somewhere else, where others might change it.
    let elsewhere = place.0.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    assert!(!std::fs::symlink_metadata(&path).unwrap().is_symlink(), "a good file is in its place");
    assert!(elsewhere.exists(), "where the link led to is not touched");
    // The artifact's whole folder as a link: not read, not written.
    let folder = path.parent().unwrap();
    let moved = place.0.path().join("moved");
    std::fs::rename(folder, &moved).unwrap();
    symlink(&moved, folder).unwrap();
    let before = names(&moved);
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    assert_eq!(names(&moved), before);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn cache_fifo_and_folder_in_the_place_of_a_file_block_nothing() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let path = place.code_file();
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
}

fn refused(place: &Place) -> String {
    let error = Cache::open(place.settings(Mapping::Shared)).expect_err("not to be trusted");
    assert_eq!((error.code(), error.exit_code()), ("cache-unusable", 125));
    error.to_string()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn cache_world_writable_is_refused() {
    let _case = case(35, "cache-unusable", "opening it");
    let place = Place::new();
    drop(Cache::open(place.settings(Mapping::Shared)).unwrap());
    assert_eq!(std::fs::metadata(place.code()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(place.key()).unwrap().mode() & 0o777, 0o600);
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        set_mode(&place.code(), mode);
        let message = refused(&place);
        assert!(message.ends_with(&format!("others can write to it (mode {mode:04o})")), "{message}");
    }
    set_mode(&place.code(), 0o755);
    set_mode(&place.key(), 0o644);
    assert!(refused(&place).ends_with("others can read it (mode 0644)"));
    set_mode(&place.key(), 0o600);
    set_mode(place.key().parent().unwrap(), 0o777);
    assert!(refused(&place).ends_with("others can write to it (mode 0777)"));
    set_mode(place.key().parent().unwrap(), 0o700);
    std::fs::write(place.key(), "short").unwrap();
    assert!(refused(&place).ends_with("it is not 32 bytes long"));
    std::fs::write(place.key(), [1; 33]).unwrap();
    assert!(refused(&place).ends_with("it is too large"));
    std::fs::remove_file(place.key()).unwrap();
    symlink("/etc/hostname", place.key()).unwrap();
    assert!(refused(&place).contains("it is a symbolic link"));
}

#[test]
fn cache_file_that_others_can_write_is_not_used() {
    let _case = case(35, "compiled again", "one file");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    set_mode(&place.code_file(), 0o666);
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    assert_eq!(std::fs::metadata(place.code_file()).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn cache_that_belongs_to_another_user_is_refused() {
    let _case = case(35, "cache-unusable", "opening it");
    let place = Place::new();
    drop(Cache::open(place.settings(Mapping::Shared)).unwrap());
    // Only root can give a folder away; for others it is `/`, which is root's.
    let mut settings = place.settings(Mapping::Shared);
    if std::os::unix::fs::chown(place.code(), Some(1), None).is_err() {
        settings.folder = "/".into();
    }
    let error = Cache::open(settings).expect_err("another's").to_string();
    assert!(error.contains("it belongs to user"), "{error}");
}

#[test]
fn cache_that_cannot_be_written_costs_a_compilation_and_nothing_else() {
    let _case = case(35, "compiled", "as any call");
    let place = Place::new();
    answers(&place.load(SEVEN), "7", Origin::Compiler);
    let folder = place.code_file().parent().unwrap().to_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    // A file where a folder has to be made keeps even root from writing.
    std::fs::write(&folder, "in the way").unwrap();
    let host = place.host(Mapping::Shared);
    answers(&host.load_blocking(source(SEVEN), text()).unwrap(), "7", Origin::Compiler);
    survives(&host);
    std::fs::remove_file(&folder).unwrap();
    // Read-only for everybody who is not root.
    set_mode(&place.code(), 0o500);
    assert_eq!(answer(&place.load(SEVEN), "f", &[]), "7");
    set_mode(&place.code(), 0o700);
}

#[test]
fn cache_that_is_cleared_leaves_loaded_plugins_alone() {
    let _case = case(35, "they go on", "as any call");
    let place = Place::new();
    place.load(SEVEN);
    let cache = Cache::open(place.settings(Mapping::Shared)).unwrap();
    let plugin = place.load(SEVEN);
    assert_eq!(cache.entries().unwrap().len(), 1);
    assert_eq!(cache.clear().unwrap().0, 2);
    assert_eq!(cache.entries().unwrap(), []);
    assert_eq!(std::fs::read_dir(place.code()).unwrap().count(), 0);
    answers(&plugin, "7", Origin::Cache);
    // Code that is mapped only now, when a session asks for it, comes from memory.
    assert_eq!(plugin.session_blocking().unwrap().call_blocking::<_, i32>("f", &()).unwrap().value, 7);
}

#[test]
fn cache_verify_finds_and_removes_what_is_not_genuine() {
    let _case = case(35, "removed", "one file");
    let place = Place::new();
    place.load(SEVEN);
    place.load(EIGHT);
    let damaged = place.files("cwasm").remove(0);
    std::fs::write(&damaged, "junk").unwrap();
    let cache = Cache::open(place.settings(Mapping::Shared)).unwrap();
    let verified = cache.verify().unwrap();
    assert_eq!(verified.files, 3);
    let found: Vec<_> =
        verified.damaged.iter().map(|damaged| (&damaged.path, damaged.reason.as_str())).collect();
    assert_eq!(found, [(&damaged, "its tag is wrong")]);
    assert_eq!(cache.verify().unwrap().damaged, []);
}

#[test]
fn cache_is_pruned_by_size_least_recently_used_first() {
    let _case = case(35, "pruned", "size");
    let place = Place::new();
    let module = |number: u32| SEVEN.replace('7', &number.to_string());
    for number in 0..4 {
        place.load(&module(number));
    }
    let age = |days: u64| std::time::SystemTime::now() - std::time::Duration::from_hours(24 * days);
    let set_age = |path: &Path, days: u64| {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(age(days)).unwrap();
    };
    for ending in ["cwasm", "shape"] {
        place.files(ending).iter().for_each(|path| set_age(path, 30));
    }
    // Using one makes it young again.
    answers(&place.load(&module(2)), "2", Origin::Cache);
    let total: u64 = place.files("cwasm").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    let settings = CacheSettings { maximum_bytes: total * 3 / 4, ..place.settings(Mapping::Shared) };
    let host = Host::builder().cache(Cache::open(settings).unwrap()).build().unwrap();
    host.load_blocking(source(&module(9)), LoadOptions::new().wat(true)).unwrap();
    let left: u64 = place.files("cwasm").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(left <= total * 3 / 4, "{left} of {total}");
    answers(&place.load(&module(2)), "2", Origin::Cache);
    answers(&place.load(&module(9)), "9", Origin::Cache);
}

#[test]
fn cache_many_threads_load_one_plugin_and_one_of_them_compiles() {
    let _case = case(35, "one compilation", "compile_time");
    let place = Place::new();
    let big = big(300);
    let host = place.host(Mapping::Shared);
    let other = place.host(Mapping::Shared);
    let origins: Vec<Origin> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|index| {
                // Two hosts: as two processes they share nothing but the folder.
                let host = if index % 2 == 0 { &host } else { &other };
                let big = &big;
                scope.spawn(move || host.load_blocking(source(big), text()).unwrap().code_origin())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let compiled = origins.iter().filter(|origin| **origin == Origin::Compiler).count();
    assert_eq!(compiled, 1, "{origins:?}");
}

/// A module with so many functions that take a compiler some time.
pub(crate) fn big(functions: usize) -> String {
    let body =
        "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31)) (i32.load (local.get 0))))".repeat(40);
    let functions: String = (0..functions)
        .map(|index| format!(r#"(func (export "f{index}") (param i32) (result i32) {body} (local.get 0))"#))
        .collect();
    format!(r#"(module (memory 1) {functions})"#)
}
