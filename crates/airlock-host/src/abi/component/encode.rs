//! From values of a component's types to JSON.

use std::io;

use airlock_core::{Error, LimitKind, Result};
use airlock_engine::{Wit, WitKind};
use wasmtime::component::Val;

use super::handles::{Handle, Handles, MAX_HANDLES};

/// Writes values, into no more bytes than may be answered.
pub(super) struct Encoder<'a> {
    wit: &'a Wit,
    handles: &'a mut Handles,
    text: Bounded,
}

/// A text that grows to so many bytes.
struct Bounded {
    text: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.text.len() + bytes.len() <= self.most {
            true => {
                self.text.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            false => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Encoder<'a> {
    pub(super) fn new(wit: &'a Wit, handles: &'a mut Handles, most: usize) -> Self {
        Encoder { wit, handles, text: Bounded { text: Vec::new(), most } }
    }

    /// A value as JSON text.
    ///
    /// # Errors
    /// A limit, where it is too long or has too many handles.
    pub(super) fn text(mut self, value: &Val, ty: usize) -> Result<String> {
        self.value(value, ty)?;
        String::from_utf8(self.text.text).map_err(|_| Error::host("JSON that is no UTF-8"))
    }

    fn value(&mut self, value: &Val, ty: usize) -> Result<()> {
        let wit = self.wit;
        match (value, &wit.types[ty].kind) {
            (Val::Bool(value), _) => self.plain(value),
            (Val::S8(value), _) => self.plain(value),
            (Val::U8(value), _) => self.plain(value),
            (Val::S16(value), _) => self.plain(value),
            (Val::U16(value), _) => self.plain(value),
            (Val::S32(value), _) => self.plain(value),
            (Val::U32(value), _) => self.plain(value),
            (Val::S64(value), _) => self.plain(value),
            (Val::U64(value), _) => self.plain(value),
            (Val::Float32(value), _) => self.plain(&airlock_core::Value::F32(*value).to_json()),
            (Val::Float64(value), _) => self.plain(&airlock_core::Value::F64(*value).to_json()),
            (Val::Char(value), _) => self.plain(value),
            (Val::String(value) | Val::Enum(value), _) => self.plain(value),
            (Val::Flags(names), _) => self.plain(names),
            (Val::List(values), WitKind::List(of)) => self.array(values.iter().map(|value| (value, *of))),
            (Val::Tuple(values), WitKind::Tuple(types)) => {
                self.array(values.iter().zip(types.iter().copied()))
            }
            (Val::Record(values), WitKind::Record(fields)) => {
                self.raw("{")?;
                for (index, ((name, value), (_, of))) in values.iter().zip(fields).enumerate() {
                    // A name in WIT has letters, digits and dashes, none of which JSON escapes.
                    self.raw(if index == 0 { "\"" } else { ",\"" })?;
                    self.raw(name)?;
                    self.raw("\":")?;
                    self.value(value, *of)?;
                }
                self.raw("}")
            }
            (Val::Variant(name, None), _) => self.plain(name),
            (Val::Variant(name, Some(value)), WitKind::Variant(cases)) => {
                let of = cases.iter().find(|(case, _)| case == name).and_then(|(_, of)| *of);
                self.case(name, Some(value), of)
            }
            (Val::Option(None), _) => self.raw("null"),
            (Val::Option(Some(value)), WitKind::Option(of)) => match wit.types[*of].kind {
                WitKind::Option(_) => self.case("some", Some(value), Some(*of)),
                _ => self.value(value, *of),
            },
            (Val::Result(Ok(value)), WitKind::Result { ok, .. }) => self.case("ok", value.as_deref(), *ok),
            (Val::Result(Err(value)), WitKind::Result { err, .. }) => {
                self.case("err", value.as_deref(), *err)
            }
            (Val::Resource(resource), WitKind::Own(of) | WitKind::Borrow(of)) => {
                let number = self.handles.insert(Handle { resource: *resource, of: *of });
                let number = number.ok_or_else(|| {
                    Error::new(airlock_core::ErrorKind::BadGuest {
                        function: wit.resources[*of].clone(),
                        reason: format!("it gave more than {MAX_HANDLES} resources"),
                    })
                })?;
                self.raw(&format!("{{\"resource\":{number}}}"))
            }
            _ => Err(Error::host("a value that its type does not have")),
        }
    }

    /// An object of one key.
    fn case(&mut self, name: &str, value: Option<&Val>, of: Option<usize>) -> Result<()> {
        self.raw("{")?;
        self.plain(name)?;
        self.raw(":")?;
        match (value, of) {
            (Some(value), Some(of)) => self.value(value, of)?,
            _ => self.raw("null")?,
        }
        self.raw("}")
    }

    fn array<'b>(&mut self, values: impl Iterator<Item = (&'b Val, usize)>) -> Result<()> {
        self.raw("[")?;
        for (index, (value, of)) in values.enumerate() {
            self.raw(if index == 0 { "" } else { "," })?;
            self.value(value, of)?;
        }
        self.raw("]")
    }

    fn plain<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let most = self.text.most;
        serde_json::to_writer(&mut self.text, value).map_err(|_| too_long(most))
    }

    fn raw(&mut self, part: &str) -> Result<()> {
        let most = self.text.most;
        io::Write::write_all(&mut self.text, part.as_bytes()).map_err(|_| too_long(most))
    }
}

fn too_long(most: usize) -> Error {
    super::too_much(LimitKind::Output, most)
}
