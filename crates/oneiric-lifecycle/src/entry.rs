//! Factories that register themselves at compile time, by group.
//!
//! A crate states its factories where they are defined; a program that links it finds them. Nothing
//! runs before `main`: the entries are only collected, and a program decides which groups it takes.

use oneiric_core::{Coded, ErrorKind, FactoryPath, InvalidFactory};

use crate::factory::{Factory, FactoryTable};

/// A factory stated with [`entry_point!`](crate::entry_point).
#[derive(Debug)]
pub struct EntryPoint {
    group: &'static str,
    path: &'static str,
    make: fn() -> Box<dyn Factory>,
}

impl EntryPoint {
    /// States a factory; what [`entry_point!`](crate::entry_point) expands to.
    pub const fn new(
        group: &'static str,
        path: &'static str,
        make: fn() -> Box<dyn Factory>,
    ) -> Self {
        Self { group, path, make }
    }
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
            $crate::EntryPoint::new($group, $path, $make)
        }
    };
}

/// Why the entry points of a group cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EntryPointError {
    /// One was stated under a name that is none.
    #[error(transparent)]
    Invalid(InvalidFactory),
    /// The name is taken, by another entry point or by hand. Which of the two a program got would
    /// depend on the order in which it was linked.
    #[error("two factories are named {path}")]
    Duplicate {
        /// The name.
        path: FactoryPath,
    },
}

impl Coded for EntryPointError {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(error) => error.code(),
            Self::Duplicate { .. } => "lifecycle.duplicate_factory",
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(error) => error.kind(),
            Self::Duplicate { .. } => ErrorKind::Config,
        }
    }
}

impl FactoryTable {
    /// Inserts every entry point of `group` that is linked into this program; gives their number.
    ///
    /// # Errors
    /// `core.invalid_factory` when one was stated under a name that is none,
    /// `lifecycle.duplicate_factory` when its name is taken. The table is as it was then.
    pub fn insert_entry_points(&mut self, group: &str) -> Result<usize, EntryPointError> {
        let mut table = self.clone();
        let mut inserted = 0;
        for entry in inventory::iter::<EntryPoint>
            .into_iter()
            .filter(|entry| entry.group == group)
        {
            let path: FactoryPath = entry.path.parse().map_err(EntryPointError::Invalid)?;
            if table.get(&path).is_some() {
                return Err(EntryPointError::Duplicate { path });
            }
            table.insert_boxed(path, (entry.make)());
            inserted += 1;
        }
        *self = table;
        Ok(inserted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factory::{BuildError, factory_fn};
    use crate::instance::Instance;

    fn make() -> Box<dyn Factory> {
        let build =
            |_, _: serde_json::Value| async { Err::<Instance, _>(BuildError::failed("no")) };
        Box::new(factory_fn(build))
    }

    entry_point!("test.good", "acme.one:make", make);
    entry_point!("test.good", "acme.two:make", make);
    entry_point!("test.twice", "acme.three:make", make);
    entry_point!("test.twice", "acme.three:make", make);
    entry_point!("test.bad", "no factory", make);

    #[test]
    fn a_group_is_taken_whole_and_no_other() {
        let mut table = FactoryTable::new();
        assert_eq!(table.insert_entry_points("test.good").unwrap(), 2);
        let paths: Vec<&str> = table.paths().map(FactoryPath::as_str).collect();
        assert_eq!(paths, ["acme.one:make", "acme.two:make"]);
        assert_eq!(table.insert_entry_points("test.nobody").unwrap(), 0);
    }

    #[test]
    fn a_name_that_is_taken_or_none_is_refused_and_the_table_left_alone() {
        let mut table = FactoryTable::new();
        let error = table.insert_entry_points("test.twice").unwrap_err();
        assert_eq!(error.code(), "lifecycle.duplicate_factory");
        let error = table.insert_entry_points("test.bad").unwrap_err();
        assert_eq!(error.code(), "core.invalid_factory");
        assert_eq!(table.paths().count(), 0);
        assert_eq!(table.insert_entry_points("test.good").unwrap(), 2);
        assert!(
            table.insert_entry_points("test.good").is_err(),
            "twice the same group"
        );
    }
}
