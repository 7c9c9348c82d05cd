//! A component with functions of every type that WIT has.

use std::cell::Cell;

wit_bindgen::generate!({ world: "values", path: "wit" });

use exports::airlock::values::all::{Everything, Guest as All, Point, Shape};
use exports::airlock::values::counters::{self, Counter, CounterBorrow, GuestCounter, GuestLabel, Label};
use exports::airlock::values::hostile::Guest as Hostile;
use exports::airlock::values::math::{Guest as Math, Problem};

struct Values;

export!(Values);

impl Guest for Values {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }

    fn greet(name: String, greeting: Option<String>) -> String {
        format!("{}, {name}!", greeting.as_deref().unwrap_or("Hello"))
    }
}

impl All for Values {
    fn echo(value: Everything) -> Everything {
        value
    }

    fn echo_bytes(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn echo_text(text: String) -> String {
        text
    }

    fn echo_maybe(maybe: Option<Option<u8>>) -> Option<Option<u8>> {
        maybe
    }

    fn echo_shape(shape: Shape) -> Shape {
        shape
    }
}

impl Math for Values {
    fn divide(dividend: i32, divisor: i32) -> Result<i32, Problem> {
        if divisor == 0 {
            return Err(Problem::DivisionByZero);
        }
        dividend.checked_div(divisor).ok_or_else(|| Problem::Overflow(format!("{dividend} / {divisor}")))
    }

    fn root(of: u32) -> Result<u32, String> {
        let root = of.isqrt();
        if root * root == of { Ok(root) } else { Err(format!("{of} is no square")) }
    }

    fn distance(origin: Point, target: Point) -> f64 {
        f64::from(target.x - origin.x).hypot(f64::from(target.y - origin.y))
    }
}

thread_local! {
    static ALIVE: Cell<u32> = const { Cell::new(0) };
}

struct Count(Cell<u32>);

impl Drop for Count {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get() - 1);
    }
}

struct Text(#[expect(dead_code, reason = "it is only held")] String);

impl counters::Guest for Values {
    type Counter = Count;
    type Label = Text;

    fn alive() -> u32 {
        ALIVE.get()
    }
}

impl GuestCounter for Count {
    fn new(start: u32) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Count(Cell::new(start))
    }

    fn increment(&self, by: u32) -> u32 {
        self.0.set(self.0.get() + by);
        self.0.get()
    }

    fn value(&self) -> u32 {
        self.0.get()
    }

    fn join(first: Counter, second: CounterBorrow<'_>) -> Counter {
        first.get::<Count>().increment(second.get::<Count>().value());
        first
    }
}

impl GuestLabel for Text {
    fn new(text: String) -> Self {
        Text(text)
    }
}

impl Hostile for Values {
    fn spin() {
        loop {
            std::hint::black_box(());
        }
    }

    fn trap() {
        panic!("as it was told to");
    }

    fn bytes(count: u32) -> Vec<u8> {
        vec![7; count as usize]
    }

    fn texts(count: u32, length: u32) -> Vec<String> {
        vec!["x".repeat(length as usize); count as usize]
    }

    fn hold(count: u32) -> u32 {
        std::hint::black_box(vec![1_u8; count as usize]).len() as u32
    }

    fn labels(count: u32) -> Vec<Label> {
        (0..count).map(|number| Label::new(Text(number.to_string()))).collect()
    }
}
