//! The grammar and the order of capabilities.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use crate::Place;

use super::{CAPABILITIES, Capability, CapabilityKind, Grammar, Risk, Scheme, Scope};

fn place() -> Place {
    Place { working: "/w".into(), home: Some("/h".into()), own: Some("/o".into()), ..Place::default() }
}

fn read(text: &str) -> Capability {
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

fn refused(text: &str) -> String {
    match text.parse::<Capability>() {
        Ok(capability) => panic!("`{text}` was read as `{capability}`"),
        Err(error) => error.to_string(),
    }
}

/// Texts and the canonical form of each.
const FORMS: [(&str, &str); 43] = [
    ("clock", "clock"),
    ("kv", "kv=1MiB"),
    ("kv=65536", "kv=64KiB"),
    ("kv=1.5MB", "kv=1500000"),
    ("kv=18446744073709551615", "kv=18446744073709551615"),
    ("stdin=inherit", "stdin=inherit"),
    ("fs.read=./data", "fs.read=data"),
    ("fs.read=data/", "fs.read=data"),
    ("fs.read=data//x/./y/..", "fs.read=data/x"),
    ("fs.read=.", "fs.read=."),
    ("fs.read=./*", "fs.read=./*"),
    ("fs.read=*", "fs.read=./*"),
    ("fs.read=data/*", "fs.read=data/*"),
    ("fs.read=/*", "fs.read=/*"),
    ("fs.read=/../etc/.", "!"),
    ("fs.write=/etc/../tmp", "fs.write=/tmp"),
    ("fs.write=~", "fs.write=~"),
    ("fs.write=~/notes/", "fs.write=~/notes"),
    ("fs.write=./~x", "fs.write=./~x"),
    ("fs.write=./@x", "fs.write=./@x"),
    ("fs.write=@/", "fs.write=@"),
    ("fs.write=@/a/*::/b", "fs.write=@/a/*::/b"),
    ("fs.write=out::/work/./out/", "fs.write=out::/work/out"),
    ("fs.write=out::/", "fs.write=out::/"),
    ("env=HOME", "env=HOME"),
    ("env=MY_*", "env=MY_*"),
    ("env=*", "env=*"),
    ("net=HTTPS://API.Example.com/", "net=https://api.example.com"),
    ("net=https://api.example.com:443", "net=https://api.example.com"),
    ("net=http://api.example.com.:8080", "net=http://api.example.com:8080"),
    ("net=https://*.example.com:*", "net=https://*.example.com:*"),
    ("net=tcp://mail.example.com:25", "net=tcp://mail.example.com:25"),
    ("net=example.com", "net=example.com"),
    ("net=example.com:*", "net=example.com"),
    ("net=10.1.2.3/8", "net=10.0.0.0/8"),
    ("net=http://127.0.0.1:9000", "net=http://127.0.0.1:9000"),
    ("net=fd00::1/8", "net=[fd00::]/8"),
    ("net=http://[::1]:80", "net=http://[::1]"),
    ("net=0.0.0.0/0", "net=0.0.0.0/0"),
    ("exec=git  log   *", "exec=git log *"),
    ("exec=/usr/bin/env 'a b'* --x=*", "exec=/usr/bin/env 'a b'* --x=*"),
    ("exec=git '' * *", "exec=git '' * *"),
    ("exec=* *", "exec=*"),
];

#[test]
fn rows_are_in_the_order_of_the_kinds() {
    for (index, row) in CAPABILITIES.iter().enumerate() {
        assert_eq!(row.kind as usize, index, "{}", row.name);
        let scoped = !matches!(row.grammar, Grammar::None | Grammar::Word(_));
        assert_eq!(row.about.contains("{}"), scoped, "{}", row.name);
        assert_eq!(row.scope.is_empty(), !scoped, "{}", row.name);
    }
}

#[test]
fn texts_that_mean_the_same_have_one_canonical_form() {
    for (text, canonical) in FORMS {
        if canonical == "!" {
            assert!(refused(text).contains("leads out of the file system"), "{text}");
            continue;
        }
        assert_eq!(read(text).to_string(), canonical, "{text}");
        assert_eq!(read(canonical), read(text), "{text}");
    }
}

#[test]
fn an_unknown_kind_names_the_nearest() {
    let error = "clok".parse::<Capability>().expect_err("unknown");
    assert_eq!(error.to_string(), "unknown capability `clok`");
    assert_eq!(error.hint(), Some("did you mean `clock` or `log`?"));
    let error = "fs.reed=x".parse::<Capability>().expect_err("unknown");
    assert_eq!(error.hint(), Some("did you mean `fs.read` or `fs.write`?"));
}

#[test]
fn a_scope_that_cannot_be_read_says_why() {
    let cases = [
        ("fs.read", "`fs.read`: needs a scope: `fs.read=PATH`"),
        ("fs.read=", "`fs.read=`: a path is missing; `.` is the folder the plugin is run in"),
        ("clock=now", "`clock=now`: has no scope"),
        ("stdin", "`stdin`: needs a scope: `stdin=inherit`"),
        ("stdin=all", "`stdin=all`: the only scope is `inherit`"),
        ("fs.read=../x", "`fs.read=../x`: `..` leads out of the folder it begins in; write an absolute path"),
        (
            "fs.read=a/../../x",
            "`fs.read=a/../../x`: `..` leads out of the folder it begins in; write an absolute path",
        ),
        ("fs.read=~/..", "`fs.read=~/..`: `..` leads out of the folder it begins in; write an absolute path"),
        (
            "fs.read=~root",
            "`fs.read=~root`: `~` is your own home folder; those of others have to be written out",
        ),
        ("fs.read=@x", "`fs.read=@x`: `@` is the plugin's own folder; write `./@…` for a file of that name"),
        ("fs.read=da*", "`fs.read=da*`: `*` stands for a folder's files at the end of a path only, as `/*`"),
        ("fs.read=a::b", "`fs.read=a::b`: what follows `::` begins with `/`"),
        ("fs.read=a::/../b", "`fs.read=a::/../b`: `..` leads out of what the plugin sees"),
        ("fs.read=a\nb", "`fs.read=a\\nb`: a scope has no control characters and no invisible ones"),
        (
            "fs.read=a\u{202e}b",
            "`fs.read=a\\u{202e}b`: a scope has no control characters and no invisible ones",
        ),
        ("env=", "`env=`: a name is missing"),
        ("env=A*B", "`env=A*B`: `*` stands at the end of a name only"),
        ("env=A=B", "`env=A=B`: a name has no spaces and no `=`"),
        ("net=", "`net=`: a host is missing"),
        ("net=ftp://x", "`net=ftp://x`: `ftp` is not `http`, `https`, `tcp` or `udp`"),
        ("net=https://u:p@x.example", "`net=https://u:p@x.example`: an origin has no user and no password"),
        ("net=https://x.example/v1", "`net=https://x.example/v1`: an origin ends after its host and port"),
        ("net=https://x.example:0", "`net=https://x.example:0`: `0` is no port"),
        ("net=https://x.example:65536", "`net=https://x.example:65536`: `65536` is no port"),
        (
            "net=tcp://x.example",
            "`net=tcp://x.example`: needs a port: `tcp://HOST:25`, or `tcp://HOST:*` for all",
        ),
        ("net=a*.example", "`net=a*.example`: `*` stands for a host, or before `.NAME`"),
        ("net=-a.example", "`net=-a.example`: `-a.example` is no host"),
        ("net=127.1", "`net=127.1`: `127.1` is no address such as `127.0.0.1`"),
        ("net=0x7f000001", "`net=0x7f000001`: `0x7f000001` is no address such as `127.0.0.1`"),
        ("net=2130706433", "`net=2130706433`: `2130706433` is no address such as `127.0.0.1`"),
        ("net=10.0.0.0/33", "`net=10.0.0.0/33`: `/33` is no number of leading bits, up to 32"),
        (
            "net=bücher.example",
            "`net=bücher.example`: a host is written in ASCII, as `xn--…` where it has other letters",
        ),
        ("exec=", "`exec=`: a program is missing"),
        ("exec='git", "`exec='git`: a quote is not closed"),
        ("exec=./x", "`exec=./x`: a program is a name on the path, or an absolute path without `..`"),
        (
            "exec=/usr/../x",
            "`exec=/usr/../x`: a program is a name on the path, or an absolute path without `..`",
        ),
        ("exec=git a*b", "`exec=git a*b`: `*` stands at the end of an argument only"),
        ("exec=gi*", "`exec=gi*`: a program is written out, or `*` for all"),
        ("kv=much", "`kv=much`: `much` is no size such as `64MiB`"),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected);
    }
}

#[test]
fn what_covers_what() {
    let covers = [
        ("fs.read=./data", "fs.read=data"),
        ("fs.read=data", "fs.read=data/sub"),
        ("fs.read=data", "fs.read=data/*"),
        ("fs.read=data", "fs.read=data::/elsewhere"),
        ("fs.write=data", "fs.read=data"),
        ("fs.read=data::/d", "fs.read=data/a"),
        ("env=MY_*", "env=MY_X"),
        ("env=MY_*", "env=MY_*"),
        ("net=https://*.github.com", "net=https://api.github.com"),
        ("net=*", "net=https://x.example"),
        ("net=https://*", "net=https://x.example"),
        ("net=x.example", "net=tcp://x.example:22"),
        ("net=10.0.0.0/8", "net=10.1.0.0/16"),
        ("exec=git *", "exec=git status"),
        ("exec=git --x=*", "exec=git --x=1"),
        ("exec=*", "exec=rm -rf *"),
        ("kv=2MiB", "kv"),
    ];
    for (more, less) in covers {
        assert!(read(more).covers(&read(less)), "{more} covers {less}");
    }
    let not = [
        ("fs.read=data", "fs.write=data"),
        ("fs.read=data", "fs.read=data2"),
        ("fs.read=data/*", "fs.read=data"),
        ("fs.read=data/*", "fs.read=data/sub"),
        ("fs.read=data/*", "fs.read=data/sub/*"),
        ("fs.read=data", "fs.read=/data"),
        ("env=MY_X", "env=MY_*"),
        ("net=https://github.com", "net=http://github.com"),
        ("net=https://github.com", "net=https://github.com:8443"),
        ("net=https://*.github.com", "net=https://github.com"),
        ("net=https://*.github.com", "net=https://evilgithub.com"),
        ("net=https://x.example", "net=x.example"),
        ("net=10.0.0.0/8", "net=11.0.0.0/8"),
        ("net=10.0.0.0/8", "net=0.0.0.0/0"),
        ("exec=git", "exec=git status"),
        ("exec=git status", "exec=git status *"),
        ("exec=git *", "exec=/usr/bin/git status"),
        ("kv", "kv=2MiB"),
        ("email.read=*", "email.send=me"),
    ];
    for (more, less) in not {
        assert!(!read(more).covers(&read(less)), "{more} does not cover {less}");
    }
}

#[test]
fn a_resolved_path_is_absolute_and_seen_where_it_was() {
    let here = |text: &str| {
        read(text)
            .resolved(&Place {
                working: "/srv/app".into(),
                home: Some("/home/me".into()),
                own: Some("/var/own".into()),
                programs: [("git".to_owned(), "/usr/bin/git".into())].into(),
            })
            .to_string()
    };
    assert_eq!(here("fs.read=data"), "fs.read=/srv/app/data::/data");
    assert_eq!(here("fs.read=."), "fs.read=/srv/app::/");
    assert_eq!(here("fs.read=~/notes/*"), "fs.read=/home/me/notes/*::/notes");
    assert_eq!(here("fs.write=out::/o"), "fs.write=/srv/app/out::/o");
    assert_eq!(here("fs.read=/etc"), "fs.read=/etc");
    assert_eq!(here("fs.write=@::/plugin"), "fs.write=/var/own::/plugin");
    assert_eq!(here("clock"), "clock");
    assert_eq!(here("exec=git status *"), "exec=/usr/bin/git status *");
    assert_eq!(here("exec=gitk"), "exec=gitk");
    let homeless = read("fs.read=~/x").resolved(&Place { working: "/srv".into(), ..Place::default() });
    assert_eq!(homeless.to_string(), "fs.read=~/x");
}

#[test]
fn a_sentence_says_what_is_given_away() {
    let said = |text: &str| (read(text).risk(), read(text).sentence());
    let cases = [
        ("clock", Risk::Low, "read the real time and sleep for real"),
        ("fs.read=data", Risk::Medium, "read `data` in the folder it is run in and everything below it"),
        ("fs.read=.", Risk::Medium, "read the folder it is run in and everything below it"),
        (
            "fs.read=data/*",
            Risk::Medium,
            "read the files in `data` in the folder it is run in, without its folders",
        ),
        ("fs.read=/", Risk::High, "read every file of this machine"),
        ("fs.write=~", Risk::High, "read, create, change and delete everything in your home folder"),
        ("fs.write=@", Risk::Low, "read, create, change and delete everything in a folder of its own"),
        ("fs.read=/etc/*", Risk::Medium, "read the files in `/etc`, without its folders"),
        ("env=MY_*", Risk::Medium, "read `MY_*` of the environment"),
        ("env=*", Risk::High, "read every name of the environment"),
        ("net=https://x.example", Risk::High, "send and receive over the network with `x.example` by https"),
        ("net=*", Risk::High, "send and receive over the network with every host on any port"),
        (
            "net=tcp://*.x.example:25",
            Risk::High,
            "send and receive over the network with every host below `x.example` on port 25 by tcp",
        ),
        ("exec=git", Risk::High, "run `git` outside the sandbox, as you"),
        ("exec=git *", Risk::High, "run `git` with any arguments outside the sandbox, as you"),
        (
            "exec=git log *",
            Risk::High,
            "run `git log` with any further arguments outside the sandbox, as you",
        ),
        ("kv=64KiB", Risk::Low, "keep 64KiB of its own data between calls"),
        ("email.send=work", Risk::High, "send mail as `work`"),
    ];
    for (text, risk, sentence) in cases {
        assert_eq!(said(text), (risk, sentence.to_owned()), "{text}");
    }
}

#[test]
fn all_of_a_kind_covers_all_of_it() {
    for row in &CAPABILITIES {
        let all = Capability::all_of(row.kind);
        assert_eq!(read(&all.to_string()), all);
        for (text, canonical) in FORMS {
            if canonical != "!" && read(text).kind() == row.kind {
                let resolved = read(text).resolved(&place());
                assert!(all.covers(&resolved), "{all} covers {resolved}");
            }
        }
    }
}

fn any_capability() -> impl Strategy<Value = Capability> {
    let segment = || select(vec!["a", "b", "..", ".", "", "data", "~"]);
    let path = (select(vec!["", "./", "/", "~/", "@/"]), prop::collection::vec(segment(), 0..4))
        .prop_map(|(base, parts)| format!("{base}{}", parts.join("/")));
    let guest = select(vec!["", "::/", "::/a", "::/g/a"]);
    let paths = (path, select(vec!["", "/*"]), guest)
        .prop_map(|(path, shallow, guest)| format!("{path}{shallow}{guest}"));
    let names = prop::string::string_regex("[AB_]{0,3}\\*?").expect("a pattern");
    let host = select(vec![
        "*",
        "a.b",
        "x.a.b",
        "*.b",
        "*.a.b",
        "B.",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "0.0.0.0/0",
        "[::1]",
        "::/0",
        "[fd00::]/8",
    ]);
    let origins =
        (select(vec!["", "http://", "https://", "tcp://"]), host, select(vec!["", ":80", ":443", ":*"]))
            .prop_map(|(scheme, host, port)| format!("{scheme}{host}{port}"));
    let commands = prop::collection::vec(select(vec!["git", "a", "b*", "*", "''", "--x=*", "'a b'"]), 1..4)
        .prop_map(|words| words.join(" "));
    let quotas = (0_u64..5, select(vec![0, 10, 20])).prop_map(|(count, bits)| (count << bits).to_string());
    let scoped = prop_oneof![
        paths.clone().prop_map(|path| format!("fs.read={path}")),
        paths.prop_map(|path| format!("fs.write={path}")),
        names.prop_map(|name| format!("env={name}")),
        origins.prop_map(|origin| format!("net={origin}")),
        commands.prop_map(|command| format!("exec={command}")),
        quotas.prop_map(|quota| format!("kv={quota}")),
        Just("clock".to_owned()),
    ];
    scoped.prop_filter_map("not a capability", |text| text.parse().ok())
}

/// Whether having the first may give a part of the second at all.
fn related(a: &Capability, b: &Capability) -> bool {
    a.kind() == b.kind() || (a.kind(), b.kind()) == (CapabilityKind::FsWrite, CapabilityKind::FsRead)
}

/// Things one could do, each with what it takes.
fn permits(capability: &Capability, deed: &Deed) -> bool {
    match (capability.scope(), deed) {
        (Scope::Name(name), Deed::Name(asked)) => name.permits(asked),
        (Scope::Origin(origin), Deed::Connect(scheme, host, port)) => origin.permits(*scheme, host, *port),
        (Scope::Command(command), Deed::Run(words)) => command.permits(words[0], &words[1..]),
        (Scope::Path(path), Deed::Open { path: asked, write }) => {
            let Some(root) = path.absolute() else { return false };
            let Ok(below) = Path::new(asked).strip_prefix(&root) else { return false };
            let reachable = !path.is_shallow() || below.components().count() == 1;
            reachable && (!write || capability.kind() == CapabilityKind::FsWrite)
        }
        (Scope::Quota(quota), Deed::Keep(bytes)) => quota.bytes() >= *bytes,
        _ => false,
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Name(String),
    Connect(Scheme, &'static str, u16),
    Run(Vec<&'static str>),
    Open { path: &'static str, write: bool },
    Keep(u64),
}

fn any_deed() -> impl Strategy<Value = Deed> {
    let host = select(vec!["a.b", "X.A.B", "x.a.b.", "b", "10.1.2.3", "10.0.0.1", "[::1]", "fd12::1", "c"]);
    prop_oneof![
        prop::string::string_regex("[AB_]{0,4}").expect("a pattern").prop_map(Deed::Name),
        (select(Scheme::ALL.to_vec()), host, select(vec![80, 443, 25]))
            .prop_map(|(scheme, host, port)| Deed::Connect(scheme, host, port)),
        prop::collection::vec(select(vec!["git", "a", "b", "bc", "--x=1", "", "a b"]), 1..4)
            .prop_map(Deed::Run),
        (select(vec!["/a", "/a/b", "/w/a", "/w/a/b", "/w/data/a/b", "/h/a", "/"]), any::<bool>())
            .prop_map(|(path, write)| Deed::Open { path, write }),
        (0_u64..5 << 20).prop_map(Deed::Keep),
    ]
}

proptest! {
    #[test]
    fn a_canonical_form_reads_back(capability in any_capability()) {
        prop_assert_eq!(&read(&capability.to_string()), &capability);
        let resolved = capability.resolved(&place());
        prop_assert_eq!(read(&resolved.to_string()), resolved);
    }

    #[test]
    fn covering_is_an_order(a in any_capability(), b in any_capability(), c in any_capability()) {
        prop_assert!(a.covers(&a));
        let on_the_host = |capability: &Capability| {
            let text = capability.to_string();
            text.split_once("::/").filter(|_| text.starts_with("fs.")).map_or(text.clone(), |(host, _)| host.to_owned())
        };
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || on_the_host(&a) == on_the_host(&b), "{a} and {b}");
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c), "{a}, {b}, {c}");
    }

    #[test]
    fn what_is_covered_permits_no_more(a in any_capability(), b in any_capability(), deed in any_deed()) {
        let here = |capability: &Capability| capability.resolved(&place());
        let (a, b) = (here(&a), here(&b));
        if a.covers(&b) {
            prop_assert!(!permits(&b, &deed) || permits(&a, &deed), "{a} covers {b}, and only that permits {deed:?}");
        }
        prop_assert!(a.overlaps(&b) || !(permits(&a, &deed) && permits(&b, &deed)) || !related(&a, &b));
        if let Some(both) = a.meet(&b) {
            prop_assert!(!permits(&both, &deed) || (permits(&a, &deed) && permits(&b, &deed)));
        }
    }

    #[test]
    fn no_text_makes_the_grammar_panic(name in select(CAPABILITIES.iter().map(|row| row.name).collect::<Vec<_>>()), scope in ".*") {
        if let Ok(capability) = format!("{name}={scope}").parse::<Capability>() {
            prop_assert_eq!(read(&capability.to_string()), capability);
        }
    }
}
