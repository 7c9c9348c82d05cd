//! URLs that a guest makes up, and where a server says to go on.

use std::time::Duration;

use http::StatusCode;

use super::HttpRequest;
use crate::{Need, Scheme};

#[test]
fn what_is_needed_is_whom_the_url_would_reach() {
    bolero::check!().with_iterations(20_000).with_test_time(Duration::from_secs(2)).for_each(
        |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let (url, location) = text.split_once('\n').unwrap_or((&text, "/"));
            for url in [url.to_owned(), format!("https://{url}"), format!("http://a.example{url}")] {
                let Ok(request) = HttpRequest::new("POST", &url) else { continue };
                judge(&request);
                for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT] {
                    let Ok(next) = request.redirected(status, location) else { continue };
                    judge(&next);
                    assert!((request.scheme(), next.scheme()) != (Scheme::Https, Scheme::Http), "{url:?}");
                }
            }
        },
    );
}

/// The need of a request says what its URL says when it is read once more.
fn judge(request: &HttpRequest) {
    let url = url::Url::parse(request.url().as_str()).expect("what was read is written so that it is read");
    assert_eq!((url.username(), url.password(), url.fragment()), ("", None, None));
    let Need::Origin { scheme, host, port } = request.need() else { panic!("{:?}", request.need()) };
    assert_eq!((scheme.name(), Some(port)), (url.scheme(), url.port_or_known_default()));
    let written = url.host_str().expect("a host");
    assert_eq!(host, written.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(written));
    assert!(!host.is_empty() && port != 0 && !host.contains(['/', '@', '\\', ' ']), "{host:?} {port}");
    // What is denied can be said, and is itself not granted by accident.
    assert!(request.need().is_met_by(&request.need().capability()), "{:?}", request.need());
}
