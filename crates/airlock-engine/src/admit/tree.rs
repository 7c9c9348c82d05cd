//! What a component is once it is written out: everything that it instantiates, components in components
//! included, counted before a compiler does the same.
//!
//! The compiler goes through a component's steps, and through those of each component that it instantiates
//! as often as that is instantiated. What it hands from one to another it copies whole, with all that is in it: a
//! component with those of its surroundings that it names, an instance with what it exports. So a few hundred bytes
//! can stand for more than there is memory: each component that has the one before it twice doubles that,
//! and so does each instance, and each alias outward to those before. The same steps are gone through here with
//! numbers in the place of what they make, until there is too much of something.

use std::collections::HashMap;

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance,
    ComponentInstantiationArg, ComponentOuterAliasKind, ComponentTypeRef, Encoding, Instance, Payload,
};

/// Components within one another, at most. What composes components puts each into one more.
pub(super) const MAX_DEPTH: usize = 32;

/// Modules that a component instantiates in all, at most. An instance is paid for with the host's own
/// memory, as much as its module has functions, and is in no budget. What compilers make of a program has some
/// five, and twelve with stand-ins for WASI composed into it.
const MAX_MODULES: usize = 16;

/// Components that it instantiates in all, at most. One of these is a few hundred bytes of the host's; there is one
/// for each interface that a component exports.
const MAX_COMPONENTS: usize = 128;

/// Memories and tables of all modules that it instantiates, each at most: as many as a module alone may have.
const MAX_MEMORIES: u64 = 100;
const MAX_TABLES: u64 = 100;

/// Imports, exports, aliases, arguments and functions of everything that is instantiated, at most, those that
/// are copied as often as they are.
const MAX_PARTS: u64 = 100_000;

/// Why there is no going on.
#[derive(Debug)]
pub(super) enum Fault {
    Invalid(BinaryReaderError),
    Unsupported(String),
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Self {
        Fault::Invalid(error)
    }
}

fn too_much<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(what.into()))
}

/// The steps of a component and of those that are defined in it, as they are read.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    definitions: Vec<Definition<'a>>,
    modules: Vec<Holds>,
    /// Definitions that are being read, the innermost last.
    open: Vec<usize>,
    /// Parts of all definitions.
    parts: u64,
}

/// A component as it is defined.
#[derive(Debug, Default)]
struct Definition<'a> {
    steps: Vec<Step<'a>>,
    /// Parts that each instance of it has.
    parts: u64,
    /// What it and those within it name of its surroundings: how far out, which kind, which one.
    captures: Vec<(u32, ComponentOuterAliasKind, u32)>,
}

/// What a module has when it is instantiated.
#[derive(Debug, Clone, Copy, Default)]
struct Holds {
    memories: u64,
    tables: u64,
}

#[derive(Debug)]
enum Step<'a> {
    Module(usize),
    Component(usize),
    Import(&'a str, ComponentExternalKind),
    Outer(ComponentOuterAliasKind, u32, u32),
    Alias(ComponentExternalKind, u32, &'a str),
    Instantiate(u32, Box<[ComponentInstantiationArg<'a>]>),
    Bundle(Box<[ComponentExport<'a>]>),
    InstantiateModule(u32),
    Export(&'a str, ComponentExternalKind, u32),
}

impl<'a> Tree<'a> {
    /// Takes what a component, or a module in one, is made of, in order. The validator has seen it before.
    ///
    /// # Errors
    /// Where it cannot be read, or is of more parts than are counted.
    pub(super) fn read(&mut self, payload: &Payload<'a>) -> Result<(), Fault> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                let index = self.definitions.len();
                if !self.open.is_empty() {
                    self.step(1, Step::Component(index))?;
                }
                self.definitions.push(Definition::default());
                self.open.push(index);
            }
            Payload::ModuleSection { .. } => {
                self.step(1, Step::Module(self.modules.len()))?;
                self.modules.push(Holds::default());
            }
            Payload::MemorySection(memories) => {
                self.holds(|holds| holds.memories += u64::from(memories.count()))
            }
            Payload::TableSection(tables) => self.holds(|holds| holds.tables += u64::from(tables.count())),
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    match instance? {
                        Instance::Instantiate { module_index, args } => {
                            self.step(1 + args.len(), Step::InstantiateModule(module_index))?;
                        }
                        Instance::FromExports(exports) => self.count(1 + exports.len())?,
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    match instance? {
                        ComponentInstance::Instantiate { component_index, args } => {
                            self.step(1 + args.len(), Step::Instantiate(component_index, args))?;
                        }
                        ComponentInstance::FromExports(exports) => {
                            self.step(1 + exports.len(), Step::Bundle(exports))?;
                        }
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(alias?)?;
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    self.step(1, Step::Import(import.name.name, kind_of(import.ty)))?;
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.step(1, Step::Export(export.name.name, export.kind, export.index))?;
                }
            }
            Payload::ComponentCanonicalSection(functions) => self.count(functions.count() as usize)?,
            _ => {}
        }
        Ok(())
    }

    /// Takes the end of a component.
    pub(super) fn end(&mut self) {
        let Some(ended) = self.open.pop() else { return };
        let Some(&around) = self.open.last() else { return };
        let further = self.definitions[ended].captures.iter().filter(|(out, ..)| *out > 1);
        let further: Vec<_> = further.map(|(out, kind, index)| (out - 1, *kind, *index)).collect();
        self.definitions[around].captures.extend(further);
    }

    fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), Fault> {
        match alias {
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                self.step(1, Step::Alias(kind, instance_index, name))
            }
            ComponentAlias::CoreInstanceExport { .. } => self.count(1),
            ComponentAlias::Outer { kind, count, index } => {
                let is_copied =
                    matches!(kind, ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::Component);
                if let Some(&at) = self.open.last()
                    && is_copied
                    && count > 0
                {
                    self.definitions[at].captures.push((count, kind, index));
                }
                match is_copied {
                    true => self.step(1, Step::Outer(kind, count, index)),
                    false => Ok(()),
                }
            }
        }
    }

    fn holds(&mut self, change: impl FnOnce(&mut Holds)) {
        if let Some(module) = self.modules.last_mut() {
            change(module);
        }
    }

    fn step(&mut self, parts: usize, step: Step<'a>) -> Result<(), Fault> {
        self.count(parts)?;
        if let Some(&at) = self.open.last() {
            self.definitions[at].steps.push(step);
        }
        Ok(())
    }

    /// Counts parts of the component that is being read.
    fn count(&mut self, parts: usize) -> Result<(), Fault> {
        if let Some(&at) = self.open.last() {
            self.definitions[at].parts += parts as u64;
        }
        self.parts += parts as u64;
        within_parts(self.parts)
    }

    /// Goes through the whole component, once it has been read. A module has nothing to go through.
    ///
    /// # Errors
    /// Where it comes to more than there may be.
    pub(super) fn write_out(&self) -> Result<Totals, Fault> {
        match self.definitions.is_empty() {
            true => Ok(Totals::default()),
            false => Written::new(self).run(),
        }
    }
}

/// What a component instantiates in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    components: usize,
    modules: usize,
    memories: u64,
    tables: u64,
}

fn within_parts(parts: u64) -> Result<(), Fault> {
    match parts <= MAX_PARTS {
        true => Ok(()),
        false => too_much(format!("what it instantiates has more than {MAX_PARTS} parts")),
    }
}

fn kind_of(ty: ComponentTypeRef) -> ComponentExternalKind {
    match ty {
        ComponentTypeRef::Module(_) => ComponentExternalKind::Module,
        ComponentTypeRef::Func(_) => ComponentExternalKind::Func,
        ComponentTypeRef::Value(_) => ComponentExternalKind::Value,
        ComponentTypeRef::Type(_) => ComponentExternalKind::Type,
        ComponentTypeRef::Instance(_) => ComponentExternalKind::Instance,
        ComponentTypeRef::Component(_) => ComponentExternalKind::Component,
    }
}

/// What a name stands for, as far as it can be instantiated or holds what can. `None` is what the outermost
/// component imports, of which nothing is known.
#[derive(Debug, Clone, Copy)]
enum Item {
    Module(Option<usize>),
    Component(Option<Closure>),
    Instance(Option<usize>),
    Other,
}

/// A component that can be instantiated: what it is, and where it was defined.
#[derive(Debug, Clone, Copy)]
struct Closure {
    definition: usize,
    /// The frame around it.
    around: usize,
    /// Parts that a copy of it has.
    weight: u64,
}

/// What an instance exports, and the parts that a copy of it has.
#[derive(Debug)]
struct Exports<'a> {
    items: HashMap<&'a str, Item>,
    weight: u64,
}

/// A component that is being instantiated, or has been.
#[derive(Debug, Default)]
struct Frame<'a> {
    definition: usize,
    around: Option<usize>,
    next: usize,
    /// `None` is for the outermost one, whose imports are unknown.
    given: Option<HashMap<&'a str, Item>>,
    modules: Vec<Option<usize>>,
    components: Vec<Option<Closure>>,
    instances: Vec<Option<usize>>,
    exports: HashMap<&'a str, Item>,
}

/// A component that is being written out.
struct Written<'t, 'a> {
    tree: &'t Tree<'a>,
    /// All that there ever were: what is defined in one names it later.
    frames: Vec<Frame<'a>>,
    running: Vec<usize>,
    instances: Vec<Exports<'a>>,
    totals: Totals,
    parts: u64,
}

impl<'t, 'a> Written<'t, 'a> {
    fn new(tree: &'t Tree<'a>) -> Self {
        Written {
            tree,
            frames: vec![Frame::default()],
            running: vec![0],
            instances: Vec::new(),
            totals: Totals::default(),
            parts: 0,
        }
    }

    fn run(mut self) -> Result<Totals, Fault> {
        while let Some(&at) = self.running.last() {
            let frame = &mut self.frames[at];
            let Some(step) = self.tree.definitions[frame.definition].steps.get(frame.next) else {
                self.running.pop();
                self.finish(at)?;
                continue;
            };
            frame.next += 1;
            self.step(at, step)?;
        }
        Ok(self.totals)
    }

    /// Hands what a component exports to the one that instantiates it.
    fn finish(&mut self, at: usize) -> Result<(), Fault> {
        let exports = std::mem::take(&mut self.frames[at].exports);
        if let Some(&caller) = self.running.last() {
            let instance = self.instance(exports);
            self.push(caller, Item::Instance(Some(instance)))?;
        }
        Ok(())
    }

    fn step(&mut self, at: usize, step: &'t Step<'a>) -> Result<(), Fault> {
        match step {
            Step::Module(module) => self.push(at, Item::Module(Some(*module))),
            Step::Component(definition) => {
                let weight = self.weight_of(*definition, at);
                self.push(at, Item::Component(Some(Closure { definition: *definition, around: at, weight })))
            }
            Step::Import(name, kind) => {
                let given = self.frames[at].given.as_ref().and_then(|given| given.get(name).copied());
                self.push(at, given.unwrap_or(unknown(*kind)))
            }
            Step::Outer(kind, count, index) => {
                let item = self.outer(at, *kind, *count, *index);
                self.push(at, item)
            }
            Step::Alias(kind, instance, name) => {
                let instance = self.frames[at].instances.get(*instance as usize).copied().flatten();
                let item = instance.and_then(|instance| self.instances[instance].items.get(name).copied());
                self.push(at, item.unwrap_or(unknown(*kind)))
            }
            Step::Bundle(exports) => {
                let mut items = HashMap::with_capacity(exports.len());
                for export in exports {
                    let item = self.item(at, export.kind, export.index);
                    self.spend(self.weight(item))?;
                    items.insert(export.name.name, item);
                }
                let instance = self.instance(items);
                self.push(at, Item::Instance(Some(instance)))
            }
            Step::Export(name, kind, index) => {
                let item = self.item(at, *kind, *index);
                self.frames[at].exports.insert(name, item);
                self.push(at, item)
            }
            Step::InstantiateModule(index) => self.instantiate_module(at, *index),
            Step::Instantiate(index, given) => self.instantiate(at, *index, given),
        }
    }

    fn instantiate_module(&mut self, at: usize, index: u32) -> Result<(), Fault> {
        let Some(module) = self.frames[at].modules.get(index as usize).copied().flatten() else {
            return too_much("it instantiates a module that it imports");
        };
        let holds = self.tree.modules[module];
        self.totals.modules += 1;
        self.totals.memories += holds.memories;
        self.totals.tables += holds.tables;
        if self.totals.modules > MAX_MODULES {
            return too_much(format!("it instantiates more than {MAX_MODULES} modules"));
        }
        if self.totals.memories > MAX_MEMORIES {
            return too_much(format!("what it instantiates has more than {MAX_MEMORIES} memories"));
        }
        if self.totals.tables > MAX_TABLES {
            return too_much(format!("what it instantiates has more than {MAX_TABLES} tables"));
        }
        Ok(())
    }

    fn instantiate(
        &mut self,
        at: usize,
        index: u32,
        given: &'t [ComponentInstantiationArg<'a>],
    ) -> Result<(), Fault> {
        let Some(closure) = self.frames[at].components.get(index as usize).copied().flatten() else {
            return too_much("it instantiates a component that it imports");
        };
        self.totals.components += 1;
        if self.totals.components > MAX_COMPONENTS {
            return too_much(format!("it instantiates more than {MAX_COMPONENTS} components"));
        }
        self.spend(self.tree.definitions[closure.definition].parts + closure.weight)?;
        let mut items = HashMap::with_capacity(given.len());
        for argument in given {
            let item = self.item(at, argument.kind, argument.index);
            self.spend(self.weight(item))?;
            items.insert(argument.name, item);
        }
        self.running.push(self.frames.len());
        self.frames.push(Frame {
            definition: closure.definition,
            around: Some(closure.around),
            given: Some(items),
            ..Frame::default()
        });
        Ok(())
    }

    /// Parts of a component with what it names of its surroundings, defined in a frame.
    fn weight_of(&self, definition: usize, at: usize) -> u64 {
        let captures = self.tree.definitions[definition].captures.iter();
        let weights = captures.map(|(out, kind, index)| self.weight(self.outer(at, *kind, out - 1, *index)));
        weights.fold(1, u64::saturating_add)
    }

    fn weight(&self, item: Item) -> u64 {
        match item {
            Item::Component(Some(closure)) => closure.weight,
            Item::Instance(Some(instance)) => self.instances[instance].weight,
            _ => 1,
        }
    }

    /// Counts what is made or copied.
    fn spend(&mut self, parts: u64) -> Result<(), Fault> {
        self.parts = self.parts.saturating_add(parts);
        within_parts(self.parts)
    }

    fn instance(&mut self, items: HashMap<&'a str, Item>) -> usize {
        let weight = items.values().fold(1, |all, item| u64::saturating_add(all, self.weight(*item)));
        self.instances.push(Exports { items, weight });
        self.instances.len() - 1
    }

    /// What is `count` frames out from one, by where those were defined.
    fn outer(&self, at: usize, kind: ComponentOuterAliasKind, count: u32, index: u32) -> Item {
        let frame = (0..count).try_fold(at, |at, _| self.frames[at].around);
        match kind {
            ComponentOuterAliasKind::CoreModule => {
                let found = frame.and_then(|frame| self.frames[frame].modules.get(index as usize));
                Item::Module(found.copied().flatten())
            }
            ComponentOuterAliasKind::Component => {
                let found = frame.and_then(|frame| self.frames[frame].components.get(index as usize));
                Item::Component(found.copied().flatten())
            }
            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => Item::Other,
        }
    }

    fn item(&self, at: usize, kind: ComponentExternalKind, index: u32) -> Item {
        let (frame, index) = (&self.frames[at], index as usize);
        match kind {
            ComponentExternalKind::Module => Item::Module(frame.modules.get(index).copied().flatten()),
            ComponentExternalKind::Component => {
                Item::Component(frame.components.get(index).copied().flatten())
            }
            ComponentExternalKind::Instance => Item::Instance(frame.instances.get(index).copied().flatten()),
            ComponentExternalKind::Func | ComponentExternalKind::Value | ComponentExternalKind::Type => {
                Item::Other
            }
        }
    }

    /// Gives an item the next number of its kind in a frame.
    fn push(&mut self, at: usize, item: Item) -> Result<(), Fault> {
        self.spend(self.weight(item))?;
        let frame = &mut self.frames[at];
        match item {
            Item::Module(module) => frame.modules.push(module),
            Item::Component(component) => frame.components.push(component),
            Item::Instance(instance) => frame.instances.push(instance),
            Item::Other => {}
        }
        Ok(())
    }
}

/// What nothing is known of.
fn unknown(kind: ComponentExternalKind) -> Item {
    match kind {
        ComponentExternalKind::Module => Item::Module(None),
        ComponentExternalKind::Component => Item::Component(None),
        ComponentExternalKind::Instance => Item::Instance(None),
        ComponentExternalKind::Func | ComponentExternalKind::Value | ComponentExternalKind::Type => {
            Item::Other
        }
    }
}

#[cfg(test)]
mod tests;
