//! What a plugin may do: asked, granted, bounded.

use airlock_host::{
    Basis, CAPABILITIES, Capability, CapabilityKind, Ceiling, Grammar, LoadOptions, Place, Policy, Request,
};

use crate::support::{host, load, text};

const CLOCK: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "f") (result i32) i32.const 1))"#;

#[test]
fn the_reference_page_is_made_from_the_table() {
    let mut page = String::from(
        "# Capabilities\n\nWhat a plugin may ask for, and what `--allow`, `--deny`, `[ceiling]` in `airlock.toml` and \
         manifests\nname. A grant covers what it says and no more; one that may write may also read. Texts are \
         brought\ninto one form before they are compared: `./data/` is `data`.\n\n\
         | capability | risk | a plugin that has it can |\n|---|---|---|\n",
    );
    for row in &CAPABILITIES {
        let about = row.about.replacen("{}", row.scope, 1);
        page.push_str(&format!("| `{}` | {} | {about} |\n", row.usage(), row.risk));
    }
    page.push_str("\n## Scopes\n\n| scope | how it is written |\n|---|---|\n");
    let mut shown: Vec<Grammar> = Vec::new();
    for row in CAPABILITIES.iter().filter(|row| !row.scope.is_empty()) {
        if !shown.contains(&row.grammar) {
            shown.push(row.grammar);
            let scopes: Vec<String> = CAPABILITIES
                .iter()
                .filter(|other| other.grammar == row.grammar)
                .map(|other| format!("`{}`", other.scope))
                .collect();
            let mut scopes = scopes;
            scopes.dedup();
            page.push_str(&format!("| {} | {} |\n", scopes.join(", "), row.grammar.about()));
        }
    }
    page.push_str(
        "\nThe risk of a grant is high whatever the table says where its scope is all there is: `env=*`,\n\
         `fs.read=/`.\n\n\
         `net=*` and the name of a host mean hosts of the internet. A name that leads to the machine\n\
         itself, to a private network or to a cloud's metadata is refused unless that address is granted\n\
         as well, as `net=http://127.0.0.1:8080` or `net=10.0.0.0/8`.\n",
    );
    let path = crate::support::repository("docs/capabilities.md");
    if std::env::var_os("AIRLOCK_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, page, "docs/capabilities.md is made with AIRLOCK_UPDATE_DOCS=1 cargo test");
}

fn allowed(options: LoadOptions) -> Vec<String> {
    let plugin = load(&host(), CLOCK, options);
    plugin.policy().allowed().map(Capability::to_string).collect()
}

#[test]
fn what_is_denied_stays_denied_whatever_is_granted() {
    let clock = || Capability::all_of(CapabilityKind::Clock);
    assert_eq!(allowed(text()), [""; 0]);
    assert_eq!(allowed(text().allow(clock())), ["clock"]);
    assert_eq!(allowed(text().allow_all_requested()), ["clock"]);
    assert_eq!(allowed(text().allow(Capability::all_of(CapabilityKind::Random))), [""; 0]);
    assert_eq!(allowed(text().allow_all_requested().deny(clock())), [""; 0]);
    let ceiling = Ceiling::new().allow_only([]);
    assert_eq!(allowed(text().ceiling(ceiling).allow(clock())), [""; 0]);
}

#[test]
fn a_hosts_ceiling_and_that_of_a_name_hold_for_its_plugins() {
    let clock = || Capability::all_of(CapabilityKind::Clock);
    let builder = || airlock_host::Host::builder();
    let bounded = builder().ceiling(Ceiling::new().deny([clock()])).build().unwrap();
    let named =
        builder().plugin("timer", Default::default(), Ceiling::new().deny([clock()])).build().unwrap();
    let count =
        |host, options: LoadOptions| load(host, CLOCK, options.allow(clock())).policy().allowed().count();
    assert_eq!(count(&bounded, text()), 0);
    assert_eq!((count(&named, text()), count(&named, text().name("timer"))), (1, 0));
}

#[test]
fn relative_paths_begin_in_the_folder_a_plugin_works_in() {
    let request: Capability = "fs.read=./data".parse().unwrap();
    let requests = [Request { capability: request.clone(), required: true }];
    let place = Place { working: "/srv/app".into(), ..Place::default() };
    let covered = |grant: &str| {
        let (grants, ceiling) = ([grant.parse().unwrap()], Ceiling::new());
        let basis =
            Basis { requests: &requests, grants: &grants, baseline: &[], ceiling: &ceiling, place: &place };
        Policy::decide(basis).allows(&request)
    };
    assert!(covered("fs.read=/srv") && covered("fs.write=.") && !covered("fs.read=/srv/app/dat"));
}
