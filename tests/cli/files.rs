//! What a guest sees of the host's files.

use std::path::Path;

use crate::support::{airlock, describe, file};

/// Opens the path that is its first argument and writes what it reads.
const CAT: &str = include_str!("../guests/cat.wat");

/// Errors of WASI preview 1.
const NOENT: i32 = 44;
const NOTDIR_OR_BADF: i32 = 8;
const PERM: i32 = 63;

/// The exit code and what was read, by a guest that opens `path` with these flags and rights.
fn cat_with(grants: &[String], path: &str, flags: u32, rights: u64) -> (i32, String) {
    let wat = CAT.replace("FLAGS", &flags.to_string()).replace("RIGHTS", &rights.to_string());
    let (_folder, guest) = file("cat.wat", wat.as_bytes());
    let mut command = airlock();
    command.arg("run").args(grants.iter().flat_map(|grant| ["--allow", grant])).arg(guest).arg(path);
    let output = command.output().unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("{}", describe(&output)));
    (code, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same for reading.
fn cat(grants: &[String], path: &str) -> (i32, String) {
    cat_with(grants, path, 0, 2)
}

fn read(folder: &Path) -> Vec<String> {
    vec![format!("fs.read={}::/", folder.display())]
}

/// A folder with a file in it and one below, and a secret beside it.
fn folder() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("data/sub")).unwrap();
    std::fs::write(home.path().join("data/file"), "content").unwrap();
    std::fs::write(home.path().join("data/sub/file"), "below").unwrap();
    std::fs::write(home.path().join("secret"), "secret").unwrap();
    home
}

#[test]
fn a_granted_folder_is_read_with_all_below_it_and_nothing_without_a_grant() {
    let home = folder();
    let data = home.path().join("data");
    assert_eq!(cat(&read(&data), "file"), (0, "content".to_owned()));
    assert_eq!(cat(&read(&data), "sub/file"), (0, "below".to_owned()));
    assert_eq!(cat(&read(&data), "none").0, NOENT);
    assert_eq!(cat(&[], "file").0, NOTDIR_OR_BADF, "there is no folder");
}

#[test]
fn dotdot_absolute_and_trailing_slash_lead_nowhere() {
    let home = folder();
    let data = home.path().join("data");
    let absolute = home.path().join("secret").display().to_string();
    for path in ["../secret", "sub/../../secret", "./../secret", "..", "sub/../..", &absolute] {
        assert_eq!(cat(&read(&data), path), (PERM, String::new()), "{path}");
    }
    assert_ne!(cat(&read(&data), "file/").0, 0);
    assert_eq!(cat(&read(&data), "sub/../file"), (0, "content".to_owned()));
}

#[test]
fn symlink_out_is_not_followed_and_one_inside_is() {
    let home = folder();
    let data = home.path().join("data");
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, data.join(name)).unwrap();
    link(Path::new("../secret"), "relative");
    link(&home.path().join("secret"), "absolute");
    link(Path::new("/proc/self/environ"), "proc_self");
    link(Path::new(".."), "up");
    link(Path::new("sub/file"), "inside");
    link(Path::new("loop"), "loop");
    for path in ["relative", "absolute", "proc_self", "up/secret", "loop"] {
        let (code, content) = cat(&read(&data), path);
        assert!(code != 0 && content.is_empty(), "{path}: {code} {content}");
    }
    assert_eq!(cat(&read(&data), "inside"), (0, "below".to_owned()));
}

#[test]
fn symlink_swap_while_running_never_leads_out() {
    let home = folder();
    let data = home.path().join("data");
    let (plain, link, spot) = (data.join("plain"), data.join("link"), data.join("spot"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::fs::write(&plain, "plain").unwrap();
                std::fs::rename(&plain, &spot).unwrap();
                std::os::unix::fs::symlink(home.path().join("secret"), &link).unwrap();
                std::fs::rename(&link, &spot).unwrap();
            }
        });
        for _ in 0..60 {
            let (_, content) = cat(&read(&data), "spot");
            assert!(!content.contains("secret"), "it read {content}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn write_to_readonly_and_create_in_readonly_are_refused() {
    let home = folder();
    let data = home.path().join("data");
    const WRITE: u64 = 1 << 6;
    const CREATE: u32 = 1;
    const TRUNCATE: u32 = 8;
    assert_ne!(cat_with(&read(&data), "file", 0, WRITE).0, 0);
    assert_ne!(cat_with(&read(&data), "new", CREATE, WRITE).0, 0);
    assert_ne!(cat_with(&read(&data), "file", TRUNCATE, 2).0, 0);
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "content");
    assert!(!data.join("new").exists());
}

#[test]
fn fifo_open_and_device_open_are_refused_and_block_nobody() {
    let home = folder();
    let data = home.path().join("data");
    let made = std::process::Command::new("mkfifo").arg(data.join("fifo")).status().unwrap();
    assert!(made.success());
    assert_eq!(cat(&read(&data), "fifo"), (PERM, String::new()));
    assert_eq!(cat(&read(Path::new("/dev")), "zero"), (PERM, String::new()));
    assert_eq!(cat(&read(Path::new("/dev")), "tty").0, PERM);
}

#[test]
fn a_missing_folder_or_one_that_is_a_file_denies_itself_and_not_the_plugin() {
    let home = folder();
    let data = home.path().join("data");
    let missing = format!("fs.read={}::/missing", home.path().join("missing").display());
    let single = format!("fs.read={}/*::/single", home.path().join("secret").display());
    let mut grants = vec![missing, single];
    grants.extend(read(&data));
    assert_eq!(cat(&grants, "file"), (0, "content".to_owned()));
}

#[test]
fn guest_reads_own_cache_neither_by_name_nor_by_a_link_to_it() {
    let home = folder();
    let own = crate::support::home();
    std::fs::create_dir_all(own).unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(own, &link).unwrap();
    for folder in [Path::new(own), &link, Path::new("/")] {
        assert_eq!(cat(&read(folder), "cache.key").0, NOTDIR_OR_BADF, "{}", folder.display());
    }
}

#[test]
fn what_is_left_out_is_named_before_the_program_runs() {
    let home = folder();
    let data = home.path().join("data");
    let missing = format!("fs.read={}", home.path().join("missing").display());
    let (_folder, guest) = file("cat.wat", CAT.replace("FLAGS", "0").replace("RIGHTS", "2").as_bytes());
    let mut command = airlock();
    command.args(["run", "--allow", &missing]).args(read(&data).iter().flat_map(|grant| ["--allow", grant]));
    let output = command.arg(guest).arg("file").output().unwrap();
    assert_eq!(
        describe(&output),
        format!(
            "exit 0\n--- stdout\ncontent--- stderr\nwarning: `{missing}` is not there for the plugin: \
             No such file or directory (os error 2)\n"
        )
    );
}

#[test]
fn what_is_left_out_is_named_once() {
    let home = folder();
    let missing = format!("fs.write={}", home.path().join("missing/deep").display());
    let output = airlock().args(["run", "--allow", &missing, "plugins/greet/greet.wasm"]).output().unwrap();
    assert_eq!(
        describe(&output),
        format!(
            "exit 0\n--- stderr\nwarning: `{missing}` is not there for the plugin: \
             No such file or directory (os error 2)\ndone\n"
        )
    );
}
