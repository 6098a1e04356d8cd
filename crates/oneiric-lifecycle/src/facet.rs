//! Facets: the typed sides of an instance, found by the trait object's type.
//!
//! An instance is one object behind several trait objects; a caller asks for the one it can use.
//! The list is short, so a scan by `TypeId` beats a map, and no `unsafe` is needed: each entry is an
//! `Arc<T>` behind `Any`.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::sync::Arc;

use crate::invoke::Invoke;

/// The facets of one instance.
#[derive(Default)]
pub(crate) struct Facets {
    entries: Vec<Facet>,
}

struct Facet {
    of: FacetType,
    /// An `Arc<T>`.
    value: Box<dyn Any + Send + Sync>,
}

/// Names a facet: the trait object's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FacetType {
    id: TypeId,
    name: &'static str,
}

impl FacetType {
    pub(crate) fn of<T: ?Sized + 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
        }
    }

    /// The type's name for people: `dyn Cache`, without the module path.
    pub(crate) fn name(self) -> String {
        self.name
            .split(' ')
            .map(|word| word.rsplit("::").next().unwrap_or(word))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Facets {
    /// Adds `facet`, taking the place of an earlier one of the same type.
    pub(crate) fn insert<T: ?Sized + Send + Sync + 'static>(&mut self, facet: Arc<T>) {
        let of = FacetType::of::<T>();
        self.entries.retain(|entry| entry.of.id != of.id);
        self.entries.push(Facet {
            of,
            value: Box::new(facet),
        });
    }

    #[inline]
    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<&Arc<T>> {
        self.position::<T>().and_then(|position| self.at(position))
    }

    /// Where the facet stands, so that a lease looks it up once.
    #[inline]
    pub(crate) fn position<T: ?Sized + 'static>(&self) -> Option<usize> {
        let id = TypeId::of::<T>();
        self.entries.iter().position(|entry| entry.of.id == id)
    }

    #[inline]
    pub(crate) fn at<T: ?Sized + Send + Sync + 'static>(&self, position: usize) -> Option<&Arc<T>> {
        self.entries.get(position)?.value.downcast_ref()
    }

    pub(crate) fn has(&self, of: FacetType) -> bool {
        self.entries.iter().any(|entry| entry.of == of)
    }
}

impl fmt::Debug for Facets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|entry| entry.of.name()))
            .finish()
    }
}

/// Gives an instance that only speaks [`Invoke`] a typed facet.
///
/// A sandboxed component has no Rust trait objects; a proxy turns each method of the facet into an
/// operation. The lifecycle attaches it to every instance that lacks the facet and answers all the
/// operations the proxy needs, so that a `Live<dyn Cache>` works on both kinds alike.
#[derive(Clone)]
pub struct FacetProxy {
    of: FacetType,
    operations: Vec<&'static str>,
    attach: Arc<Attach>,
}

type Attach = dyn Fn(&mut Facets, Arc<dyn Invoke>) + Send + Sync;

impl FacetProxy {
    /// A proxy for the facet `T`, for instances that answer all of `operations`.
    pub fn new<T: ?Sized + Send + Sync + 'static>(
        operations: impl IntoIterator<Item = &'static str>,
        make: impl Fn(Arc<dyn Invoke>) -> Arc<T> + Send + Sync + 'static,
    ) -> Self {
        Self {
            of: FacetType::of::<T>(),
            operations: operations.into_iter().collect(),
            attach: Arc::new(move |facets, invoke| facets.insert::<T>(make(invoke))),
        }
    }

    pub(crate) fn attach_if_it_fits(&self, facets: &mut Facets, invoke: &Arc<dyn Invoke>) {
        if facets.has(self.of) {
            return;
        }
        let answered = invoke.operations();
        if self
            .operations
            .iter()
            .all(|needed| answered.iter().any(|known| known.name == *needed))
        {
            (self.attach)(facets, Arc::clone(invoke));
        }
    }
}

impl fmt::Debug for FacetProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FacetProxy")
            .field("facet", &self.of.name())
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    trait Greet: Send + Sync {
        fn greet(&self) -> String;
    }

    struct English;

    impl Greet for English {
        fn greet(&self) -> String {
            "hello".to_owned()
        }
    }

    #[test]
    fn a_facet_is_found_by_its_trait_object_and_nothing_else() {
        let mut facets = Facets::default();
        facets.insert::<dyn Greet>(Arc::new(English));
        assert_eq!(facets.get::<dyn Greet>().unwrap().greet(), "hello");
        assert!(facets.get::<English>().is_none());
        assert_eq!(FacetType::of::<dyn Greet>().name(), "dyn Greet");
    }

    #[test]
    fn a_later_facet_of_one_type_takes_the_place_of_the_earlier() {
        let mut facets = Facets::default();
        facets.insert::<str>(Arc::from("first"));
        facets.insert::<str>(Arc::from("second"));
        assert_eq!(facets.get::<str>().unwrap().as_ref(), "second");
        assert_eq!(facets.entries.len(), 1);
    }
}
