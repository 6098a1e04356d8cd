//! String literals of a Rust file, told apart by whether they belong to a test.
//!
//! The file is lexed, not searched, so a code in a comment, in an attribute or in a longer string
//! is never taken for one that the program can return. Items under `#[cfg(test)]` are test code.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One string literal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) in_test: bool,
}

/// Every string literal of a file outside comments and attributes, in order.
///
/// Escapes are left as written: nothing that is looked for has one.
///
/// # Errors
/// Where and why the text is not Rust.
pub(crate) fn literals(source: &str) -> Result<Vec<Literal>, String> {
    let tokens: TokenStream = source.parse().map_err(|error: proc_macro2::LexError| {
        format!("line {}: {error}", error.span().start().line)
    })?;
    let mut found = Vec::new();
    collect(tokens, false, &mut found);
    Ok(found)
}

fn collect(tokens: TokenStream, in_test: bool, found: &mut Vec<Literal>) {
    let mut tokens = tokens.into_iter().peekable();
    // Set by `#[cfg(test)]` and good for the item that follows: up to its block or semicolon.
    let mut item_is_test = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Punct(bang)) = tokens.peek()
                    && bang.as_char() == '!'
                {
                    tokens.next();
                }
                if let Some(TokenTree::Group(group)) = tokens.peek() {
                    item_is_test |= is_cfg_test(group);
                    tokens.next();
                }
            }
            TokenTree::Punct(punct) => {
                if punct.as_char() == ';' {
                    item_is_test = false;
                }
            }
            TokenTree::Group(group) => {
                collect(group.stream(), in_test || item_is_test, found);
                if group.delimiter() == Delimiter::Brace {
                    item_is_test = false;
                }
            }
            TokenTree::Literal(literal) => {
                if let Some(text) = string_content(&literal.to_string()) {
                    let line = literal.span().start().line;
                    let in_test = in_test || item_is_test;
                    found.push(Literal {
                        text,
                        line,
                        in_test,
                    });
                }
            }
            TokenTree::Ident(_) => {}
        }
    }
}

/// Whether an attribute's bracket holds `cfg(test)`, or `cfg(all(test, ...))`. Something like
/// `cfg(any(test, feature = "x"))` is also in somebody's build, so it is no test.
fn is_cfg_test(attribute: &Group) -> bool {
    let attribute = attribute.stream().to_string().replace([' ', '\n'], "");
    attribute == "cfg(test)" || attribute.starts_with("cfg(all(test,")
}

/// What stands between the quotes of `"..."` or `r#"..."#`; nothing for other literals.
fn string_content(literal: &str) -> Option<String> {
    let body = literal
        .strip_prefix('r')
        .unwrap_or(literal)
        .trim_matches('#');
    Some(body.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(source: &str) -> Vec<(String, bool)> {
        let found = literals(source).expect("Rust");
        found
            .into_iter()
            .map(|literal| (literal.text, literal.in_test))
            .collect()
    }

    #[test]
    fn comments_and_attributes_hold_no_literals() {
        let source = r##"
            //! "a"
            #![doc = "b"]
            /// "c"
            #[error("d")]
            fn f(x: &'static str, y: char) -> &str { /* "e" */ if y == '"' { r#"f"# } else { "g" } }
        "##;
        assert_eq!(
            seen(source),
            [("f".to_owned(), false), ("g".to_owned(), false)]
        );
    }

    #[test]
    fn what_follows_cfg_test_is_a_test_and_what_comes_after_it_is_not() {
        let source = r#"
            fn a() { "one" }
            #[cfg(test)]
            #[expect(dead_code, reason = "no")]
            mod tests { fn b() { call("two") } }
            fn c() { "three" }
            #[cfg(test)]
            const D: &str = "four";
            const E: &str = "five";
            #[cfg(any(test, feature = "x"))]
            const F: &str = "six";
            #[cfg(all(test, not(model)))]
            mod models { const G: &str = "seven"; }
        "#;
        let expected = [
            ("one", false),
            ("two", true),
            ("three", false),
            ("four", true),
            ("five", false),
            ("six", false),
            ("seven", true),
        ];
        assert_eq!(
            seen(source),
            expected.map(|(text, test)| (text.to_owned(), test))
        );
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let found = literals("fn a() {\n\n  \"x\"\n}").expect("Rust");
        assert_eq!(found[0].line, 3);
    }

    #[test]
    fn text_that_is_not_rust_is_an_error_with_its_line() {
        let error = literals("fn a() {\n \"open").expect_err("an open string");
        assert!(error.starts_with("line "), "{error}");
    }
}
