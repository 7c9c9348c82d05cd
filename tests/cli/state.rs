//! Grants, the audit log, and what survives being killed, shared and tampered with.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::plugins::{ASKER, PLAIN, Place, Source, text};
use crate::support::describe;

fn today() -> String {
    jiff::Timestamp::now().strftime("%F").to_string()
}

/// A line of the audit log without its number, time and digest.
fn lines(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').skip(2).collect();
            let shown = words.into_iter().filter(|word| {
                !["digest=", "source=", "wall=", "version=", "from="]
                    .iter()
                    .any(|name| word.starts_with(name))
            });
            shown.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn grants_are_given_shown_and_taken_back() {
    let place = Place::new();
    place.ok(&["install", &place.source("asker", &ASKER), "--deny", "net=*", "--deny", "fs.read=/"]);
    assert_snapshot!(place.show(&["grant", "asker", "net=https://api.example.com", "clock"]), @r"
    exit 0
    --- stderr
    warning: its manifest does not ask for `clock`
    `asker` can send and receive over the network with `api.example.com` by https
    `asker` can read the real time and sleep for real
    ");
    place.ok(&["grant", "asker", "--for", "1h", "fs.read=data"]);
    let grants = place.ok(&["grants", "asker"]).replace(&today(), "[TODAY]");
    assert!(grants.contains("fs.read=data") && grants.contains("until "), "{grants}");
    assert_snapshot!(place.show(&["revoke", "asker", "net=*"]), @r"
    exit 0
    --- stderr
    took `net=https://api.example.com` back from `asker`
    ");
    assert_snapshot!(place.show(&["revoke", "asker", "net=*"]), @r"
    exit 0
    --- stderr
    nothing of that was granted
    ");
    assert_snapshot!(place.show(&["grant", "asker", "nett=x"]), @r"
    exit 2
    --- stderr
    error: unknown capability `nett`
    hint: did you mean `net` or `metadata`?
    ");
    assert_snapshot!(place.show(&["grant", "askr", "clock"]), @r"
    exit 127
    --- stderr
    error: no plugin `askr` is installed
    hint: did you mean `asker`?
    ");
    place.ok(&["revoke", "asker", "--all"]);
    assert_snapshot!(place.show(&["grants"]), @r"
    exit 0
    --- stderr
    nothing is granted
    ");
}

#[test]
fn a_grant_for_a_session_ends_with_it() {
    let place = Place::new();
    place.ok(&["install", &place.source("asker", &ASKER), "--deny", "net=*", "--deny", "fs.read=/"]);
    place.ok(&["grant", "asker", "--session", "fs.read=data"]);
    assert!(place.ok(&["grants"]).contains("this session"));
    let mut other = std::process::Command::new("setsid");
    other.arg("--wait").arg(env!("CARGO_BIN_EXE_airlock")).arg("grants").env("AIRLOCK_HOME", place.home());
    let output = other.output().unwrap();
    assert!(output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("this session"), "{}", describe(&output));
}

#[cfg(target_os = "linux")]
#[test]
fn a_session_whose_leader_is_outside_the_container_is_as_long_as_the_container() {
    let place = Place::new();
    place.ok(&["install", &place.source("asker", &ASKER), "--deny", "net=*", "--deny", "fs.read=/"]);
    let script = format!(
        "{airlock} grant asker --session fs.read=data && {airlock} grants",
        airlock = env!("CARGO_BIN_EXE_airlock")
    );
    // A container by the kernel's own parts: this process's session is not seen in it.
    let contained = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "sh", "-c", script]);
        command.env("AIRLOCK_HOME", place.home()).output().unwrap()
    };
    if !contained("true").status.success() {
        // No container can be made here.
        return;
    }
    let output = contained(&script);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("this session"), "{}", describe(&output));
    let after = contained(&format!("{} grants", env!("CARGO_BIN_EXE_airlock")));
    assert!(after.status.success(), "{}", describe(&after));
    assert!(!String::from_utf8_lossy(&after.stdout).contains("this session"), "{}", describe(&after));
}

#[test]
fn grants_of_other_systems_are_taken_over_for_the_installed_bytes() {
    let place = Place::new();
    place.ok(&["install", &place.source("asker", &ASKER), "--deny", "net=*", "--deny", "fs.read=/"]);
    let file = place.path("permissions.json");
    let sen = r#"{"version":1,"plugins":{"asker":{"granted_at":1,"capabilities_hash":"0","trust_level":"permanent",
        "capabilities":{"env_read":["HOME"]}},"stranger":{"granted_at":1,"capabilities_hash":"0",
        "trust_level":"permanent","capabilities":{}}}}"#;
    std::fs::write(&file, sen).unwrap();
    assert_snapshot!(place.show(&["grants", "--import", &text(&file)]), @r"
    exit 0
    --- stderr
    `asker` can read `HOME` of the environment
    warning: `stranger` is not installed: nothing taken over
    ");
    assert!(place.ok(&["grants", "asker"]).contains("import"));
}

#[test]
fn everything_that_happens_is_in_the_audit_log() {
    let place = Place::new();
    let one = place.source("one", &ASKER);
    place.ok(&["install", &one, "--allow", "fs.read=data", "--deny", "net=*"]);
    place.ok(&["call", "asker", "f", "{}"]);
    place.output(&["call", "asker", "g", "{}"]);
    place.ok(&["revoke", "asker", "fs.read=data"]);
    let two = place.source("two", &Source { version: "2.0.0", answer: "2", ..ASKER });
    place.ok(&["update", "asker", &two, "--yes", "--allow-all-requested"]);
    place.ok(&["rollback", "asker"]);
    place.ok(&["remove", "asker"]);
    assert_snapshot!(lines(&place.ok(&["audit"])).join("\n"), @r"
    installed asker
    granted asker capability=fs.read=data lasting=always by=flags
    denied asker capability=net=https://api.example.com by=flags
    called asker function=f outcome=ok
    called asker function=g outcome=unknown-function
    revoked asker capability=fs.read=data by=command
    updated asker
    granted asker capability=fs.read=data lasting=always by=flags
    granted asker capability=net=https://api.example.com lasting=always by=flags
    rolled_back asker
    removed asker
    ");
    assert_snapshot!(lines(&place.ok(&["audit", "--kind", "called"])).join("\n"), @r"
    called asker function=f outcome=ok
    called asker function=g outcome=unknown-function
    ");
    assert_eq!(place.ok(&["audit", "--plugin", "nobody"]), "");
    assert_eq!(place.ok(&["audit", "--since", "2999-01-01"]), "");
    assert_eq!(place.ok(&["audit", "--since", "1h"]).lines().count(), 11);
    for line in place.ok(&["audit", "--json"]).lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["seq"].as_u64() > Some(0) && record["event"]["kind"].is_string(), "{line}");
    }
}

#[test]
fn the_audit_log_is_followed() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let mut command = place.airlock();
    let mut child = command.args(["audit", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(" installed plain"));
    place.ok(&["call", "plain", "f", "{}"]);
    assert!(lines.next().unwrap().unwrap().contains(" called plain function=f outcome=ok"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_audit_log_is_also_written_as_lines_of_json() {
    let place = Place::new();
    std::fs::create_dir_all(place.home()).unwrap();
    let file = place.path("audit.jsonl");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(place.home().join("airlock.toml"), format!("[audit]\nfile = {:?}\n", text(&file)))
        .unwrap();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    place.ok(&["call", "plain", "f", "{}"]);
    let lines = std::fs::read_to_string(&file).unwrap();
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"]["kind"].to_string())
        .collect();
    assert_eq!(kinds, ["\"installed\"", "\"called\""]);
}

#[test]
fn a_call_that_cannot_be_recorded_fails_or_goes_on_as_the_operator_chose() {
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let config = |on_failure: &str| {
        let text = format!("[audit]\nfile = \"/dev/full\"\non_failure = \"{on_failure}\"\n");
        std::fs::write(place.home().join("airlock.toml"), text).unwrap();
    };
    config("refuse");
    let shown = place.show(&["call", "plain", "f", "{}"]);
    assert!(shown.starts_with("exit 125") && shown.contains("cannot write `/dev/full`"), "{shown}");
    config("continue");
    assert_eq!(place.ok(&["call", "plain", "f", "{}"]), "\"one\"\n");
}

#[test]
fn a_changed_audit_log_is_found_out() {
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    for _ in 0..3 {
        place.ok(&["call", "plain", "f", "{}"]);
    }
    assert_snapshot!(place.show(&["audit", "verify"]), @r"
    exit 0
    --- stdout
    4 records follow from each other
    ");
    let head = place.ok(&["audit", "head"]).trim().to_owned();
    place.ok(&["audit", "verify", "--head", &head]);
    place.ok(&["call", "plain", "f", "{}"]);
    place.ok(&["audit", "verify", "--head", &head]);

    let database = rusqlite::Connection::open(place.home().join("airlock.db")).unwrap();
    let change = |sql: &str| assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
    change("UPDATE audit SET record = replace(record, 'ok', 'no') WHERE seq = 3");
    assert_snapshot!(place.show(&["audit", "verify"]), @r"
    exit 125
    --- stderr
    error: the audit log is broken at record 3: it is not what was written
    ");
    change("UPDATE audit SET record = replace(record, 'no', 'ok') WHERE seq = 3");
    place.ok(&["audit", "verify"]);
    change("DELETE FROM audit WHERE seq > 3");
    place.ok(&["audit", "verify"]);
    assert_snapshot!(place.show(&["audit", "verify", "--head", &head]), @r"
    exit 125
    --- stderr
    error: the audit log is broken at record 4: it is missing
    ");
    change("DELETE FROM audit WHERE seq = 2");
    assert_snapshot!(place.show(&["audit", "verify"]), @r"
    exit 125
    --- stderr
    error: the audit log is broken at record 2: it is missing
    ");
    assert!(place.show(&["doctor"]).contains("the audit log is broken at record 2"));
}

#[test]
fn a_state_that_others_can_write_to_is_refused_and_repaired() {
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let set = |name: &str, mode: u32| {
        let path = place.home().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set("", 0o777);
    assert_snapshot!(place.show(&["list"]), @r"
    exit 125
    --- stderr
    error: `[FOLDER]/home` cannot be trusted: others can write to it (mode 0777)
    hint: `chmod go-w [FOLDER]/home` if it was not meant
    ");
    assert_snapshot!(place.show(&["doctor", "--repair"]), @r"
    exit 0
    --- stderr
    `[FOLDER]/home` has mode 0777: set to 0700
    ");
    place.ok(&["list"]);
    set("airlock.db", 0o666);
    assert!(place.show(&["call", "plain", "f", "{}"]).contains("others can write to it"));
    place.ok(&["doctor", "--repair"]);
    place.ok(&["call", "plain", "f", "{}"]);
    assert_snapshot!(place.show(&["doctor"]), @r"
    exit 0
    --- stderr
    everything is as it should be
    ");
}

#[test]
fn the_doctor_finds_and_sweeps_what_belongs_to_nobody_and_names_what_is_lost() {
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let artifacts = place.home().join("artifacts");
    std::fs::write(artifacts.join("stray.wasm"), "stray").unwrap();
    assert_snapshot!(place.show(&["doctor"]), @r"
    exit 1
    --- stderr
    warning: `artifacts/stray.wasm` belongs to no plugin
    `airlock doctor --repair` puts right what can be
    ");
    assert_snapshot!(place.show(&["doctor", "--repair"]), @r"
    exit 0
    --- stderr
    `artifacts/stray.wasm` belongs to no plugin: removed
    ");
    let kept: Vec<_> = std::fs::read_dir(&artifacts).unwrap().collect();
    assert_eq!(kept.len(), 1);
    std::fs::write(kept[0].as_ref().unwrap().path(), b"\0asm\x01\0\0\0other").unwrap();
    let shown = place.show(&["call", "plain", "f", "{}"]);
    assert!(
        shown.starts_with("exit 125") && shown.contains("its bytes are not what was installed"),
        "{shown}"
    );
    let shown = place.show(&["doctor", "--repair"]);
    assert!(
        shown.starts_with("exit 1") && shown.contains("`plain` cannot run and has to be installed again"),
        "{shown}"
    );
}

#[test]
fn a_version_that_asks_for_no_more_keeps_its_grants_where_the_operator_chose_so() {
    let place = Place::new();
    place.ok(&["install", &place.source("one", &ASKER), "--allow-all-requested"]);
    let two = place.source("two", &Source { version: "2.0.0", answer: "2", ..ASKER });
    assert!(place.show(&["update", "asker", &two, "--yes"]).starts_with("exit 126"));
    std::fs::write(place.home().join("airlock.toml"), "[grants]\nkeep_on_update = true\n").unwrap();
    place.ok(&["update", "asker", &two, "--yes"]);
    assert!(place.ok(&["grants", "asker"]).contains("earlier version"));
    let more = r#","permissions":{"network":["*"]}"#;
    let three = place.source("three", &Source { version: "3.0.0", manifest: more, ..ASKER });
    assert!(place.show(&["update", "asker", &three, "--yes"]).starts_with("exit 126"));
}

#[test]
fn guest_writes_own_cache_no_grant_reaches_airlocks_own_files() {
    let place = Place::new();
    let asks = r#","permissions":{"filesystem":["write:/","read:/"]}"#;
    place.ok(&[
        "install",
        &place.source("asker", &Source { manifest: asks, ..ASKER }),
        "--deny",
        "fs.read=/",
    ]);
    let home = text(&place.home().canonicalize().unwrap());
    let parent = text(place.home().canonicalize().unwrap().parent().unwrap());
    let inside = ["airlock.db", "artifacts", "cache.key", "code", "airlock.toml", "artifacts/x.wasm"];
    let own = inside.map(|name| format!("{home}/{name}"));
    let own = own.iter().cloned().chain([home.clone(), parent.clone(), "/".to_owned()]);
    for path in own.chain([format!("{home}/../home/artifacts")]) {
        for kind in ["fs.read", "fs.write"] {
            place.ok(&["grant", "asker", &format!("{kind}={path}")]);
            let info = place.ok(&["info", "asker"]);
            let in_force = info.split("in force").nth(1).unwrap().split("versions").next().unwrap();
            assert_eq!(in_force.trim(), "none", "{path}");
        }
        place.ok(&["revoke", "asker", "--all"]);
    }
    place.ok(&["grant", "asker", &format!("fs.write={parent}/elsewhere")]);
    let info = place.ok(&["info", "asker"]);
    assert!(info.contains("in force   fs.read=[FOLDER]/elsewhere"), "{info}");
}

#[test]
fn a_plugin_put_into_a_folder_by_hand_is_found_and_not_approved() {
    let place = Place::new();
    let folder = place.write("byhand/asker", &ASKER);
    std::fs::create_dir_all(place.home()).unwrap();
    let config = format!("folders = [{:?}]\n", text(&place.path("byhand")));
    std::fs::write(place.home().join("airlock.toml"), config).unwrap();
    assert_snapshot!(place.show(&["list"]), @r"
    exit 0
    --- stdout
    asker  1.0.0  not approved  6bde2062f784  [FOLDER]/sources/byhand/asker
    ");
    assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"one\"\n");

    let mut command = place.airlock();
    command.args(["call", "asker", "f", "{}"]);
    let mut terminal = crate::terminal::Terminal::run(command);
    terminal.expect("Allow?");
    terminal.type_line("a");
    assert_eq!(terminal.end().0, 0);
    assert!(place.ok(&["list"]).contains("  approved "));
    assert!(place.ok(&["grants", "asker"]).contains("prompt"));
    std::fs::write(folder.join("plugin.wasm"), crate::plugins::wasm("\"two\"")).unwrap();
    assert!(place.ok(&["list"]).contains("not approved"));

    // What would block or never end is said and passed over.
    let bad = place.path("byhand/bad");
    std::fs::create_dir_all(&bad).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(bad.join("cortex.json")).status().unwrap().success());
    let shown = place.show(&["list"]);
    assert!(shown.contains("not approved") && shown.contains("it is no regular file"), "{shown}");
}

/// Starts `airlock` and kills it after a while, as nothing can be that is caught.
fn kill_after(mut child: Child, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    // One that has ended by itself was not killed.
    let _ = child.kill();
    child.wait().unwrap();
}

/// A number for the next point to kill at, in microseconds; the same in every run.
fn point(seed: &mut u64, most: u64) -> Duration {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros((*seed >> 33) % most)
}

fn start(place: &Place, args: &[&str]) -> Child {
    let mut command = place.airlock();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How long a command takes when nobody kills it, in microseconds, and half as much again.
fn most(place: &Place, args: &[&str]) -> u64 {
    let began = Instant::now();
    start(place, args).wait().unwrap();
    u64::try_from(began.elapsed().as_micros()).unwrap() * 3 / 2
}

#[test]
fn kill9_install_update_and_grant_leave_the_old_state_or_the_new_one() {
    let place = Place::new();
    let one = place.source("one", &ASKER);
    let two = place.source("two", &Source { version: "2.0.0", answer: "\"two\"", ..ASKER });
    let install = ["install", one.as_str(), "--allow-all-requested"];
    let update = ["update", "asker", two.as_str(), "--yes", "--allow-all-requested"];
    let grant = ["grant", "asker", "env=HOME", "clock", "random"];
    let mut seed = 1;
    let (mut installed, mut updated, mut granted) = (0, 0, 0);

    let time = most(&place, &install);
    for _ in 0..70 {
        let _ = place.output(&["remove", "asker"]);
        kill_after(start(&place, &install), point(&mut seed, time));
        let list = place.ok(&["list", "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let plugins = list["plugins"].as_array().unwrap();
        if let Some(plugin) = plugins.first() {
            installed += 1;
            assert_eq!((&plugin["version"], plugins.len()), (&"1.0.0".into(), 1));
            assert_eq!(place.ok(&["grants", "asker"]).lines().count(), 2);
            assert_eq!(place.ok(&["call", "asker", "f", "{}"]), "\"one\"\n");
        }
    }
    let _ = place.output(&install);
    let time = most(&place, &update);
    for _ in 0..70 {
        let _ = place.output(&["rollback", "asker"]);
        kill_after(start(&place, &update), point(&mut seed, time));
        let answer = place.ok(&["call", "asker", "f", "{}"]);
        let version = place.ok(&["list"]);
        let is_new = version.contains("2.0.0");
        assert_eq!(answer, if is_new { "\"two\"\n" } else { "\"one\"\n" });
        updated += u32::from(is_new);
    }
    let time = most(&place, &grant);
    for _ in 0..60 {
        place.ok(&["revoke", "asker", "--all"]);
        kill_after(start(&place, &grant), point(&mut seed, time));
        let count = place.ok(&["grants", "asker"]).lines().count();
        assert!(count == 0 || count == 3, "{count} of three grants");
        granted += u32::from(count == 3);
    }
    assert!(installed > 0 && installed < 70 && updated > 0 && granted > 0, "{installed} {updated} {granted}");
    place.ok(&["audit", "verify"]);
    place.ok(&["doctor", "--repair"]);
    assert_eq!(place.show(&["doctor"]), "exit 0\n--- stderr\neverything is as it should be\n");
}

#[test]
fn one_process_after_another_leaves_no_more_of_a_log_than_the_next_one_can_read_quickly() {
    let place = Place::new();
    let source = place.source("plain", &PLAIN);
    for _ in 0..60 {
        place.ok(&["install", &source]);
        place.ok(&["remove", "plain"]);
    }
    let log = std::fs::metadata(place.home().join("airlock.db-wal")).unwrap().len();
    assert!(log < 2 << 20, "{log} bytes");
}

#[test]
fn kill9_audit_write_leaves_a_chain_that_verifies() {
    let place = Place::new();
    place.ok(&["install", &place.source("plain", &PLAIN)]);
    let call = ["call", "plain", "f", "{}"];
    let time = most(&place, &call);
    let mut seed = 2;
    for _ in 0..60 {
        kill_after(start(&place, &call), point(&mut seed, time));
    }
    place.ok(&["audit", "verify"]);
    assert_eq!(place.ok(&call), "\"one\"\n");
}

#[test]
fn two_processes_eight_of_them_install_grant_and_call_at_once_and_lose_nothing() {
    let place = Place::new();
    let names: Vec<String> = (0..8).map(|index| format!("plugin{index}")).collect();
    let answers: Vec<String> = (0..8).map(|index| format!("\"answer {index}\"")).collect();
    let sources: Vec<String> = names
        .iter()
        .zip(&answers)
        .map(|(name, answer)| place.source(name, &Source { name, answer, ..ASKER }))
        .collect();
    std::thread::scope(|scope| {
        for (index, name) in names.iter().enumerate() {
            let (place, source, answer) = (&place, &sources[index], &answers[index]);
            scope.spawn(move || {
                place.ok(&["install", source, "--deny", "net=*", "--allow", "fs.read=data"]);
                for round in 0..5 {
                    place.ok(&["grant", name, &format!("env=VARIABLE_{round}")]);
                    assert_eq!(place.ok(&["call", name, "f", "{}"]), format!("{answer}\n"));
                }
            });
        }
    });
    assert_eq!(place.ok(&["list"]).lines().count(), 8);
    for name in &names {
        assert_eq!(place.ok(&["grants", name]).lines().count(), 7, "{name}");
    }
    assert_eq!(place.ok(&["audit", "--kind", "called"]).lines().count(), 40);
    assert_eq!(place.ok(&["audit", "verify"]), "104 records follow from each other\n");
    assert_eq!(place.show(&["doctor"]), "exit 0\n--- stderr\neverything is as it should be\n");
}
