//! docs/plugins.md, typed at a pseudo-terminal.

use std::path::Path;

use crate::plugins::Place;
use crate::support::{follows, repository};
use crate::terminal::Terminal;

/// The page's `terminal` blocks, line by line: what begins with `$ ` is typed, and what
/// follows is on the screen, answers included. `…` stands for anything.
#[test]
fn the_walk_through_from_install_to_rollback_is_what_the_page_says() {
    let place = Place::new();
    let folder = place.path("");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink(repository().canonicalize().unwrap().join("plugins"), folder.join("plugins"))
        .unwrap();
    std::fs::create_dir_all(folder.join("texts")).unwrap();
    let page = std::fs::read_to_string(repository().join("docs/plugins.md")).unwrap();
    let mut typed = 0;
    for block in page.split("```terminal\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for example in format!("\n{block}").split("\n$ ").skip(1) {
            let (line, expected) = example.split_once('\n').unwrap_or((example, ""));
            let screen = type_in(&place, &folder, line, expected);
            if let Err(why) = follows(&screen, expected) {
                panic!("`{line}` showed\n{screen}\ninstead of\n{expected}\n({why})");
            }
            typed += 1;
        }
    }
    assert!(typed > 10, "only {typed} commands were found");
}

/// Types a line and the answers that the page has, and returns what was on the screen.
fn type_in(place: &Place, folder: &Path, line: &str, expected: &str) -> String {
    let path = Path::new(env!("CARGO_BIN_EXE_airlock")).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    command
        .env("PATH", path)
        .env("AIRLOCK_HOME", place.home())
        .env("NO_COLOR", "1")
        .env_remove("CLICOLOR_FORCE");
    let mut terminal = Terminal::run(command);
    for (question, answer) in expected.lines().filter_map(|line| line.split_once("[N]o:")) {
        terminal.expect(&format!("{question}[N]o: "));
        terminal.type_line(answer.trim());
    }
    let (_, screen) = terminal.end();
    place.plain(&screen)
}
