//! Events between plugins and the application.

use std::path::Path;

use airlock_host::service::EventBus;
use airlock_host::{
    CapabilityKind, EVENT_PAYLOAD, EVENT_TOPIC, Event, Events, LimitKind, NamePattern, Need, ServiceError,
    Subscription,
};

use crate::gated::{Call, denied};
use crate::support::Mode;

fn call(granted: &[&str]) -> Call {
    Call::new(Path::new("/w"), granted)
}

fn pattern(text: &str) -> NamePattern {
    text.parse().unwrap()
}

/// Publishes as an adapter does.
fn publish(bus: &EventBus, call: &Call, topic: &str, payload: &[u8]) -> Result<usize, ServiceError> {
    let permit = call.permit(Need::Name(CapabilityKind::EventsPublish, topic))?;
    bus.publish(&permit, topic, payload)
}

fn subscribe(bus: &EventBus, call: &Call, topics: &str) -> Result<Box<dyn Subscription>, ServiceError> {
    let topics = pattern(topics);
    let permit = call.permit(Need::Names(CapabilityKind::EventsSubscribe, &topics))?;
    bus.subscribe(&permit, &topics)
}

fn topics(subscription: &mut dyn Subscription) -> Vec<String> {
    std::iter::from_fn(|| subscription.try_next()).map(|event| event.topic.to_string()).collect()
}

#[test]
fn everyone_who_subscribed_gets_what_is_published_from_then_on() {
    let bus = EventBus::new();
    let one = call(&["events.publish=build.*", "events.subscribe=build.*"]);
    assert_eq!(publish(&bus, &one, "build.early", b""), Ok(0));
    let mut plugin = subscribe(&bus, &one, "build.*").unwrap();
    let mut host = bus.subscribe_as_host(&pattern("*")).unwrap();
    assert_eq!(publish(&bus, &one, "build.done", b"{}"), Ok(2));
    assert_eq!(bus.publish_as_host("test.done", b""), Ok(1));
    let of = |topic: &str, payload: &[u8], publisher: Option<&str>| Event {
        topic: topic.into(),
        payload: payload.into(),
        publisher: publisher.map(Into::into),
        depth: 0,
    };
    assert_eq!(plugin.try_next(), Some(of("build.done", b"{}", Some("one"))));
    assert_eq!(plugin.try_next(), None);
    assert_eq!(host.try_next(), Some(of("build.done", b"{}", Some("one"))));
    assert_eq!(host.try_next(), Some(of("test.done", b"", None)));
    drop(host);
    assert_eq!((bus.subscriptions(), bus.publish_as_host("test.done", b"")), (1, Ok(0)));
}

#[test]
fn a_pattern_is_subscribed_to_only_where_all_of_it_is_granted() {
    let bus = EventBus::new();
    let one = call(&["events.subscribe=build.*", "events.publish=build.done"]);
    for wider in ["*", "build*", "bu*", "test.done"] {
        let error = subscribe(&bus, &one, wider).map(drop);
        assert_eq!(error, Err(denied(&format!("events.subscribe={wider}"))));
    }
    assert_eq!(publish(&bus, &one, "build.other", b""), Err(denied("events.publish=build.other")));
    // A permit for one topic is none for another.
    let permit = one.permit(Need::Name(CapabilityKind::EventsPublish, "build.done")).unwrap();
    assert_eq!(bus.publish(&permit, "build.other", b""), Err(denied("events.publish=build.other")));
    assert!(bus.subscribe(&permit, &pattern("*")).is_err());
    assert_eq!(bus.subscriptions(), 0);
}

#[test]
fn nothing_is_published_after_the_call() {
    let bus = EventBus::new();
    let one = call(&["events.publish=*", "events.subscribe=*"]);
    let permit = one.permit(Need::Name(CapabilityKind::EventsPublish, "a")).unwrap();
    let mut host = bus.subscribe_as_host(&pattern("*")).unwrap();
    drop(one);
    assert_eq!(bus.publish(&permit, "a", b""), Err(ServiceError::Ended));
    assert_eq!(bus.subscribe(&permit, &pattern("*")).map(drop), Err(ServiceError::Ended));
    assert_eq!(host.try_next(), None);
}

#[test]
fn topics_and_payloads_have_their_bounds() {
    let bus = EventBus::new();
    let one = call(&["events.publish=*"]);
    let permit = one.permit(Need::Name(CapabilityKind::EventsPublish, "a")).unwrap();
    let longest = "t".repeat(EVENT_TOPIC);
    assert_eq!(bus.publish(&permit, &longest, &vec![0; EVENT_PAYLOAD]), Ok(0));
    for topic in ["", "a b", "a\nb", "a\0", "a\u{1b}[2J", &format!("{longest}t")] {
        let error = bus.publish(&permit, topic, b"").unwrap_err();
        assert_eq!(error.code(), "invalid", "{topic:?}");
    }
    let error = bus.publish(&permit, "a", &vec![0; EVENT_PAYLOAD + 1]).unwrap_err();
    assert_eq!(error.to_string(), "an event has up to 65536 bytes, not 65537");
}

#[test]
fn output_bomb_of_events_hits_its_limit() {
    let bus = EventBus::new();
    let call = call(&["events.publish=*"]).limited(LimitKind::Events, 100);
    let sent: Vec<_> = (0..101).map(|_| publish(&bus, &call, "a", &[0; EVENT_PAYLOAD])).collect();
    assert!(sent[..100].iter().all(|sent| *sent == Ok(0)));
    assert_eq!(sent[100], Err(ServiceError::Limit { limit: LimitKind::Events, maximum: 100 }));
}

#[test]
fn a_slow_subscriber_loses_the_oldest_and_is_told_how_many() {
    let bus = EventBus::new();
    let mut slow = bus.subscribe_as_host(&pattern("*")).unwrap();
    for index in 0..1030 {
        bus.publish_as_host(&format!("n{index}"), b"").unwrap();
    }
    assert_eq!((slow.missed(), slow.missed()), (6, 0));
    let kept = topics(&mut *slow);
    assert_eq!((kept.len(), kept[0].as_str(), kept[1023].as_str()), (1024, "n6", "n1029"));
    // Large ones are bounded by their bytes: 4 MiB.
    for _ in 0..100 {
        bus.publish_as_host("large", &[0; EVENT_PAYLOAD]).unwrap();
    }
    assert_eq!((slow.missed(), topics(&mut *slow).len()), (37, 63));
}

#[test]
fn there_are_so_many_subscriptions_and_no_more() {
    let bus = EventBus::new();
    let mut all: Vec<_> = (0..4096).map(|_| bus.subscribe_as_host(&pattern("a")).unwrap()).collect();
    assert_eq!(bus.subscribe_as_host(&pattern("a")).unwrap_err().code(), "unavailable");
    all.pop();
    assert!(bus.subscribe_as_host(&pattern("a")).is_ok());
    assert_eq!((bus.subscriptions(), bus.publish_as_host("a", b"")), (4095, Ok(4095)));
}

#[test]
fn one_plugin_leaves_subscriptions_to_others() {
    let bus = EventBus::new();
    let one = call(&["events.subscribe=*"]);
    let mut all: Vec<_> = (0..256).map(|_| subscribe(&bus, &one, "a").unwrap()).collect();
    let error = subscribe(&bus, &one, "a").unwrap_err();
    assert_eq!(error.to_string(), "there are 256 subscriptions of this plugin already, which is the most");
    assert!(bus.subscribe_as_host(&pattern("a")).is_ok());
    all.pop();
    assert!(subscribe(&bus, &one, "a").is_ok());
}

#[test]
fn an_event_is_waited_for_until_the_bus_is_gone() {
    for mode in [Mode::NoRuntime, Mode::CurrentThread, Mode::MultiThread] {
        let bus = EventBus::new();
        let mut subscription = bus.subscribe_as_host(&pattern("a")).unwrap();
        // Published by another thread, before it is waited for or while it is.
        let publisher = std::thread::spawn(move || {
            bus.publish_as_host("a", b"1").unwrap();
            std::thread::yield_now();
            bus.publish_as_host("a", b"2").unwrap();
        });
        let received = mode.wait(async {
            let (first, second) = (subscription.next().await?, subscription.next().await?);
            let end = subscription.next().await;
            Ok::<_, ServiceError>((first.payload.to_vec(), second.payload.to_vec(), end))
        });
        let (first, second, end) = received.unwrap();
        assert_eq!((first.as_slice(), second.as_slice()), (&b"1"[..], &b"2"[..]));
        assert_eq!(end.unwrap_err().code(), "unavailable");
        publisher.join().unwrap();
    }
}
