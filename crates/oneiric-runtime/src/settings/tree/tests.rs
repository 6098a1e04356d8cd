//! Merging, for any layers.

use proptest::{collection, prelude::*};

use super::*;

/// A layer of a few keys, so that layers meet.
fn node(layer: u16) -> impl Strategy<Value = Node> {
    let place = Place::whole(layer);
    let at = move |item| Node::new(item, place);
    let leaf = prop_oneof![
        any::<bool>().prop_map(move |flag| at(Item::Flag(flag))),
        (0_i64..4).prop_map(move |number| at(Item::Integer(number))),
        "[ab]".prop_map(move |text| at(Item::Text(text))),
        Just(at(Item::List(vec![at(Item::Integer(layer.into()))]))),
    ];
    let inner = leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            collection::btree_map("[abc]", inner.clone(), 0..4).prop_map(move |nodes| {
                let entries = nodes
                    .into_iter()
                    .map(|(key, node)| (key, Entry { name: place, node }));
                Node::new(Item::Table(entries.collect()), place)
            }),
            collection::btree_map("[xyz]", inner, 0..3).prop_map(move |nodes| {
                let listed = nodes
                    .into_iter()
                    .enumerate()
                    .map(|(index, (id, node))| Listed {
                        id: Some(id),
                        index,
                        node,
                    });
                Node::new(Item::Listed(listed.collect()), place)
            }),
        ]
    });
    // Layers are tables.
    collection::btree_map("[abc]", inner, 0..4).prop_map(move |nodes| {
        let entries = nodes
            .into_iter()
            .map(|(key, node)| (key, Entry { name: place, node }));
        Node::new(Item::Table(entries.collect()), place)
    })
}

/// Everything that can be seen of a tree: values, who set them, and what they replaced.
fn seen(node: &Node) -> String {
    let inner = match &node.item {
        Item::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, entry)| format!("{key}@{}={}", entry.name.layer, seen(&entry.node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Item::Listed(items) => {
            let items = items
                .iter()
                .map(|listed| format!("{:?}#{}={}", listed.id, listed.index, seen(&listed.node)));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        _ => node.json().to_string(),
    };
    // Tables that were replaced as a whole may be there merged, or one by one: they say the same.
    let is_leaf = |node: &&Node| !matches!(node.item, Item::Table(_) | Item::Listed(_));
    let under = node.under.as_deref().filter(is_leaf).map(seen);
    format!("{inner}@{}<{}", node.place.layer, under.unwrap_or_default())
}

/// The values of all plain keys, by path.
fn leaves(node: &Node, path: &str, found: &mut Vec<(String, Value)>) {
    match &node.item {
        Item::Table(table) => {
            for (key, entry) in table {
                leaves(&entry.node, &format!("{path}.{key}"), found);
            }
        }
        Item::Listed(_) => {}
        _ => found.push((path.to_owned(), node.json())),
    }
}

#[test]
fn what_replaces_an_entry_of_a_list_keeps_its_own_place() {
    let layer = |layer: u16| {
        let place = Place::whole(layer);
        let listed = Listed {
            id: Some("x".to_owned()),
            index: 0,
            node: Node::new(Item::Flag(layer == 1), place),
        };
        Node::new(Item::Listed(vec![listed]), place)
    };
    let merged = layer(0).merge(layer(1)).merge(layer(2));
    assert_eq!(seen(&merged), r#"[Some("x")#0=false@2<true@1<false@0<]@2<"#);
    let other = layer(0).merge(layer(1).merge(layer(2)));
    assert_eq!(seen(&merged), seen(&other));
}

proptest! {
    // The layers are small: many of them cost little, and what goes wrong is rare.
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn merging_is_associative(a in node(0), b in node(1), c in node(2)) {
        let left = a.clone().merge(b.clone()).merge(c.clone());
        let right = a.merge(b.merge(c));
        prop_assert_eq!(seen(&left), seen(&right));
    }

    #[test]
    fn whoever_comes_last_wins_and_nothing_else_is_lost(a in node(0), b in node(1)) {
        let merged = a.clone().merge(b.clone());
        let (mut upper, mut lower, mut all) = (Vec::new(), Vec::new(), Vec::new());
        leaves(&b, "", &mut upper);
        leaves(&a, "", &mut lower);
        leaves(&merged, "", &mut all);
        for leaf in &upper {
            prop_assert!(all.contains(leaf), "{:?} of {:?}", leaf, all);
        }
        for (path, value) in all {
            let of_upper = upper.iter().find(|(other, _)| *other == path);
            let of_lower = lower.iter().find(|(other, _)| *other == path);
            let expected = of_upper.or(of_lower).map(|(_, value)| value);
            prop_assert_eq!(expected, Some(&value));
        }
    }

    #[test]
    fn an_empty_layer_changes_nothing(a in node(0)) {
        let mut merged = Node::empty().merge(a.clone());
        merged.place = a.place;
        prop_assert_eq!(seen(&merged), seen(&a));
    }
}
