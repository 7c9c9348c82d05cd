//! Cron plugins, which a manager runs at their times.

use airlock_host::Input;
use airlock_host::manager::Allowed;

use super::{World, folder, granted, manifest};

fn cron(schedule: &str) -> tempfile::TempDir {
    folder(
        "prx-cron",
        &manifest(&format!(
            "[[capabilities]]\ntype = \"cron\"\nname = \"c\"\nschedule = \"{schedule}\"\n\
             [permissions]\nrequired = [\"log\", \"kv\"]\n"
        )),
    )
}

#[test]
fn a_schedule_of_six_fields_runs_it_each_second_until_it_is_unloaded() {
    let world = World::new();
    let manager = world.manager();
    let home = cron("* * * * * *");
    manager.load_blocking("p", home.path(), granted()).unwrap();
    assert_eq!(world.line(), "info: run 1");
    assert_eq!(world.line(), "info: run 2");
    manager.unload_blocking("p").unwrap();
    assert_eq!(manager.list().len(), 0);
    let runs = world.kv.entries("p")["runs"].clone();
    let runs: u64 = String::from_utf8(runs).unwrap().parse().unwrap();
    assert!(runs >= 2);
}

#[test]
fn each_schedule_of_a_plugin_runs_it() {
    let world = World::new();
    let capability = |name: &str, schedule: &str| {
        format!("[[capabilities]]\ntype = \"cron\"\nname = \"{name}\"\nschedule = \"{schedule}\"\n")
    };
    let both = [capability("rarely", "0 0 29 2 *"), capability("often", "* * * * * *")].concat();
    let home = folder("prx-cron", &manifest(&format!("{both}[permissions]\nrequired = [\"log\", \"kv\"]\n")));
    let _managed = world.manager().load_blocking("p", home.path(), granted()).unwrap();
    assert_eq!(world.line(), "info: run 1");
}

#[test]
fn a_reload_changes_the_schedule() {
    let world = World::new();
    let manager = world.manager();
    let home = cron("0 0 29 2 *");
    let managed = manager.load_blocking("p", home.path(), granted()).unwrap();
    managed.allowed(Allowed::AnyBytes);
    let text = std::fs::read_to_string(home.path().join("plugin.toml")).unwrap();
    super::put(home.path(), "prx-cron", &text.replace("0 0 29 2 *", "* * * * * *"));
    assert_eq!(managed.metrics().calls, 0);
    manager.reload_blocking("p").unwrap();
    assert_eq!(world.line(), "info: run 1");
}

#[test]
fn it_can_be_run_at_any_time_by_whoever_calls_it() {
    let world = World::new();
    let home = cron("0 3 * * *");
    let plugin = world.host.load_blocking(home.path(), granted()).unwrap();
    for count in 1..=2 {
        let outcome = plugin.invoke_blocking("run", Input::Words(Vec::new())).unwrap();
        assert_eq!(outcome.value.to_json_text(), format!("\"run {count}\""));
    }
}

#[test]
fn a_schedule_that_is_none_is_refused_when_it_is_loaded() {
    let world = World::new();
    let home = cron("every day");
    let error = world.manager().load_blocking("p", home.path(), granted()).unwrap_err();
    assert_eq!(error.code(), "abi-mismatch", "{error}");
    assert!(error.to_string().contains("schedule"), "{error}");
}
