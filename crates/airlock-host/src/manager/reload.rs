//! Other bytes for a plugin, from where it was loaded.

use airlock_core::{Capability, Digest, Error, ErrorKind, Identity, Result};
use serde::Serialize;

use super::managed::Origin;
use super::{Allowed, Managed, Manager};
use crate::load::{Examined, off_thread};
use crate::plugin::Plugin;

/// What loading a plugin again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "reload", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reloaded {
    /// Its bytes and its manifest are what they were.
    Unchanged,
    /// Others are in its place.
    Replaced {
        /// Before.
        from: Digest,
        /// Now.
        to: Digest,
    },
}

impl Manager {
    /// Loads a plugin again from the file or folder that it was loaded from, and puts what is there
    /// now in its place, in the way of [`Manager::replace`].
    ///
    /// Other bytes are another plugin to the policy. Ones that ask for more than those that run
    /// are not put in their place, unless that was granted to these very bytes. Nor are ones that
    /// ask for something that those have and they would not have: what was
    /// [allowed](crate::LoadOptions::allow) with the load, unless it is allowed to
    /// [any bytes](Allowed::AnyBytes), and what the host's [`Approval`](airlock_core::Approval)
    /// does not carry over.
    ///
    /// # Errors
    /// [`ErrorKind::NotLoaded`]; [`ErrorKind::InvalidSetting`] where it was loaded from no file;
    /// [`ErrorKind::Escalation`]; every way loading can fail; [`ErrorKind::CommandTaken`]. Then
    /// everything is as it was.
    pub async fn reload(&self, name: &str) -> Result<Reloaded> {
        let managed = self.get(name)?;
        let (manager, other) = (self.clone(), managed.clone());
        // Given up, it has only looked: what follows is the caller's to go on with.
        let found = off_thread("airlock-reload", move || Ok(manager.look(&other, |_| Ok(())))).await?;
        let Some((plugin, reloaded)) = self.of_interest(&managed, found)? else {
            return Ok(Reloaded::Unchanged);
        };
        if let Some(left) = self.put_in_place(&managed, Ok(plugin))?
            && let Err(error) = left.close().await
        {
            managed.cleanup_failed(&error);
        }
        Ok(reloaded)
    }

    /// [`Manager::reload`] on this thread.
    ///
    /// # Errors
    /// As [`Manager::reload`].
    pub fn reload_blocking(&self, name: &str) -> Result<Reloaded> {
        self.reload_checked(&self.get(name)?, |_| Ok(()))
    }

    /// The same with bytes that `check` has to be content with.
    pub(super) fn reload_checked(
        &self,
        managed: &Managed,
        check: impl FnOnce(&Plugin) -> Result<()>,
    ) -> Result<Reloaded> {
        let found = self.look(managed, check);
        match self.of_interest(managed, found)? {
            None => Ok(Reloaded::Unchanged),
            Some((plugin, reloaded)) => self.put_blocking(managed, Ok(plugin)).map(|()| reloaded),
        }
    }

    /// What is there now, and the digest of what was looked at.
    fn look(&self, managed: &Managed, check: impl FnOnce(&Plugin) -> Result<()>) -> Looked {
        let mut digest = None;
        let found = self.found_now(managed, &mut digest).and_then(|found| match found {
            Some(plugin) => check(&plugin).map(|()| Some(plugin)),
            None => Ok(None),
        });
        Looked { found, digest }
    }

    /// What is to be put in place, where it is another. Why it is not is told.
    fn of_interest(&self, managed: &Managed, looked: Looked) -> Result<Option<(Plugin, Reloaded)>> {
        let Looked { found, digest } = looked;
        let found = found.inspect_err(|error| self.tell_refused(managed.name(), digest, error))?;
        Ok(found.map(|plugin| {
            let (from, to) = (managed.plugin().digest(), plugin.digest());
            (plugin, Reloaded::Replaced { from, to })
        }))
    }

    /// The plugin that is there now, where it is another.
    fn found_now(&self, managed: &Managed, digest: &mut Option<Digest>) -> Result<Option<Plugin>> {
        let Some(Origin { path, options }) = managed.origin() else {
            let reason = "it was loaded from no file, so there is nothing to load again".to_owned();
            return Err(Error::new(ErrorKind::InvalidSetting { name: managed.name().to_string(), reason }));
        };
        let (host, running) = (self.host(), managed.plugin());
        let examined = host.examine(path, &options)?;
        *digest = Some(examined.artifact.digest());
        if examined.artifact.digest() == running.digest() && examined.manifest.as_ref() == running.manifest()
        {
            return Ok(None);
        }
        let identity = Identity { name: examined.name.clone(), digest: examined.artifact.digest() };
        let granted = host.granted_to(&identity)?;
        let escalates = |more: Vec<Capability>| match more.is_empty() {
            true => Ok(()),
            false => {
                let plugin = managed.name().to_string();
                Err(Error::new(ErrorKind::Escalation { plugin, more }))
            }
        };
        escalates(asked_beyond(&examined, &running, &granted))?;
        let options = match managed.allows() {
            Allowed::TheseBytes => options.without_allowed(),
            Allowed::AnyBytes => options,
        };
        let plugin = host.load_examined(examined, &options)?;
        // What imports imply is in no manifest, and could be allowed all the same.
        escalates(in_force_beyond(&plugin, &running, &granted))?;
        if let Some(lost) = lost(&plugin, &running) {
            let hint = "it is granted to the bytes that run: grants are for bytes, not for names";
            return Err(Error::new(ErrorKind::Denied(lost)).with_hint(hint));
        }
        Ok(Some(plugin))
    }
}

/// What looking for other bytes came to.
struct Looked {
    found: Result<Option<Plugin>>,
    digest: Option<Digest>,
}

fn is_covered(capability: &Capability, by: &[Capability]) -> bool {
    by.iter().any(|had| had.covers(capability))
}

/// What a manifest asks for that the one before did not, and nobody granted.
fn asked_beyond(examined: &Examined, running: &Plugin, granted: &[Capability]) -> Vec<Capability> {
    let baseline = examined.baseline();
    let before: Vec<Capability> =
        running.requests().iter().map(|request| request.capability.clone()).collect();
    let asked = examined.manifest.iter().flat_map(|manifest| &manifest.requests);
    asked
        .map(|request| &request.capability)
        .filter(|asked| !baseline.contains(&asked.kind()))
        .filter(|asked| !is_covered(asked, &before) && !is_covered(asked, granted))
        .cloned()
        .collect()
}

/// What is in force beyond the ABI's baseline.
fn in_force(plugin: &Plugin) -> impl Iterator<Item = Capability> {
    let (policy, baseline) = (plugin.policy(), plugin.baseline());
    let allowed: Vec<Capability> = policy.allowed().cloned().collect();
    allowed.into_iter().filter(|capability| !baseline.contains(&capability.kind()))
}

/// What is in force that was not before, and nobody granted.
fn in_force_beyond(plugin: &Plugin, running: &Plugin, granted: &[Capability]) -> Vec<Capability> {
    let before: Vec<Capability> = in_force(running).collect();
    in_force(plugin).filter(|had| !is_covered(had, &before) && !is_covered(had, granted)).collect()
}

/// Something that those that run have, and that the others ask for and would not have.
fn lost(plugin: &Plugin, running: &Plugin) -> Option<Capability> {
    let now: Vec<Capability> = in_force(plugin).collect();
    let asks = |had: &Capability| plugin.requests().iter().any(|request| had.covers(&request.capability));
    in_force(running).find(|had| asks(had) && !is_covered(had, &now))
}
