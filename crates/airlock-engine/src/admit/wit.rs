//! From a validated component to the functions that it exports.

use std::collections::{HashMap, HashSet};

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;

use crate::shape::{Wit, WitFunction, WitKind, WitType};

/// How deep types may be nested in one another, as in wasmtime.
const MAX_TYPE_DEPTH: usize = 100;

/// Functions that a component exports at most, bytes of a name, and fields, cases and the like of all its
/// types together: what is named in a few bytes can be named again and again.
const MAX_FUNCTIONS: usize = 2_000;
const MAX_NAME: usize = 200;
const MAX_PARTS: usize = 100_000;

/// A type that functions cannot have here, and why.
pub(super) type Unsuitable = String;

/// The functions that a component exports under these names, by themselves and in interfaces.
pub(super) fn read<'a>(
    types: TypesRef<'_>,
    exports: impl Iterator<Item = &'a str>,
    skipped: impl Fn(&str) -> bool,
) -> Result<Wit, Unsuitable> {
    let mut reader = Reader {
        types,
        wit: Wit::default(),
        names: HashMap::new(),
        known: HashMap::new(),
        plain: HashMap::new(),
        resources: HashMap::new(),
        dropped: HashSet::new(),
        parts: 0,
    };
    let items: Vec<(&str, ComponentEntityType)> = exports
        .filter(|name| !skipped(name))
        .filter_map(|name| Some((name, types.component_item_for_export(name)?.ty)))
        .collect();
    // All names first: an interface may use types of one that comes later.
    for (name, item) in &items {
        reader.note_name(name, *item);
        if let ComponentEntityType::Instance(id) = item {
            types[*id].exports.iter().for_each(|(name, item)| reader.note_name(name, item.ty));
        }
    }
    for (name, item) in &items {
        match item {
            ComponentEntityType::Func(id) => reader.function(None, name, *id)?,
            ComponentEntityType::Instance(id) => {
                for (own, item) in &types[*id].exports {
                    match item.ty {
                        ComponentEntityType::Func(function) => reader.function(Some(name), own, function)?,
                        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
                            reader.destructor(name, own, id.resource())?;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(reader.wit)
}

struct Reader<'a> {
    types: TypesRef<'a>,
    wit: Wit,
    names: HashMap<ComponentDefinedTypeId, String>,
    /// Where a type is in the list, and how deep others are nested in it.
    known: HashMap<ComponentDefinedTypeId, (usize, usize)>,
    /// The same for types that are a word.
    plain: HashMap<&'static str, usize>,
    resources: HashMap<ResourceId, usize>,
    /// Resources that there is a function to drop of.
    dropped: HashSet<ResourceId>,
    parts: usize,
}

impl Reader<'_> {
    fn note_name(&mut self, name: &str, item: ComponentEntityType) {
        let ComponentEntityType::Type { referenced, created } = item else { return };
        for id in [created, referenced] {
            match id {
                ComponentAnyTypeId::Defined(id) => {
                    self.names.entry(id).or_insert_with(|| name.to_owned());
                }
                ComponentAnyTypeId::Resource(id) => {
                    self.resource(id.resource(), name);
                }
                _ => {}
            }
        }
    }

    fn resource(&mut self, id: ResourceId, name: &str) -> usize {
        *self.resources.entry(id).or_insert_with(|| {
            self.wit.resources.push(name.to_owned());
            self.wit.resources.len() - 1
        })
    }

    fn function(
        &mut self,
        interface: Option<&str>,
        name: &str,
        id: ComponentFuncTypeId,
    ) -> Result<(), Unsuitable> {
        self.check_name(interface.unwrap_or_default())?;
        self.check_name(name)?;
        let types = self.types;
        let ty = &types[id];
        self.count(ty.params.len())?;
        let named = |reason: Unsuitable| format!("`{name}`: {reason}");
        let mut params = Vec::with_capacity(ty.params.len());
        for (param, ty) in &ty.params {
            params.push((param.to_string(), self.value(ty, 1).map_err(named)?.0));
        }
        let result = match &ty.result {
            Some(ty) => Some(self.value(ty, 1).map_err(named)?.0),
            None => None,
        };
        let (interface, name) = (interface.map(str::to_owned), name.to_owned());
        self.add(WitFunction { interface, name, params, result })
    }

    fn add(&mut self, function: WitFunction) -> Result<(), Unsuitable> {
        self.wit.functions.push(function);
        match self.wit.functions.len() <= MAX_FUNCTIONS {
            true => Ok(()),
            false => Err(format!("it exports more than {MAX_FUNCTIONS} functions")),
        }
    }

    fn check_name(&self, name: &str) -> Result<(), Unsuitable> {
        match name.len() <= MAX_NAME {
            true => Ok(()),
            false => Err(format!("a name in it is longer than {MAX_NAME} bytes")),
        }
    }

    /// Counts what a type is made of.
    fn count(&mut self, parts: usize) -> Result<(), Unsuitable> {
        self.parts += parts;
        match self.parts <= MAX_PARTS {
            true => Ok(()),
            false => Err(format!("its types have more than {MAX_PARTS} parts")),
        }
    }

    /// What drops a handle, under the name that it has for whoever imports it.
    fn destructor(&mut self, interface: &str, name: &str, id: ResourceId) -> Result<(), Unsuitable> {
        // An interface that uses one of another's exports it once more.
        if !self.dropped.insert(id) {
            return Ok(());
        }
        self.check_name(interface)?;
        self.check_name(name)?;
        let resource = self.resource(id, name);
        self.wit.types.push(WitType { name: None, kind: WitKind::Own(resource) });
        let (interface, name) = (Some(interface.to_owned()), format!("[resource-drop]{name}"));
        let params = vec![("self".to_owned(), self.wit.types.len() - 1)];
        self.add(WitFunction { interface, name, params, result: None })
    }

    /// Where a type is in the list, and how deep others are nested in it.
    fn value(&mut self, ty: &ComponentValType, depth: usize) -> Result<(usize, usize), Unsuitable> {
        if depth > MAX_TYPE_DEPTH {
            return Err(format!("its types are nested deeper than {MAX_TYPE_DEPTH} levels"));
        }
        let id = match ty {
            ComponentValType::Primitive(ty) => return Ok((self.plain(*ty)?, 1)),
            ComponentValType::Type(id) => *id,
        };
        if let Some(&(place, deep)) = self.known.get(&id) {
            // It was met higher up, where there was more room below.
            return match depth + deep <= MAX_TYPE_DEPTH + 1 {
                true => Ok((place, deep)),
                false => Err(format!("its types are nested deeper than {MAX_TYPE_DEPTH} levels")),
            };
        }
        let (kind, deep) = self.kind(id, depth)?;
        let name = self.names.get(&id).cloned();
        self.check_name(name.as_deref().unwrap_or_default())?;
        self.wit.types.push(WitType { name, kind });
        let found = (self.wit.types.len() - 1, deep + 1);
        self.known.insert(id, found);
        Ok(found)
    }

    fn kind(&mut self, id: ComponentDefinedTypeId, depth: usize) -> Result<(WitKind, usize), Unsuitable> {
        let types = self.types;
        let names =
            |names: &mut dyn Iterator<Item = &str>| names.map(str::len).max().unwrap_or_default() <= MAX_NAME;
        let (parts, are_short) = match &types[id] {
            ComponentDefinedType::Record(record) => {
                (record.fields.len(), names(&mut record.fields.keys().map(|name| name.as_str())))
            }
            ComponentDefinedType::Variant(variant) => {
                (variant.cases.len(), names(&mut variant.cases.keys().map(|name| name.as_str())))
            }
            ComponentDefinedType::Enum(cases) => {
                (cases.len(), names(&mut cases.iter().map(|name| name.as_str())))
            }
            ComponentDefinedType::Flags(flags) => {
                (flags.len(), names(&mut flags.iter().map(|name| name.as_str())))
            }
            ComponentDefinedType::Tuple(tuple) => (tuple.types.len(), true),
            _ => (1, true),
        };
        self.count(parts)?;
        if !are_short {
            return Err(format!("a name in it is longer than {MAX_NAME} bytes"));
        }
        let mut deepest = 0;
        let mut of = |ty: &ComponentValType| {
            let (place, deep) = self.value(ty, depth + 1)?;
            deepest = deep.max(deepest);
            Ok::<usize, Unsuitable>(place)
        };
        let kind = match &types[id] {
            ComponentDefinedType::Primitive(ty) => plain(*ty)?,
            ComponentDefinedType::List { element, .. } => WitKind::List(of(element)?),
            ComponentDefinedType::Option { ty, .. } => WitKind::Option(of(ty)?),
            ComponentDefinedType::Tuple(tuple) => {
                WitKind::Tuple(tuple.types.iter().map(of).collect::<Result<_, _>>()?)
            }
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.to_string(), of(ty)?)));
                WitKind::Record(fields.collect::<Result<_, Unsuitable>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant
                    .cases
                    .iter()
                    .map(|(name, case)| Ok((name.to_string(), case.ty.as_ref().map(&mut of).transpose()?)));
                WitKind::Variant(cases.collect::<Result<_, Unsuitable>>()?)
            }
            ComponentDefinedType::Result { ok, err, .. } => WitKind::Result {
                ok: ok.as_ref().map(&mut of).transpose()?,
                err: err.as_ref().map(&mut of).transpose()?,
            },
            ComponentDefinedType::Enum(names) => {
                WitKind::Enum(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Flags(names) => {
                WitKind::Flags(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Own(id) => WitKind::Own(self.resource(id.resource(), "resource")),
            ComponentDefinedType::Borrow(id) => WitKind::Borrow(self.resource(id.resource(), "resource")),
            ComponentDefinedType::Future { .. } => return Err("it has a `future`".to_owned()),
            ComponentDefinedType::Stream { .. } => return Err("it has a `stream`".to_owned()),
            ComponentDefinedType::Map { .. } => return Err("it has a `map`".to_owned()),
            ComponentDefinedType::FixedLengthList { .. } => {
                return Err("it has a list of a fixed length".to_owned());
            }
        };
        Ok((kind, deepest))
    }

    fn plain(&mut self, ty: PrimitiveValType) -> Result<usize, Unsuitable> {
        let kind = plain(ty)?;
        Ok(*self.plain.entry(kind.word()).or_insert_with(|| {
            self.wit.types.push(WitType { name: None, kind });
            self.wit.types.len() - 1
        }))
    }
}

fn plain(ty: PrimitiveValType) -> Result<WitKind, Unsuitable> {
    Ok(match ty {
        PrimitiveValType::Bool => WitKind::Bool,
        PrimitiveValType::S8 => WitKind::S8,
        PrimitiveValType::U8 => WitKind::U8,
        PrimitiveValType::S16 => WitKind::S16,
        PrimitiveValType::U16 => WitKind::U16,
        PrimitiveValType::S32 => WitKind::S32,
        PrimitiveValType::U32 => WitKind::U32,
        PrimitiveValType::S64 => WitKind::S64,
        PrimitiveValType::U64 => WitKind::U64,
        PrimitiveValType::F32 => WitKind::F32,
        PrimitiveValType::F64 => WitKind::F64,
        PrimitiveValType::Char => WitKind::Char,
        PrimitiveValType::String => WitKind::String,
        PrimitiveValType::ErrorContext => return Err("it has an `error-context`".to_owned()),
    })
}
