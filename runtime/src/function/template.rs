//! Subject templates: `shop.price.{sku}` names the tokens that a function reads with `Path`.

/// A subject in which a token may be `{name}`, `*` or, as the last, `>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    subject: String,
    names: Vec<(usize, String)>,
}

impl Template {
    /// Reads a template, or says in a sentence what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("subject {text:?}: {why}"));
        if text.is_empty() {
            return wrong("is empty");
        }
        let tokens: Vec<&str> = text.split('.').collect();
        let mut subject = Vec::with_capacity(tokens.len());
        let mut names: Vec<(usize, String)> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            if token.is_empty() {
                return wrong("has an empty token (a dot too many)");
            }
            if token.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return wrong("contains a space or a control character");
            }
            if *token == ">" && at + 1 != tokens.len() {
                return wrong("`>` may only be the last token");
            }
            if let Some(name) = token.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
                let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if name.is_empty() || !valid {
                    return wrong("a name in braces is one or more of A-Z, a-z, 0-9 and _");
                }
                if names.iter().any(|(_, known)| known == name) {
                    return wrong("names the same token twice");
                }
                names.push((at, name.to_owned()));
                subject.push("*");
            } else if token.contains(['{', '}']) || (token.len() > 1 && token.contains(['*', '>']))
            {
                return wrong("braces and wildcards must stand for a whole token");
            } else {
                subject.push(token);
            }
        }
        Ok(Self {
            text: text.to_owned(),
            subject: subject.join("."),
            names,
        })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The subject to subscribe to, with `*` for each `{name}`.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// The names in braces.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(_, name)| name.as_str())
    }

    /// Name and token for every `{name}`, in the order of the subject.
    pub(crate) fn values<'a>(&'a self, subject: &'a str) -> Vec<(&'a str, &'a str)> {
        let tokens: Vec<&str> = subject.split('.').collect();
        self.names
            .iter()
            .filter_map(|(at, name)| Some((name.as_str(), *tokens.get(*at)?)))
            .collect()
    }
}

/// Whether two subjects with wildcards can match the same concrete subject.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

/// Whether everything that `narrow` matches is matched by `wide` too.
pub(crate) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some(a), Some(b)) if a == b || (a == "*" && b != ">") => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_become_wildcards_and_give_their_tokens() {
        let template = Template::parse("shop.{kind}.price.{sku}").unwrap();
        assert_eq!(template.subject(), "shop.*.price.*");
        assert_eq!(
            template.values("shop.book.price.x1"),
            [("kind", "book"), ("sku", "x1")]
        );
    }

    #[test]
    fn wrong_templates_are_refused() {
        for wrong in [
            "", "a..b", ".a", "a.", "a b", "a.>.b", "{}", "{a-b}", "{a}.{a}", "x{a}", "a*",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong:?}");
        }
        for right in ["a", "a.*.b", "a.>", ">", "*", "{a}.b"] {
            assert!(Template::parse(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn covers_is_more_than_overlap() {
        for (wide, narrow) in [
            ("a.>", "a.*"),
            ("a.>", "a.b.c"),
            ("a.*", "a.b"),
            (">", "a.>"),
        ] {
            assert!(
                covers(wide, narrow) && !covers(narrow, wide),
                "{wide} {narrow}"
            );
        }
        assert!(covers("a.*.>", "a.*.>"));
        assert!(!covers("a.*", "*.b"));
        assert!(!covers("a.*", "a.>"));
    }

    #[test]
    fn overlap_knows_wildcards() {
        assert!(overlap("chat.>", "chat.history.*"));
        assert!(overlap("chat.*", "*.general"));
        assert!(!overlap("chat.*", "chat.history.*"));
        assert!(!overlap("chat.>", "chat"));
        assert!(overlap("a.b", "a.b"));
    }
}
