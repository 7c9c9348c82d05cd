//! WebAssembly's numbers, as the host passes them.

use std::fmt;

use crate::{Error, ErrorKind};

/// The types a numeric argument or result can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ValueType {
    /// A 32-bit integer, signed or unsigned.
    I32,
    /// A 64-bit integer, signed or unsigned.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
}

/// One numeric argument or result.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A 32-bit integer, shown as signed.
    I32(i32),
    /// A 64-bit integer, shown as signed.
    I64(i64),
    /// A 32-bit float.
    F32(f32),
    /// A 64-bit float.
    F64(f64),
}

impl ValueType {
    /// Reads one argument as a person types it.
    ///
    /// Integers are decimal or `0x` hexadecimal, from the type's signed minimum to its
    /// unsigned maximum; floats are as Rust reads them, `nan` and `inf` included.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the text is not a number of this type.
    pub fn parse(self, text: &str) -> Result<Value, Error> {
        let invalid =
            || Error::new(ErrorKind::InvalidArgument { given: text.to_owned(), expected: self.to_string() });
        let integer = || -> Option<i128> {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text),
            };
            let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
                Some(hex) => u64::from_str_radix(hex, 16).ok()?,
                None => digits.parse::<u64>().ok()?,
            };
            Some(sign * i128::from(magnitude))
        };
        match self {
            ValueType::I32 | ValueType::I64 => integer().and_then(|n| self.integer(n)),
            ValueType::F32 => text.parse().ok().map(Value::F32),
            ValueType::F64 => text.parse().ok().map(Value::F64),
        }
        .ok_or_else(invalid)
    }

    /// Takes one argument from JSON: a number, or for floats also the strings that
    /// [`ValueType::parse`] reads.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when it is not a number of this type.
    pub fn from_json(self, json: &serde_json::Value) -> Result<Value, Error> {
        let found = match (self, json) {
            (ValueType::I32 | ValueType::I64, serde_json::Value::Number(number)) => number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
                .and_then(|n| self.integer(n)),
            (ValueType::F32, serde_json::Value::Number(number)) => {
                number.as_f64().map(|float| Value::F32(float as f32))
            }
            (ValueType::F64, serde_json::Value::Number(number)) => number.as_f64().map(Value::F64),
            (_, serde_json::Value::String(text)) => return self.parse(text),
            _ => None,
        };
        found.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument { given: json.to_string(), expected: self.to_string() })
        })
    }

    fn integer(self, n: i128) -> Option<Value> {
        match self {
            ValueType::I32 => {
                i32::try_from(n).ok().or_else(|| u32::try_from(n).ok().map(u32::cast_signed)).map(Value::I32)
            }
            ValueType::I64 => {
                i64::try_from(n).ok().or_else(|| u64::try_from(n).ok().map(u64::cast_signed)).map(Value::I64)
            }
            ValueType::F32 | ValueType::F64 => None,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::I32 => "i32",
            ValueType::I64 => "i64",
            ValueType::F32 => "f32",
            ValueType::F64 => "f64",
        })
    }
}

impl Value {
    /// The value's type.
    pub fn ty(&self) -> ValueType {
        match self {
            Value::I32(_) => ValueType::I32,
            Value::I64(_) => ValueType::I64,
            Value::F32(_) => ValueType::F32,
            Value::F64(_) => ValueType::F64,
        }
    }

    /// As JSON: a number, or for a float that JSON cannot hold its name
    /// (`"NaN"`, `"inf"`, `"-inf"`).
    pub fn to_json(&self) -> serde_json::Value {
        match *self {
            Value::I32(n) => n.into(),
            Value::I64(n) => n.into(),
            // Through its decimal text, so that 0.1f32 is 0.1 and not 0.10000000149.
            Value::F32(x) if x.is_finite() => x.to_string().parse::<f64>().unwrap_or(f64::from(x)).into(),
            Value::F64(x) if x.is_finite() => x.into(),
            Value::F32(_) | Value::F64(_) => self.to_string().into(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::I32(n) => n.fmt(f),
            Value::I64(n) => n.fmt(f),
            Value::F32(x) => x.fmt(f),
            Value::F64(x) => x.fmt(f),
        }
    }
}

macro_rules! value_from {
    ($($rust:ty => $variant:ident),*) => {$(
        impl From<$rust> for Value {
            fn from(value: $rust) -> Value {
                Value::$variant(value)
            }
        }
    )*};
}
value_from!(i32 => I32, i64 => I64, f32 => F32, f64 => F64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Value, ValueType};

    #[test]
    fn integers_cover_signed_and_unsigned_and_hex() {
        assert_eq!(ValueType::I32.parse("-1").ok(), Some(Value::I32(-1)));
        assert_eq!(ValueType::I32.parse("4294967295").ok(), Some(Value::I32(-1)));
        assert_eq!(ValueType::I32.parse("0xff").ok(), Some(Value::I32(255)));
        assert!(ValueType::I32.parse("4294967296").is_err());
        assert!(ValueType::I32.parse("-2147483649").is_err());
        assert!(ValueType::I64.parse("1.5").is_err());
        assert_eq!(ValueType::I64.parse("18446744073709551615").ok(), Some(Value::I64(-1)));
    }

    #[test]
    fn floats_json_cannot_hold_are_named() {
        assert_eq!(Value::F64(f64::NAN).to_json(), "NaN");
        assert_eq!(Value::F32(f32::NEG_INFINITY).to_json(), "-inf");
        assert_eq!(Value::F32(0.1).to_json(), 0.1);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(n in any::<i64>(), x in any::<f64>()) {
            prop_assert_eq!(ValueType::I64.parse(&n.to_string()).ok(), Some(Value::I64(n)));
            let back = ValueType::F64.from_json(&Value::F64(x).to_json()).expect("reads back");
            let Value::F64(y) = back else { panic!("not an f64") };
            prop_assert!(x == y || (x.is_nan() && y.is_nan()));
        }
    }
}
