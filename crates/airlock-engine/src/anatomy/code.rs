//! What functions do, and which of them can be reached.

use std::collections::HashMap;

use wasmparser::{BinaryReaderError, FunctionBody, Operator};

use super::LARGEST;

/// The functions of a module, imported ones first.
#[derive(Default)]
pub(super) struct Code {
    imported: u32,
    /// Of each function with a body: what it does, and where its callees end in `callees`.
    functions: Vec<(Traits, usize)>,
    callees: Vec<u32>,
    /// Which function named each one last, so that each has each callee once.
    last_caller: HashMap<u32, usize>,
    /// Those that are called from outside, or by way of a table.
    roots: Vec<u32>,
    /// Sizes and numbers of the largest functions, the largest first.
    pub(super) largest: Vec<(u64, u32)>,
    /// How often each global was lowered as a stack pointer is where a function begins.
    lowered: HashMap<u32, u32>,
}

/// What a function does by itself.
#[derive(Debug, Clone, Copy, Default)]
struct Traits {
    makes_nan: bool,
    relaxed_simd: bool,
    grows: bool,
}

/// What those functions do that can be reached, by the first one that does.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub(super) makes_nan: Option<u32>,
    pub(super) relaxed_simd: Option<u32>,
    pub(super) grows: bool,
}

/// How far the instructions are read that LLVM begins a function with which needs some stack:
/// the pointer, how much, the difference, kept.
#[derive(Clone, Copy)]
enum Prologue {
    Nothing,
    Pointer(u32),
    Amount(u32),
    Difference(u32),
}

impl Code {
    pub(super) fn import(&mut self) {
        self.imported += 1;
    }

    pub(super) fn root(&mut self, function: u32) {
        self.roots.push(function);
    }

    /// Reads a function's code.
    pub(super) fn function(&mut self, body: &FunctionBody<'_>) -> Result<(), BinaryReaderError> {
        let own = self.functions.len();
        let index = self.imported.saturating_add(u32::try_from(own).unwrap_or(u32::MAX));
        self.sized(body.range().len() as u64, index);
        let (mut traits, mut prologue) = (Traits::default(), Prologue::Nothing);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let operator = operators.read()?;
            prologue = self.prologue(prologue, &operator);
            match operator {
                Operator::Call { function_index }
                | Operator::ReturnCall { function_index }
                | Operator::RefFunc { function_index } => {
                    if self.last_caller.insert(function_index, own) != Some(own) {
                        self.callees.push(function_index);
                    }
                }
                Operator::MemoryGrow { .. } => traits.grows = true,
                operator => {
                    traits.makes_nan |= makes_nan(&operator);
                    traits.relaxed_simd |= is_relaxed(&operator);
                }
            }
        }
        self.functions.push((traits, self.callees.len()));
        Ok(())
    }

    fn sized(&mut self, size: u64, index: u32) {
        let at = self.largest.partition_point(|(other, _)| *other >= size);
        if at < LARGEST {
            self.largest.insert(at, (size, index));
            self.largest.truncate(LARGEST);
        }
    }

    fn prologue(&mut self, before: Prologue, operator: &Operator<'_>) -> Prologue {
        match (before, operator) {
            (_, Operator::GlobalGet { global_index }) => Prologue::Pointer(*global_index),
            (Prologue::Pointer(global), Operator::I32Const { .. }) => Prologue::Amount(global),
            (Prologue::Amount(global), Operator::I32Sub) => Prologue::Difference(global),
            // AssemblyScript's own stack, which it checks, is lowered without being kept.
            (Prologue::Difference(global), Operator::LocalTee { .. } | Operator::LocalSet { .. }) => {
                *self.lowered.entry(global).or_default() += 1;
                Prologue::Nothing
            }
            _ => Prologue::Nothing,
        }
    }

    /// The global that functions lower as a stack pointer.
    pub(super) fn stack_pointer(&self) -> Option<u32> {
        let most = self.lowered.iter().max_by_key(|(global, count)| (**count, u32::MAX - **global));
        most.map(|(global, _)| *global)
    }

    /// What can be reached from the roots does.
    pub(super) fn reached(&mut self) -> Reached {
        let mut reached = Reached::default();
        let mut seen = vec![false; self.functions.len()];
        let mut open = std::mem::take(&mut self.roots);
        while let Some(function) = open.pop() {
            let Some(own) = function.checked_sub(self.imported).map(|own| own as usize) else { continue };
            let (Some(seen), Some((traits, end))) = (seen.get_mut(own), self.functions.get(own)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            let first = |known: Option<u32>| Some(known.map_or(function, |known| known.min(function)));
            if traits.makes_nan {
                reached.makes_nan = first(reached.makes_nan);
            }
            if traits.relaxed_simd {
                reached.relaxed_simd = first(reached.relaxed_simd);
            }
            reached.grows |= traits.grows;
            let begin = own.checked_sub(1).map_or(0, |before| self.functions[before].1);
            open.extend(&self.callees[begin..*end]);
        }
        reached
    }
}

/// Whether an instruction can come to a NaN whose bits depend on the machine.
fn makes_nan(operator: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        operator,
        F32Add
            | F32Sub
            | F32Mul
            | F32Div
            | F32Sqrt
            | F32Min
            | F32Max
            | F32Ceil
            | F32Floor
            | F32Trunc
            | F32Nearest
            | F32DemoteF64
            | F64Add
            | F64Sub
            | F64Mul
            | F64Div
            | F64Sqrt
            | F64Min
            | F64Max
            | F64Ceil
            | F64Floor
            | F64Trunc
            | F64Nearest
            | F64PromoteF32
            | F32x4Add
            | F32x4Sub
            | F32x4Mul
            | F32x4Div
            | F32x4Sqrt
            | F32x4Min
            | F32x4Max
            | F32x4Ceil
            | F32x4Floor
            | F32x4Trunc
            | F32x4Nearest
            | F32x4DemoteF64x2Zero
            | F64x2Add
            | F64x2Sub
            | F64x2Mul
            | F64x2Div
            | F64x2Sqrt
            | F64x2Min
            | F64x2Max
            | F64x2Ceil
            | F64x2Floor
            | F64x2Trunc
            | F64x2Nearest
            | F64x2PromoteLowF32x4
    )
}

/// Whether an instruction is one of those that may do one thing here and another elsewhere.
fn is_relaxed(operator: &Operator<'_>) -> bool {
    use Operator::*;
    matches!(
        operator,
        I8x16RelaxedSwizzle
            | I32x4RelaxedTruncF32x4S
            | I32x4RelaxedTruncF32x4U
            | I32x4RelaxedTruncF64x2SZero
            | I32x4RelaxedTruncF64x2UZero
            | F32x4RelaxedMadd
            | F32x4RelaxedNmadd
            | F64x2RelaxedMadd
            | F64x2RelaxedNmadd
            | I8x16RelaxedLaneselect
            | I16x8RelaxedLaneselect
            | I32x4RelaxedLaneselect
            | I64x2RelaxedLaneselect
            | F32x4RelaxedMin
            | F32x4RelaxedMax
            | F64x2RelaxedMin
            | F64x2RelaxedMax
            | I16x8RelaxedQ15mulrS
            | I16x8RelaxedDotI8x16I7x16S
            | I32x4RelaxedDotI8x16I7x16AddS
    )
}
