use super::Query;

fn read(text: &str) -> Result<Query, String> {
    Query::read(text).map_err(|error| error.message().to_owned())
}

fn wanted(text: &str) -> Option<String> {
    read(text).expect("a query").wanted()
}

#[test]
fn words_phrases_fields_and_their_opposites_become_one_expression() {
    assert_eq!(wanted("report").as_deref(), Some("\"report\""));
    assert_eq!(
        wanted("  one \"two three\" from:anna TO:team subject:\"all hands\" rep* ").as_deref(),
        Some(
            "\"one\" AND \"two three\" AND sender : \"anna\" AND recipients : \"team\" AND \
             subject : \"all hands\" AND \"rep\" *"
        )
    );
    assert_eq!(
        wanted("one -two -from:\"a b\"").as_deref(),
        Some("(\"one\") NOT (\"two\" OR sender : \"a b\")")
    );
    let only = read("-two").expect("a query");
    assert_eq!((only.wanted(), only.unwanted().as_deref()), (None, Some("\"two\"")));
}

#[test]
fn what_is_no_filter_is_a_word() {
    for text in ["12:30", "http://x.example", "NEAR(a", "a'b;--", "re-read", "AND", "{a}", "a^b"] {
        assert_eq!(wanted(text), Some(format!("\"{text}\"")), "{text}");
    }
    assert_eq!(wanted("x\0y").as_deref(), Some("\"x y\""));
    assert_eq!(wanted("say\"so").as_deref(), Some("\"say\"\"so\""));
}

#[test]
fn days_and_attachments_are_filters() {
    let query = read("after:2024-01-31 before:2024/03/01 has:attachment").expect("a query");
    assert_eq!((query.after, query.before), (Some(1_706_659_200), Some(1_709_251_200)));
    assert_eq!((query.attachment, query.wanted()), (Some(true), None));
    let query = read("-has:attachments -after:2024-01-31 after:2024-01-01 after:2023-01-01").expect("one");
    assert_eq!((query.attachment, query.before), (Some(false), Some(1_706_659_200)));
    assert_eq!(query.after, Some(1_704_067_200));
}

#[test]
fn what_cannot_be_searched_for_is_an_error_that_says_why() {
    for (text, reason) in [
        ("", "a query has at least one word or filter"),
        ("   ", "a query has at least one word or filter"),
        ("!!!", "`!!!` in the query has no letter or digit to search for"),
        ("from:", "`` in the query has no letter or digit to search for"),
        ("\"open", "a `\"` in the query has no other that ends it"),
        ("has:pictures", "`has:pictures` in the query can be `has:attachment`"),
        ("after:yesterday", "`after:yesterday` in the query has to be a day as 2024-01-31"),
        ("before:2024-02-30", "`before:2024-02-30` in the query has to be a day as 2024-01-31"),
    ] {
        assert_eq!(read(text), Err(reason.to_owned()), "{text}");
    }
    assert_eq!(read(&"a ".repeat(65)), Err("a query has at most 64 words and filters".to_owned()));
    assert!(read(&"a ".repeat(64)).is_ok());
    assert_eq!(read(&"a".repeat(5000)), Err("a query has at most 4096 bytes".to_owned()));
}

#[test]
fn words_that_follow_each_other_are_a_phrase_however_they_are_written() {
    let has_phrase = |text: &str| Query::read(text).expect("a query").has_phrase();
    for text in ["\"third quarter\"", "from:anna@x.example", "report 12:30", "subject:\"all hands\""] {
        assert!(has_phrase(text), "{text}");
    }
    for text in
        ["third quarter", "-\"third quarter\" report", "\" report \"", "(report)", "rep*", "after:2024-01-31"]
    {
        assert!(!has_phrase(text), "{text}");
    }
}
