//! Guests that try to get at files that they were not granted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use airlock_host::{
    AuditEvent, Capability, Host, Input, LoadOptions, MemoryAudit, OnAuditFailure, ProgramInput,
};

use super::calls::{
    BADF, CREATE, Calls, DIRECTORY, DQUOT, EXCLUSIVE, EXIST, FBIG, FIRST, Fd, MFILE, NAMETOOLONG, NOENT,
    NOTDIR, NOTEMPTY, OK, PERM, READ, TRUNCATE, WRITE, numbers,
};
use super::case;
use crate::support::{host, limits, survives};

const SECOND: Fd = Fd::Number(4);
const THIRD: Fd = Fd::Number(5);

/// A folder that a test works in, made anew each time that it is asked for.
struct Ground {
    home: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let ground = Ground { home: tempfile::tempdir().unwrap() };
        ground.again();
        ground
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn again(&self) {
        for name in ["data", "out"] {
            let _ = fs::remove_dir_all(self.path(name));
            fs::create_dir_all(self.path(name).join("sub")).unwrap();
            fs::write(self.path(name).join("file"), "content").unwrap();
            fs::write(self.path(name).join("sub/file"), "below").unwrap();
        }
        fs::write(self.path("secret"), "secret").unwrap();
    }

    fn grant(&self, kind: &str, path: &str, guest: &str) -> String {
        format!("{kind}={}::{guest}", self.path(path).display())
    }

    fn is_there(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    fn secret_is_safe(&self) {
        assert_eq!(fs::read_to_string(self.path("secret")).unwrap(), "secret");
    }
}

#[test]
fn a_folder_granted_to_be_written_is_and_nothing_beside_it() {
    let _case = case(28, "what was granted", "as any call");
    let ground = Ground::new();
    let grants = [ground.grant("fs.write", "out", "/out")];
    let calls = Calls::new()
        .open(FIRST, "new", CREATE | EXCLUSIVE, WRITE)
        .write(Fd::Opened(0), "written")
        .close(Fd::Opened(0))
        .open(FIRST, "new", CREATE | EXCLUSIVE, WRITE)
        .open(FIRST, "file", TRUNCATE, WRITE)
        .mkdir(FIRST, "folder")
        .rename((FIRST, "new"), (FIRST, "folder/moved"))
        .link((FIRST, "folder/moved"), (FIRST, "linked"))
        .symlink("folder/moved", FIRST, "link")
        .rmdir(FIRST, "folder")
        .unlink(FIRST, "sub/file")
        .rmdir(FIRST, "sub")
        .open(FIRST, "../secret", TRUNCATE, WRITE)
        .open(FIRST, "../new", CREATE, WRITE)
        .unlink(FIRST, "../secret")
        .rename((FIRST, "linked"), (FIRST, "../moved"))
        .rename((FIRST, "../secret"), (FIRST, "stolen"))
        .link((FIRST, "../secret"), (FIRST, "stolen"))
        .mkdir(FIRST, "../folder");
    let expected =
        [OK, OK, OK, EXIST, OK, OK, OK, OK, OK, NOTEMPTY, OK, OK, PERM, PERM, PERM, PERM, PERM, PERM, PERM];
    assert_eq!(calls.errors(&grants, || ground.again()), expected);
    assert_eq!(fs::read_to_string(ground.path("out/folder/moved")).unwrap(), "written");
    assert_eq!(fs::read_to_string(ground.path("out/linked")).unwrap(), "written");
    assert_eq!(fs::read_to_string(ground.path("out/file")).unwrap(), "");
    assert!(!ground.is_there("out/sub") && !ground.is_there("moved") && !ground.is_there("folder"));
    ground.secret_is_safe();
}

#[test]
fn rename_across_preopens_and_hardlink_need_both_to_be_writable() {
    let _case = case(28, "refused", "as any call");
    let ground = Ground::new();
    let grants = [ground.grant("fs.read", "data", "/data"), ground.grant("fs.write", "out", "/out")];
    let calls = Calls::new()
        .rename((FIRST, "file"), (SECOND, "stolen"))
        .rename((SECOND, "file"), (FIRST, "pushed"))
        // The same file under a name that can be written would be written.
        .link((FIRST, "file"), (SECOND, "linked"))
        .open(SECOND, "linked", 0, WRITE)
        .symlink("../data/file", SECOND, "link")
        .open(SECOND, "link", TRUNCATE, WRITE)
        .unlink(FIRST, "file")
        .mkdir(FIRST, "folder")
        .touch(FIRST, "file")
        .rmdir(FIRST, "sub")
        .readlink(SECOND, "link");
    let printed = calls.run(&grants, || ground.again());
    assert_eq!(numbers(&printed[..10]), [PERM, PERM, PERM, NOENT, OK, PERM, PERM, PERM, PERM, PERM]);
    assert_eq!(printed[10..], ["00", "../data/file"]);
    assert_eq!(fs::read_to_string(ground.path("data/file")).unwrap(), "content");
    assert!(!ground.is_there("out/stolen") && !ground.is_there("data/pushed") && ground.is_there("data/sub"));
}

#[test]
fn rename_between_two_writable_preopens_works() {
    let ground = Ground::new();
    let grants = [ground.grant("fs.write", "data", "/data"), ground.grant("fs.write", "out", "/out")];
    let calls = Calls::new().rename((FIRST, "file"), (SECOND, "moved")).open(SECOND, "moved", 0, READ);
    assert_eq!(calls.read(Fd::Opened(0)).run(&grants, || ground.again()), ["00", "00", "00", "content"]);
}

#[test]
fn a_single_file_is_all_there_is_of_its_folder() {
    let _case = case(27, "refused", "as any call");
    let ground = Ground::new();
    let grants = [ground.grant("fs.read", "data/file", "/data/file")];
    let calls = Calls::new()
        .open(FIRST, "file", 0, READ)
        .read(Fd::Opened(0))
        .open(FIRST, "./file", 0, READ)
        .open(FIRST, "file", 0, WRITE)
        .open(FIRST, "sub/file", 0, READ)
        .open(FIRST, "other", 0, READ)
        .open(FIRST, "../secret", 0, READ)
        .open(FIRST, "sub/../file", 0, READ)
        .open(FIRST, "file/", 0, READ)
        .open(FIRST, "sub", DIRECTORY, READ)
        .stat(FIRST, "sub")
        .stat(FIRST, "file")
        .unlink(FIRST, "file")
        .rename((FIRST, "file"), (FIRST, "other"))
        .link((FIRST, "file"), (FIRST, "other"))
        .symlink("file", FIRST, "other")
        // The folder behind it has a descriptor, which is not the guest's.
        .open(SECOND, "sub/file", 0, READ)
        .readdir(SECOND)
        .close(SECOND)
        .renumber(SECOND, FIRST)
        .renumber(FIRST, SECOND);
    let mut expected = ["00", "00", "content", "00", "63"].map(str::to_owned).to_vec();
    expected.extend(["63", "63", "63", "63", "54", "63", "63", "00"].map(str::to_owned));
    let printed = calls.run(&grants, || ground.again());
    assert_eq!(printed[..13], expected);
    let rest: Vec<&str> = printed[13..].iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    assert_eq!(rest, ["63", "63", "63", "63", "08", "08", "08", "08", "08"]);
    assert_eq!(fs::read_to_string(ground.path("data/file")).unwrap(), "content");
}

#[test]
fn a_single_file_to_be_written_is_created_and_changed_and_no_other_is() {
    let ground = Ground::new();
    let grants =
        [ground.grant("fs.write", "out/new", "/out/named"), ground.grant("fs.read", "out/file", "/out/file")];
    let calls = Calls::new()
        .open(FIRST, "named", CREATE, WRITE)
        .write(Fd::Opened(0), "text")
        .open(FIRST, "new", CREATE, WRITE)
        .open(FIRST, "file", 0, WRITE)
        .open(FIRST, "file", TRUNCATE, READ)
        .touch(FIRST, "file")
        .open(FIRST, ".", DIRECTORY, READ)
        .readdir(Fd::Opened(4));
    let printed = calls.run_once(&grants, || ground.again());
    assert_eq!(printed[..8], ["00", "00", "63", "63", "63", "63", "00", "00"]);
    let listed = printed[8..].concat();
    assert!(listed.contains("file") && !listed.contains("sub"), "{listed:?}");
    assert_eq!(fs::read_to_string(ground.path("out/new")).unwrap(), "text");
    assert_eq!(fs::read_to_string(ground.path("out/file")).unwrap(), "content");
}

#[test]
fn a_single_file_that_became_a_link_is_not_followed() {
    let ground = Ground::new();
    let grants = [ground.grant("fs.write", "out/file", "/out/file")];
    let calls = Calls::new().stat(FIRST, "file").open(FIRST, "file", 0, READ);
    assert_eq!(calls.errors(&grants, || ground.again()), [OK, OK]);
    // A link is what was granted then: where it leads to is opened, and nothing else.
    let linked = || {
        ground.again();
        fs::remove_file(ground.path("out/file")).unwrap();
        symlink("../data/file", ground.path("out/file")).unwrap();
    };
    assert_eq!(calls.errors(&grants, linked), [OK, OK]);
    let dangling = || {
        ground.again();
        fs::remove_file(ground.path("out/file")).unwrap();
        symlink("../new", ground.path("out/file")).unwrap();
    };
    let create = Calls::new().open(FIRST, "file", CREATE, WRITE);
    assert_eq!(create.errors(&grants, dangling), [BADF], "a link that leads nowhere is no grant to create");
    assert!(!ground.is_there("new"));
}

#[test]
fn a_shallow_folder_has_its_files_and_no_folders() {
    let _case = case(27, "refused", "as any call");
    let ground = Ground::new();
    let grants = [format!("fs.write={}/*::/out", ground.path("out").display())];
    let before = || {
        ground.again();
        symlink("sub/file", ground.path("out/link")).unwrap();
        symlink("sub", ground.path("out/folder_link")).unwrap();
    };
    let calls = Calls::new()
        .open(FIRST, "file", 0, READ)
        .read(Fd::Opened(0))
        .open(FIRST, "sub/file", 0, READ)
        .open(FIRST, "sub", DIRECTORY, READ)
        .open(FIRST, "sub", 0, READ)
        .open(FIRST, "link", 0, READ)
        .open(FIRST, "folder_link/file", 0, READ)
        .mkdir(FIRST, "new")
        .rmdir(FIRST, "sub")
        .stat(FIRST, "sub")
        .rename((FIRST, "sub"), (FIRST, "moved"))
        .rename((FIRST, "file"), (FIRST, "sub/file"))
        .rename((FIRST, "file"), (FIRST, "renamed"))
        .open(FIRST, "new", CREATE, WRITE)
        .write(Fd::Opened(6), "text")
        .open(FIRST, ".", DIRECTORY, READ)
        .open(Fd::Opened(7), "sub/file", 0, READ)
        .open(Fd::Opened(7), "renamed", 0, READ)
        .readdir(Fd::Opened(7));
    let printed = calls.run_once(&grants, before);
    let errors: Vec<&str> = printed.iter().take(20).map(String::as_str).collect();
    assert_eq!(
        errors,
        [
            "00", "00", "content", "63", "63", "63", "32", "63", "63", "63", "63", "63", "63", "00", "00",
            "00", "00", "63", "00", "00"
        ]
    );
    let listed = printed[20..].concat();
    assert!(
        listed.contains("renamed") && listed.contains("new") && !listed.contains("sub\u{0}"),
        "{listed:?}"
    );
    assert_eq!(fs::read_to_string(ground.path("out/new")).unwrap(), "text");
    assert!(ground.is_there("out/sub/file") && !ground.is_there("out/moved"));
}

#[test]
fn nested_grants_hold_each_for_itself() {
    let ground = Ground::new();
    let grants = [
        ground.grant("fs.read", "data", "/data"),
        ground.grant("fs.write", "data/sub", "/data/sub"),
        ground.grant("fs.write", "data/file", "/data/file"),
    ];
    let calls = Calls::new()
        .open(FIRST, "file", TRUNCATE, WRITE)
        .open(FIRST, "sub/file", 0, WRITE)
        .open(FIRST, "sub/file", 0, READ)
        .open(SECOND, "file", TRUNCATE, WRITE)
        .open(FIRST, "new", CREATE, WRITE)
        .unlink(FIRST, "sub/file");
    assert_eq!(calls.errors(&grants, || ground.again()), [OK, PERM, OK, OK, PERM, PERM]);
}

#[test]
fn quota_bytes_files_and_the_folders_size_are_bounded_and_the_guest_goes_on() {
    let _case = case(28, "dquot", "written_bytes, created_files, folder_size");
    let ground = Ground::new();
    let grants = [ground.grant("fs.write", "out", "/out")];
    let with = |pairs: &[(&str, &str)], calls: &Calls| {
        numbers(&calls.run_with(&host(), &grants, limits(pairs), || ground.again()))
    };
    let write = Calls::new()
        .open(FIRST, "new", CREATE, WRITE)
        .write_bytes(Fd::Opened(0), 60_000)
        .write_bytes(Fd::Opened(0), 60_000)
        .write_bytes(Fd::Opened(0), 4_000);
    assert_eq!(with(&[("written_bytes", "100kB")], &write), [OK, OK, DQUOT, OK]);
    assert_eq!(fs::metadata(ground.path("out/new")).unwrap().len(), 64_000);
    // What is there already counts: 12 bytes of two files.
    assert_eq!(with(&[("folder_size", "64012")], &write), [OK, OK, DQUOT, OK]);
    assert_eq!(with(&[("folder_size", "64011")], &write), [OK, OK, DQUOT, DQUOT]);

    let create = Calls::new()
        .open(FIRST, "a", CREATE, WRITE)
        .open(FIRST, "a", CREATE, WRITE)
        .mkdir(FIRST, "b")
        .symlink("a", FIRST, "c")
        .link((FIRST, "a"), (FIRST, "d"))
        .open(FIRST, "e", CREATE, WRITE)
        .open(FIRST, "a", 0, WRITE);
    assert_eq!(with(&[("created_files", "3")], &create), [OK, OK, OK, OK, DQUOT, DQUOT, OK]);
    assert!(!ground.is_there("out/d") && !ground.is_there("out/e"));
}

#[test]
fn quota_a_file_is_no_longer_than_its_folder_may_be_however_it_is_made_so() {
    let ground = Ground::new();
    let grants = [ground.grant("fs.write", "out", "/out")];
    let calls = Calls::new()
        .open(FIRST, "new", CREATE, WRITE)
        .pwrite(Fd::Opened(0), "x", 1 << 40)
        .seek(Fd::Opened(0), 1 << 40)
        .resize(Fd::Opened(0), 1 << 40)
        .resize(Fd::Opened(0), 90_000)
        .resize(Fd::Opened(0), 10)
        .pwrite(Fd::Opened(0), "x", 20);
    let options = limits(&[("folder_size", "100kB")]);
    let printed = calls.run_with(&host(), &grants, options, || ground.again());
    assert_eq!(numbers(&printed), [OK, FBIG, FBIG, FBIG, OK, OK, OK]);
    assert_eq!(fs::metadata(ground.path("out/new")).unwrap().len(), 21);
}

#[test]
fn huge_readdir_is_read_once_and_handed_out() {
    let _case = case(48, "the listing", "read once, 16 MiB");
    let ground = Ground::new();
    let many = ground.path("many");
    fs::create_dir(&many).unwrap();
    for index in 0..3_000 {
        fs::write(many.join(format!("{index:0>200}")), "").unwrap();
    }
    // 600 entries at a time from the start, then from where the first ended.
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "count") (result i64) (local $cookie i64) (local $used i32) (local $at i32) (local $length i32)
            (loop $again
                (if (call $readdir (i32.const 3) (i32.const 1024) (i32.const 32768) (local.get $cookie) (i32.const 0))
                    (then unreachable))
                (local.set $used (i32.load (i32.const 0)))
                (local.set $at (i32.const 0))
                (block $end (loop $next
                    (br_if $end (i32.gt_u (i32.add (local.get $at) (i32.const 24)) (local.get $used)))
                    (local.set $length (i32.load offset=1040 (local.get $at)))
                    (br_if $end (i32.gt_u
                        (i32.add (i32.add (local.get $at) (i32.const 24)) (local.get $length)) (local.get $used)))
                    (local.set $cookie (i64.load offset=1024 (local.get $at)))
                    (local.set $at (i32.add (local.get $at) (i32.add (i32.const 24) (local.get $length))))
                    (br $next)))
                (br_if $again (i32.eq (local.get $used) (i32.const 32768))))
            (local.get $cookie)))"#;
    let host = host();
    let grant: Capability = ground.grant("fs.read", "many", "/many").parse().unwrap();
    let plugin = host.load_blocking(wat.as_bytes().to_vec(), limits(&[]).allow(grant)).unwrap();
    let outcome = plugin.invoke_blocking("count", Input::Words(Vec::new())).unwrap();
    assert_eq!(outcome.value.to_json_text(), "3002", "with `.` and `..`");
    survives(&host);
}

#[test]
fn descriptors_and_paths_are_bounded() {
    let ground = Ground::new();
    let grants = [ground.grant("fs.read", "data", "/data")];
    let long = "a/".repeat(2049);
    assert_eq!(Calls::new().open(FIRST, &long, 0, READ).errors(&grants, || {}), [NAMETOOLONG]);
    let many = (0..1100).fold(Calls::new(), |calls, _| calls.open(FIRST, "file", 0, READ));
    let many = many.close(Fd::Opened(0)).open(FIRST, "file", 0, READ);
    let options = LoadOptions::new().wat(true).allow(grants[0].parse().unwrap());
    let plugin = host().load_blocking(many.program().into_bytes(), options).unwrap();
    let printed = plugin.run_blocking(ProgramInput::new()).unwrap().value.stdout;
    let errors: Vec<u32> =
        String::from_utf8(printed).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(errors.iter().filter(|errno| **errno == OK).count(), 1023 + 2, "the root is one of 1024");
    assert_eq!(errors[1023..1100], [MFILE; 77]);
}

#[test]
fn a_closed_root_stays_closed_and_its_number_is_what_is_opened_next() {
    let ground = Ground::new();
    let grants = [
        format!("fs.read={}/*::/data", ground.path("data").display()),
        ground.grant("fs.write", "out", "/out"),
    ];
    // The number of the shallow folder is given out again, to a folder with everything below.
    let calls = Calls::new()
        .close(FIRST)
        .open(FIRST, "file", 0, READ)
        .open(SECOND, "sub", DIRECTORY, READ)
        .open(FIRST, "file", 0, READ)
        .renumber(SECOND, THIRD)
        .open(SECOND, "file", 0, READ)
        .open(THIRD, "sub/file", 0, WRITE);
    assert_eq!(calls.errors(&grants, || ground.again()), [OK, BADF, OK, OK, OK, BADF, OK]);
}

#[test]
fn what_is_not_there_or_not_what_it_was_granted_as_is_left_out_and_the_rest_is_not() {
    let ground = Ground::new();
    // A folder that is not there, a file as a folder and two folders at one place are left out.
    let grants = [
        ground.grant("fs.read", "none", "/none"),
        format!("fs.read={}/*::/file", ground.path("data/file").display()),
        ground.grant("fs.read", "data", "/data"),
        ground.grant("fs.read", "out", "/data"),
    ];
    let calls =
        Calls::new().open(FIRST, "file", 0, READ).open(SECOND, "file", 0, READ).open(FIRST, "FILE", 0, READ);
    // The second number is the first file's.
    assert_eq!(calls.errors(&grants, || ground.again()), [OK, NOTDIR, NOENT]);
}

#[test]
fn what_is_written_is_recorded_with_what_granted_it() {
    let ground = Ground::new();
    let audit = std::sync::Arc::new(MemoryAudit::new());
    let host = Host::builder().slots(2).audit(audit.clone(), OnAuditFailure::Refuse).build().unwrap();
    let grants = [ground.grant("fs.read", "data", "/data"), ground.grant("fs.write", "out", "/out")];
    let options = grants.iter().fold(limits(&[]), |options, grant| options.allow(grant.parse().unwrap()));
    let calls = Calls::new().open(SECOND, "new", CREATE, WRITE).unlink(SECOND, "new");
    let plugin = host.load_blocking(calls.program().into_bytes(), options).unwrap();
    plugin.run_blocking(ProgramInput::new()).unwrap();
    let used: Vec<(String, u64)> = audit
        .events()
        .into_iter()
        .filter_map(|(_, event)| match event {
            AuditEvent::Used { capability, count } => Some((capability.to_string(), count)),
            _ => None,
        })
        .collect();
    assert_eq!(used, [(grants[1].clone(), 2)]);
}

#[test]
fn proc_self_fd_and_what_else_the_kernel_shows_as_files_is_none() {
    let _case = case(27, "refused", "as any call");
    let ground = Ground::new();
    symlink("/proc/self", ground.path("data/me")).unwrap();
    let link = format!("fs.write={}::/link", ground.path("data/me").display());
    let grants =
        ["fs.read=/proc::/a", "fs.write=/proc/self::/b", "fs.write=/proc/self/mem::/c/mem", "fs.read=/::/d"]
            .map(str::to_owned);
    let calls = Calls::new().open(FIRST, "self/mem", 0, READ).open(FIRST, "mem", 0, READ | WRITE);
    assert_eq!(calls.errors(&grants, || {}), [BADF, BADF], "there is nothing to open them in");
    assert_eq!(calls.errors(&[link], || {}), [BADF, BADF]);
    // Within what was granted, it is a link that leads out.
    let data = [ground.grant("fs.write", "data", "/data")];
    let calls = Calls::new()
        .open(FIRST, "me/mem", 0, READ)
        .symlink("/proc/self/fd", FIRST, "fds")
        .symlink("../../../../../../proc/self", FIRST, "up")
        .open(FIRST, "up/mem", 0, READ);
    assert_eq!(
        calls.errors(&data, || {
            let _ = fs::remove_file(ground.path("data/up"));
        }),
        [PERM, PERM, OK, PERM]
    );
}

#[test]
fn case_folding_a_name_is_another_one_in_another_case() {
    let _case = case(27, "refused", "as any call");
    let ground = Ground::new();
    let upper = || {
        ground.again();
        fs::write(ground.path("data/FILE"), "other").unwrap();
    };
    let grants = [ground.grant("fs.read", "data/file", "/data/file")];
    let calls =
        Calls::new().open(FIRST, "FILE", 0, READ).open(FIRST, "File", 0, READ).open(FIRST, "file", 0, READ);
    assert_eq!(calls.errors(&grants, upper), [PERM, PERM, OK]);
}

#[test]
fn what_was_granted_is_looked_for_again_when_the_disk_has_changed() {
    let ground = Ground::new();
    let (data, other) = (ground.path("data"), ground.path("other"));
    let grants = [ground.grant("fs.read", "data", "/data"), ground.grant("fs.read", "late", "/late")];
    let options = grants.iter().fold(limits(&[]), |options, grant| options.allow(grant.parse().unwrap()));
    let calls = Calls::new().open(FIRST, "file", 0, READ).read(Fd::Opened(0)).stat(SECOND, "file");
    let plugin = host().load_blocking(calls.program().into_bytes(), options).unwrap();
    let run = || {
        let printed = plugin.run_blocking(ProgramInput::new()).unwrap().value.stdout;
        String::from_utf8(printed).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Where there is one folder only, the second number is the file's.
    let file = format!("{BADF:02}");
    assert_eq!(run(), ["00", "00", "content", &file]);
    assert_eq!(plugin.left_out().len(), 1);
    // Another folder of the same name.
    fs::rename(&data, &other).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "new").unwrap();
    assert_eq!(run(), ["00", "00", "new", &file]);
    // A folder that was not there before.
    fs::create_dir(ground.path("late")).unwrap();
    fs::write(ground.path("late/file"), "late").unwrap();
    assert_eq!(run(), ["00", "00", "new", "00"]);
    assert_eq!(plugin.left_out(), []);
    assert_eq!(run(), ["00", "00", "new", "00"], "the same again");
    // A link in its place leads where it leads now, and a file is no folder.
    fs::remove_dir_all(&data).unwrap();
    symlink(&other, &data).unwrap();
    assert_eq!(run(), ["00", "00", "content", "00"]);
    fs::remove_file(&data).unwrap();
    fs::write(&data, "a file").unwrap();
    fs::remove_dir_all(ground.path("late")).unwrap();
    assert_eq!(run()[0], PERM.to_string(), "it is seen as the file `/data` now, and there is no other");
}
