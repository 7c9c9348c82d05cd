//! Tokens, which real servers take: of PRX-Email's variables, and of a login.

use super::Round;
use crate::provider::Provider;
use crate::server::TOKEN;
use crate::support::describe;

/// Runs `airlock email` with these variables.
fn run(round: &Round, variables: &[(&str, &str)], args: &[&str]) -> String {
    let mut command = round.airlock();
    command.arg("email").args(args).envs(variables.iter().copied());
    let told = describe(&command.output().unwrap());
    assert!(!told.contains(TOKEN), "{told}");
    told
}

#[test]
fn tokens_of_the_environment_are_for_the_only_account_and_else_named_as_unused() {
    let round = Round::new();
    round.add("work", "anna@x.example", &["--auth", "xoauth2"]);
    let (imap, smtp) = ("PRX_EMAIL_IMAP_OAUTH_TOKEN", "PRX_EMAIL_SMTP_OAUTH_TOKEN");
    let both = [(imap, TOKEN), (smtp, TOKEN)];
    assert_eq!(run(&round, &both, &["account", "test"]), "exit 0\n--- stdout\nimap ok\nsmtp ok\n");
    assert_eq!(
        run(&round, &[(imap, TOKEN)], &["account", "test"]),
        "exit 1\n--- stdout\nimap ok\nsmtp failed: there is no smtp token of `work`: log in\n"
    );
    let end = "PRX_EMAIL_IMAP_OAUTH_EXPIRES_AT";
    assert_eq!(
        run(&round, &[(imap, TOKEN), (end, "1000")], &["sync"]),
        "exit 125\n--- stderr\nerror: imap oauth token expired and no refresh provider configured\n"
    );
    assert_eq!(
        run(&round, &[(imap, TOKEN), (end, "soon")], &["sync"]),
        "exit 2\n--- stderr\nerror: PRX_EMAIL_IMAP_OAUTH_EXPIRES_AT has to be a number of seconds\n"
    );
    assert_eq!(
        run(&round, &[(imap, TOKEN), (end, "4000000000")], &["sync"]),
        "exit 0\n--- stderr\n0 new messages\n"
    );
    // Whose they are nobody knows, where there are two.
    round.add("home", "bert@x.example", &["--auth", "xoauth2"]);
    let unused =
        |name| format!("warning: `{name}` is not used: it is for the only account, and there are 2\n");
    assert_eq!(
        run(&round, &both, &["sync", "--account", "work"]),
        format!(
            "exit 2\n--- stderr\n{}{}error: there is no imap token of `work`: log in\n",
            unused(imap),
            unused(smtp)
        )
    );
    assert_eq!(
        run(&round, &[(imap, "")], &["sync", "--account", "work"]),
        "exit 2\n--- stderr\nerror: there is no imap token of `work`: log in\n"
    );
}

#[test]
fn what_a_login_gets_lets_an_account_in_at_its_servers() {
    let (round, provider) = (Round::new(), Provider::start());
    TOKEN.clone_into(&mut provider.state().access);
    round.add("work", "anna@x.example", &["--auth", "oauthbearer", "--smtp-auth", "xoauth2"]);
    let (tokens, device) = (provider.at("token"), provider.at("device"));
    let at = ["login", "--device", "--token-url", &tokens, "--device-url", &device];
    let as_whom = ["--client-id", "a-client", "--scope", "mail", "--scope", "offline_access"];
    let told = run(&round, &[], &[&at[..], &as_whom].concat());
    let page = provider.at("type");
    assert_eq!(told, format!("exit 0\n--- stderr\nOpen {page} and type ABCD\nlogged in as work\n"));
    assert_eq!(run(&round, &[], &["account", "test"]), "exit 0\n--- stdout\nimap ok\nsmtp ok\n");
    // A token of the environment goes before it.
    let told = run(&round, &[("PRX_EMAIL_IMAP_OAUTH_TOKEN", "other")], &["account", "test"]);
    assert!(told.starts_with("exit 1\n--- stdout\nimap failed: ") && told.ends_with("\nsmtp ok\n"), "{told}");
}
