//! What the templates promise, without making anything of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::template::{ABIS, LANGS, SDK, SDK_MANIFEST, TEMPLATES, filled};
use super::{Sdk, command_name, template, values};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files below a folder, as paths from there.
fn below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("it is there") {
        let entry = entry.expect("it is there");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => below(&entry.path(), &format!("{path}/"), found),
            false => {
                found.insert(path);
            }
        }
    }
}

#[test]
fn values_are_put_in_once_and_other_braces_stay() {
    let values = [("a", "{{b}}".to_owned()), ("b", "x".to_owned())];
    assert_eq!(filled("{{a}}-{{b}}, {{{c}}} {{", &values), "{{b}}-x, {{{c}}} {{");
}

#[test]
fn nothing_is_left_to_put_in() {
    let values = values("a-name", "command", "what it does", &Sdk::Copy);
    for (path, text) in TEMPLATES.iter().flat_map(|template| template.files) {
        for text in [path, text] {
            let filled = filled(text, &values);
            let left = filled.split("{{").skip(1).find(|rest| rest.starts_with(char::is_alphabetic));
            assert_eq!(left, None, "{path}");
        }
    }
}

#[test]
fn a_command_is_a_name_without_its_hosts() {
    for (name, command) in [("fledge-my-lint", "my-lint"), ("lint", "lint"), ("fledge--x", "fledge--x")] {
        assert_eq!(command_name(name), command);
    }
}

#[test]
fn each_template_is_listed_once_by_names_that_are_known() {
    let mut seen = BTreeSet::new();
    for template in &TEMPLATES {
        assert!(ABIS.iter().any(|(abi, _)| *abi == template.abi), "{}", template.abi);
        assert!(LANGS.iter().any(|(lang, _)| *lang == template.lang), "{}", template.lang);
        assert!(seen.insert((template.abi, template.lang)), "{} {}", template.abi, template.lang);
    }
    let default = template(None, None).expect("there is one");
    assert_eq!((default.abi, default.lang), (ABIS[0].0, LANGS[0].0));
}

/// What is in the folder of templates is all in some plugin.
#[test]
fn every_file_of_a_template_is_written() {
    let mut there = BTreeSet::new();
    below(&repository().join("crates/airlock-cli/templates"), "", &mut there);
    let written: usize = TEMPLATES.iter().map(|template| template.files.len()).sum();
    // The SDK's manifest is no template's.
    assert_eq!(there.len(), written + 1, "{there:?}");
}

#[test]
fn the_copy_of_the_sdk_is_all_of_it() {
    let mut there = BTreeSet::new();
    below(&repository().join("crates/airlock-sdk/src"), "sdk/src/", &mut there);
    let copied: BTreeSet<String> = SDK.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(copied, there);
}

/// The one of the workspace takes some from there, and has lints that are this project's.
#[test]
fn the_copys_manifest_says_what_the_sdks_says() {
    let read = |text: &str| text.parse::<toml::Table>().expect("it is TOML");
    let file = |path: &str| read(&std::fs::read_to_string(repository().join(path)).expect("it is there"));
    let (mut own, root) = (file("crates/airlock-sdk/Cargo.toml"), file("Cargo.toml"));
    own.remove("lints");
    let package = own["package"].as_table_mut().expect("it is a table");
    for (key, value) in package.iter_mut() {
        if value.get("workspace").is_some() {
            *value = root["workspace"]["package"][key].clone();
        }
    }
    assert_eq!(read(SDK_MANIFEST.1), own);
}
