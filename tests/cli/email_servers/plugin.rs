//! `[email]` of `airlock.toml`, which says what plugins may send.

use serde_json::{Value, json};

use super::{PASSPHRASE, PASSWORD, Round};
use crate::support::describe;

/// Has a plugin send a message; its answer, which comes with an error where it failed.
fn send(round: &Round, to: &str) -> Value {
    let args = json!({ "tool": "email.send", "to": to, "subject": "lunch", "body_text": "At noon?" });
    let mut command = round.airlock();
    command.env("PRX_EMAIL_ENABLE_REAL_NETWORK", "1").env_remove("AIRLOCK_MAIL_SECRETS");
    command.args(["--json", "call", "--allow", "email.send=work", "plugins/prx-email", "email.execute"]);
    let output = command.arg(args.to_string()).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    match output.status.success() {
        true => told["value"].clone(),
        false => {
            let answer = told["error"]["output"].clone();
            answer.as_str().map_or(answer.clone(), |text| serde_json::from_str(text).unwrap())
        }
    }
}

#[test]
fn the_operator_says_whom_plugins_write_to_how_often_and_where_secrets_are() {
    let round = Round::new();
    let file = round.place.home().join("airlock.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "[email]\nrecipients = [\"boss@x.example\", \"*@team.x.example\"]\nper_hour = 2\nsecrets = \"file\"\n",
    );
    let mut command = round.airlock();
    command.env_remove("AIRLOCK_MAIL_SECRETS");
    let servers = format!("localhost:{}", round.exim.tls_port);
    let authorities = round.place.home().join("ca.pem");
    command.args(["email", "account", "add", "work", "--email", "anna@x.example", "--user", "anna"]).args([
        "--smtp",
        &servers,
        "--authorities",
        authorities.to_str().unwrap(),
    ]);
    let told = crate::support::fed(&mut command, PASSWORD);
    assert!(told.starts_with("exit 0\n"), "{told}");
    // Where the operator has them, whatever keyring there is.
    let kept = [round.place.home().join("mail"), round.place.home().join("data/mail")];
    let kept = kept.iter().map(|folder| folder.join("mail-secrets.age")).find(|file| file.exists());
    let store = airlock_email::PassphraseFile::open(&kept.unwrap(), airlock_host::Secret::new(PASSPHRASE));
    let secret = airlock_email::SecretStore::get(&store.unwrap(), "anna@x.example smtp").unwrap();
    assert_eq!(secret, Some(airlock_host::Secret::new(PASSWORD)));
    round.text(&["account", "switch", "email_send", "on"]);

    let refused = send(&round, "bert@x.example");
    assert_eq!(refused["error_code"], json!("EMAIL_NETWORK_GUARD"), "{refused}");
    assert_eq!(refused["message"], json!("`bert@x.example` is not among whom plugins may write to"));
    // Nobody who is refused counts.
    let sent = send(&round, "boss@x.example");
    assert_eq!((&sent["ok"], &sent["status"]), (&json!(true), &json!("sent")), "{sent}");
    // There is no such place for Exim, and it was sent for all that.
    let dead = send(&round, "anna@TEAM.x.example");
    assert_eq!(dead["error_code"], json!("EMAIL_PROVIDER"), "{dead}");
    let refused = send(&round, "boss@x.example");
    assert_eq!(refused["error_code"], json!("EMAIL_NETWORK_GUARD"), "{refused}");
    assert_eq!(refused["message"], json!("plugins may send 2 messages in an hour from an account"));
    // None of it is for the person whose mailbox it is.
    let send = ["send", "--to", "bert@x.example", "--subject", "lunch", "--body", "At noon?"];
    assert_eq!(round.text(&send), "exit 0\n--- stderr\nsent as 3\n");
    assert_eq!(round.exim.delivered(2).len(), 2);

    for (wrong, reason) in [
        ("recipients = [\"@x.example\"]", "`@x.example` is neither an address nor `*@` with a domain"),
        ("secrets = \"pocket\"", "secrets are kept in `auto`, `keyring` or `file`, and not in `pocket`"),
        ("per_hour = -1", "invalid value: integer `-1`, expected u32 (line 2)"),
    ] {
        write(&format!("[email]\n{wrong}\n"));
        let told = describe(&round.airlock().args(["email", "account", "list"]).output().unwrap());
        assert!(told.starts_with("exit 2\n--- stderr\nerror: ") && told.contains(reason), "{wrong}: {told}");
    }
}
