//! Factories that register themselves at compile time, by group.
//!
//! A crate states its factories where they are defined; a program that links it finds them. Nothing
//! runs before `main`: the entries are only collected, and a program decides which groups it takes.

use oneiric_core::{FactoryPath, InvalidFactory};

use crate::factory::{Factory, FactoryTable};

/// A factory stated with [`entry_point!`](crate::entry_point).
#[derive(Debug)]
pub struct EntryPoint {
    /// The group, such as `oneiric.adapters`.
    pub group: &'static str,
    /// The factory's name, `dotted.module:function`.
    pub path: &'static str,
    /// Makes the factory.
    pub make: fn() -> Box<dyn Factory>,
}

inventory::collect!(EntryPoint);

/// States a factory of a group.
///
/// ```
/// use oneiric_lifecycle::{BuildError, FactoryTable, Instance, entry_point, factory_fn};
///
/// #[derive(serde::Deserialize)]
/// struct None {}
///
/// entry_point!("oneiric.adapters", "acme.cache:nowhere", || {
///     Box::new(factory_fn(|_, None {}| async { Err::<Instance, _>(BuildError::failed("no")) }))
/// });
///
/// let mut table = FactoryTable::new();
/// table.insert_entry_points("oneiric.adapters").unwrap();
/// assert!(table.paths().any(|path| path.as_str() == "acme.cache:nowhere"));
/// ```
#[macro_export]
macro_rules! entry_point {
    ($group:expr, $path:expr, $make:expr) => {
        $crate::__private::inventory::submit! {
            $crate::EntryPoint { group: $group, path: $path, make: $make }
        }
    };
}

impl FactoryTable {
    /// Inserts every entry point of `group` that is linked into this program; gives their number.
    ///
    /// # Errors
    /// `core.invalid_factory` when one was stated under a name that is none.
    pub fn insert_entry_points(&mut self, group: &str) -> Result<usize, InvalidFactory> {
        let mut inserted = 0;
        for entry in inventory::iter::<EntryPoint>
            .into_iter()
            .filter(|entry| entry.group == group)
        {
            let path: FactoryPath = entry.path.parse()?;
            self.insert_boxed(path, (entry.make)());
            inserted += 1;
        }
        Ok(inserted)
    }
}
