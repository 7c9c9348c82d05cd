//! Mail that is kept, found again, and kept apart.

mod accounts;
mod kept;
mod searched;
mod swept;
mod upstream;
