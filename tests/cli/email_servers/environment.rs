//! The variables of PRX-Email with tokens, which are for the only account.

use super::Round;
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
