//! Text from the environment and the command line where only a factory knows which type a setting has.
//!
//! It gets the type of the value it replaces, if there is one. Otherwise the factory is asked: text is offered first as
//! text, so that `123456` stays what it is where text is taken, and then as what it looks like.

use serde_json::{Number, Value};

use super::tree::{Item, Node};

/// Where such text stands in a table: the names on the way to it.
pub(crate) type WordPath = Vec<String>;

/// More combinations are not tried; that many settings of one component belong into a file.
const MOST_TRIED: usize = 64;

/// What text is taken for where nothing says which type it should have.
pub(super) fn looks_like(text: &str) -> Value {
    let trimmed = text.trim();
    match trimmed {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = trimmed.parse::<i64>() {
        return number.into();
    }
    let is_number = trimmed.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    let float = trimmed.parse().ok().filter(|_| is_number);
    match float.and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

/// The text with the type of what it replaces; `None` where that says nothing.
pub(super) fn typed_as(text: &str, replaced: &Node) -> Option<Value> {
    match &replaced.item {
        Item::Text(_) | Item::Datetime(_) => Some(text.into()),
        Item::List(_) => Some(listed(text)),
        Item::Flag(_) | Item::Integer(_) | Item::Large | Item::Float(_) => {
            let value = looks_like(text);
            (!value.is_string()).then_some(value)
        }
        Item::Words(_) => typed_as(text, replaced.under.as_deref()?),
        _ => None,
    }
}

fn listed(text: &str) -> Value {
    let items = text.split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

/// All text in a table whose type is not known, and where it is.
pub(super) fn paths(node: &Node) -> Vec<(WordPath, String)> {
    let mut paths = Vec::new();
    collect(node, &mut Vec::new(), &mut paths);
    paths
}

fn collect(node: &Node, path: &mut WordPath, paths: &mut Vec<(WordPath, String)>) {
    match &node.item {
        Item::Words(text) => {
            let known = node.under.as_deref();
            if known.and_then(|under| typed_as(text, under)).is_none() {
                paths.push((path.clone(), text.clone()));
            }
        }
        Item::Table(table) => {
            for (name, entry) in table {
                path.push(name.clone());
                collect(&entry.node, path, paths);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Finds types for the text at `paths` with which `accepts` takes the value.
///
/// # Errors
/// What `accepts` says when all text is taken for what it looks like.
pub(crate) fn fit(
    value: &Value,
    texts: &[(WordPath, String)],
    accepts: impl Fn(&Value) -> Result<(), String>,
) -> Result<Value, String> {
    let choices: Vec<Vec<Value>> = texts.iter().map(|(_, text)| choices(text)).collect();
    let combinations = choices
        .iter()
        .try_fold(1_usize, |all, some| all.checked_mul(some.len()))
        .unwrap_or(usize::MAX);
    for number in 0..combinations.min(MOST_TRIED) {
        let mut offered = value.clone();
        let mut rest = number;
        for ((path, _), choices) in texts.iter().zip(&choices) {
            let choice = choices.get(rest % choices.len()).cloned();
            rest /= choices.len();
            if let (Some(place), Some(choice)) = (at(&mut offered, path), choice) {
                *place = choice;
            }
        }
        if accepts(&offered).is_ok() {
            return Ok(offered);
        }
    }
    accepts(value).map(|()| value.clone())
}

/// What text can be taken for, text first.
fn choices(text: &str) -> Vec<Value> {
    let mut choices = vec![Value::String(text.to_owned())];
    let guess = looks_like(text);
    if !guess.is_string() {
        choices.push(guess);
    }
    choices.push(listed(text));
    choices
}

fn at<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter()
        .try_fold(value, |value, name| value.as_object_mut()?.get_mut(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What becomes of `text` where a factory takes what `takes` says.
    fn fitted(text: &str, takes: fn(&Value) -> bool) -> Result<Value, String> {
        let words = [(vec!["a".to_owned()], text.to_owned())];
        let accepts = |value: &Value| takes(&value["a"]).then_some(()).ok_or("no".to_owned());
        fit(&json!({"a": looks_like(text)}), &words, accepts).map(|value| value["a"].clone())
    }

    #[test]
    fn p83_text_gets_the_type_that_the_factory_takes() {
        assert_eq!(fitted("123456", Value::is_string), Ok(json!("123456")));
        assert_eq!(fitted("123456", Value::is_number), Ok(json!(123_456)));
        assert_eq!(fitted("123456", |_| true), Ok(json!("123456")));
        assert_eq!(fitted("true", Value::is_boolean), Ok(json!(true)));
        assert_eq!(fitted("a,b", Value::is_string), Ok(json!("a,b")));
        assert_eq!(fitted("a,b", Value::is_array), Ok(json!(["a", "b"])));
        assert_eq!(fitted("x", Value::is_number), Err("no".to_owned()));
    }

    #[test]
    fn too_many_combinations_are_not_tried() {
        let words: Vec<(WordPath, String)> = (0..40)
            .map(|number| (vec![format!("k{number}")], "1".to_owned()))
            .collect();
        let value = words.iter().map(|(path, _)| (path[0].clone(), json!(1)));
        let value = Value::Object(value.collect());
        assert_eq!(
            fit(&value, &words, |_| Err("no".to_owned())),
            Err("no".to_owned())
        );
    }
}
