//! A function from numbers to a number: `gcd`.

/// The greatest common divisor of two numbers; 0 where both are.
#[unsafe(no_mangle)]
pub extern "C" fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::gcd;

    #[test]
    fn it_divides_both_and_nothing_greater_does() {
        assert_eq!(gcd(12, 18), 6);
        assert_eq!(gcd(0, 7), 7);
    }
}
