//! What the application reaches of a session's guest: its memory, globals and tables.

use std::pin::pin;

use airlock_core::{Error, ErrorKind, Result, Value};
use wasmtime::{Extern, Memory, Table, Val};

use super::{Session, ended_error};
use crate::abi::{Failure, allocator_of};
use crate::bounded::{block_on, bounded};
use crate::func::{Func, Params, Results, signature};
use crate::memory::GuestMemory;
use crate::plugin::Plugin;
use crate::store::{Account, Live};

impl Session {
    /// The guest's memory, as its functions left it.
    ///
    /// # Errors
    /// [`ErrorKind::UnsuitableExport`] when it exports no 32-bit memory named `memory`;
    /// [`ErrorKind::SessionEnded`].
    pub fn memory(&mut self) -> Result<GuestMemory<'_>> {
        match &mut self.live {
            Some(alive) => GuestMemory::of(&mut alive.live),
            None => Err(ended_error(&self.ended)),
        }
    }

    /// The value of an exported global.
    ///
    /// # Errors
    /// [`ErrorKind::UnsuitableExport`] when there is no global of that name, or one that is no number;
    /// [`ErrorKind::SessionEnded`].
    pub fn global(&mut self, name: &str) -> Result<Value> {
        let export = self.export(name)?;
        let alive = self.live.as_mut().ok_or_else(|| ended_error(&self.ended))?;
        match export.and_then(Extern::into_global).map(|global| global.get(&mut alive.live.store)) {
            Some(Val::I32(n)) => Ok(Value::I32(n)),
            Some(Val::I64(n)) => Ok(Value::I64(n)),
            Some(Val::F32(bits)) => Ok(Value::F32(f32::from_bits(bits))),
            Some(Val::F64(bits)) => Ok(Value::F64(f64::from_bits(bits))),
            _ => Err(self.unsuitable(name, "it is no global that is a number")),
        }
    }

    /// How many elements an exported table has.
    ///
    /// # Errors
    /// [`ErrorKind::UnsuitableExport`] when there is no table of that name; [`ErrorKind::SessionEnded`].
    pub fn table_size(&mut self, name: &str) -> Result<u64> {
        let table = self.table(name)?;
        let alive = self.live.as_ref().ok_or_else(|| ended_error(&self.ended))?;
        Ok(table.size(&alive.live.store))
    }

    /// The function that an exported table has at `index`, with its types.
    ///
    /// # Errors
    /// As [`Session::table_size`]; [`ErrorKind::UnknownFunction`] where it has none there;
    /// [`ErrorKind::UnsuitableExport`] when that is of other types.
    pub fn table_func<P: Params, R: Results>(&mut self, name: &str, index: u64) -> Result<Func<P, R>> {
        let table = self.table(name)?;
        let place = format!("{name}[{index}]");
        let session = self.id;
        let alive = self.live.as_mut().ok_or_else(|| ended_error(&self.ended))?;
        let store = &mut alive.live.store;
        let Some(func) =
            table.get(&mut *store, index).and_then(|element| element.as_func().flatten().copied())
        else {
            let (plugin, nearest) = (self.plugin.name().to_owned(), Vec::new());
            return Err(Error::new(ErrorKind::UnknownFunction { plugin, function: place, nearest }));
        };
        match func.typed(&*store) {
            Ok(func) => Ok(Func { func, name: place.into(), session }),
            Err(_) => {
                let what = format!("it is {}, not a func {}", func.ty(&*store), signature::<P, R>());
                Err(self.unsuitable(&place, &what))
            }
        }
    }

    fn table(&mut self, name: &str) -> Result<Table> {
        let export = self.export(name)?;
        export.and_then(Extern::into_table).ok_or_else(|| self.unsuitable(name, "it is no table"))
    }

    fn export(&mut self, name: &str) -> Result<Option<Extern>> {
        match &mut self.live {
            Some(alive) => Ok(alive.live.export(name)),
            None => Err(ended_error(&self.ended)),
        }
    }

    #[cold]
    fn unsuitable(&self, export: &str, reason: &str) -> Error {
        let reason = match self.plugin.shape().export(export) {
            Some(ty) => format!("it is a {ty}"),
            None => reason.to_owned(),
        };
        Error::new(ErrorKind::UnsuitableExport { export: export.to_owned(), reason })
    }

    /// Calls a function of a pointer and a length with these bytes, which are written to memory of the
    /// guest's first: from its own allocator, for it to free, or where it exports none, to pages that are
    /// the next call's again.
    ///
    /// ```
    /// # fn main() -> Result<(), airlock_host::Error> {
    /// # let options = airlock_host::LoadOptions::new().abi(airlock_host::AbiId::Raw);
    /// # let host = airlock_host::Host::new()?;
    /// # let plugin = host.load_blocking("../../plugins/mofa-rust/mofa_rust.wasm", options)?;
    /// let mut session = plugin.session_blocking()?;
    /// assert_eq!(session.call_with_bytes_blocking::<i32>("process_data", b"hello")?, 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Session::allocate`] and [`Session::call_func`].
    pub async fn call_with_bytes<R: Results>(&mut self, name: &str, bytes: &[u8]) -> Result<R> {
        let (pointer, length) = self.hand_over(bytes, true).await?;
        self.call_func(name, (pointer, length)).await
    }

    /// [`Session::call_with_bytes`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::call_with_bytes`] and [`Session::call_func_blocking`].
    pub fn call_with_bytes_blocking<R: Results>(&mut self, name: &str, bytes: &[u8]) -> Result<R> {
        let awaited = self.plugin.needs_fiber()?;
        let (pointer, length) = block_on(pin!(self.hand_over(bytes, awaited)))?;
        self.call_func_blocking(name, (pointer, length))
    }

    async fn hand_over(&mut self, bytes: &[u8], awaited: bool) -> Result<(u32, u32)> {
        self.plugin.check_input(bytes.len() as u64)?;
        let length = u32::try_from(bytes.len()).map_err(|_| Error::host("more than a guest has memory"))?;
        let pointer = self.allocate_in(length, awaited, Live::take_frame).await?;
        self.memory()?.write(pointer, bytes)?;
        Ok((pointer, length))
    }

    /// `length` bytes of the guest's memory: from its own allocator, or where it exports none, in pages that
    /// its memory grows by. They are the guest's until its session ends.
    ///
    /// # Errors
    /// As [`Session::memory`] and [`Session::call`]; [`ErrorKind::BadGuest`] when the allocator gives nothing,
    /// or what is not in its memory, which ends the session; [`ErrorKind::Limit`] when there is no more.
    pub async fn allocate(&mut self, length: u32) -> Result<u32> {
        self.allocate_in(length, true, Live::take).await
    }

    /// [`Session::allocate`] on this thread, until it is done.
    ///
    /// # Errors
    /// As [`Session::allocate`] and [`Session::call_blocking`].
    pub fn allocate_blocking(&mut self, length: u32) -> Result<u32> {
        let awaited = self.plugin.needs_fiber()?;
        block_on(pin!(self.allocate_in(length, awaited, Live::take)))
    }

    async fn allocate_in(&mut self, length: u32, awaited: bool, pages: TakePages) -> Result<u32> {
        // Refused before the session is touched.
        self.memory()?;
        let plugin = self.plugin.clone();
        let steps = self.begin(true)?;
        let session = &mut *steps.session;
        let Some(mut alive) = session.live.take() else { return Err(ended_error(&session.ended)) };
        let live = &mut alive.live;
        live.store.data_mut().set_awaited(awaited);
        let deadline = live.store.data().deadline().unwrap_or_else(|| session.deadline());
        let taken = bounded(deadline, plugin.cuts(None), take(live, &plugin, length, pages)).await;
        match plugin.conclude(live, taken) {
            Ok(Some(pointer)) => {
                session.live = Some(alive);
                Ok(pointer)
            }
            Ok(None) => {
                let error = live.store.data().no_memory(length);
                session.live = Some(alive);
                Err(error)
            }
            Err(error) => {
                session.last = Account::of(&mut live.store, None);
                session.ended = Some(error.to_string());
                Err(error)
            }
        }
    }
}

/// Takes pages for a guest that has no allocator.
type TakePages = fn(&mut Live, Memory, u32) -> Option<u32>;

/// So many bytes of the guest's memory. `None` when there are no more pages for a guest without an
/// allocator.
async fn take(
    live: &mut Live,
    plugin: &Plugin,
    length: u32,
    pages: TakePages,
) -> Result<Option<u32>, Failure> {
    let memory = live.memory32().ok_or_else(GuestMemory::missing)?;
    match allocator_of(plugin.shape(), None) {
        Some(allocator) => allocator.take(live, memory, length).await.map(Some),
        None => Ok(pages(live, memory, length)),
    }
}
