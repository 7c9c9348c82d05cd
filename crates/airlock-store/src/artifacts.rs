//! The wasm of installed plugins, each file under its digest.

use airlock_core::{Digest, Error, ErrorKind, Result};
use airlock_files::{Folder, read_small};

use crate::Store;
use crate::db::writing;
use crate::installed::wanted;

/// The folder of artifacts in the data folder.
pub(crate) const FOLDER: &str = "artifacts";

/// What a digest's file is called.
pub(crate) fn file_name(digest: &Digest) -> String {
    format!("{digest}.wasm")
}

/// The digest that a file is called by; `None` when it is none of ours.
fn digest_of(name: &str) -> Option<Digest> {
    name.strip_suffix(".wasm")?.parse().ok()
}

impl Store {
    /// The bytes of an artifact, which are what their digest says.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] when there is no such file, or its bytes are others.
    pub fn artifact(&self, digest: &Digest) -> Result<Vec<u8>> {
        let name = file_name(digest);
        let unusable = |reason: String| {
            let path = self.data().join(FOLDER).join(&name);
            let error = Error::new(ErrorKind::StateUnusable { path, reason });
            error.with_hint("`airlock doctor` looks what can be saved")
        };
        let folder = self.artifacts()?;
        let found = folder.file(&name).map_err(|error| unusable(error.to_string()))?;
        let (file, metadata) = found.ok_or_else(|| unusable("it is gone".to_owned()))?;
        let bytes = read_small(file, metadata.len()).map_err(|error| unusable(error.to_string()))?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(unusable("its bytes are not what was installed".to_owned())),
        }
    }

    /// Keeps bytes under their digest, durably, and returns it.
    pub(crate) fn keep_artifact(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.artifact(&digest).is_err() {
            let name = file_name(&digest);
            self.artifacts()?.put_durably(&name, bytes).map_err(|error| {
                Error::host(format!("cannot keep the artifact `{name}`")).with_source(error)
            })?;
        }
        Ok(digest)
    }

    /// Removes the files that no version names; returns their names.
    pub(crate) fn sweep_artifacts(&self) -> Result<Vec<String>> {
        let folder = self.artifacts()?;
        let mut connection = self.connection();
        // Nobody installs meanwhile.
        let transaction = writing(&mut connection)?;
        let wanted = wanted(&transaction)?;
        let names = folder.names().map_err(|error| self.no_artifacts(&error))?;
        let unwanted = |name: &String| digest_of(name).is_none_or(|digest| !wanted.contains(&digest));
        // One that cannot be removed is not swept, and the next time tries again.
        Ok(names.into_iter().filter(unwanted).filter(|name| folder.remove(name).is_ok()).collect())
    }

    pub(crate) fn artifacts(&self) -> Result<Folder> {
        self.folder().make_folder(FOLDER).map_err(|error| self.no_artifacts(&error))
    }

    fn no_artifacts(&self, error: &std::io::Error) -> Error {
        let path = self.data().join(FOLDER);
        Error::new(ErrorKind::StateUnusable { path, reason: error.to_string() })
    }
}
