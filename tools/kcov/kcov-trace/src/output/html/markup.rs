// SPDX-License-Identifier: GPL-2.0
//! Writes HTML that is escaped by construction: only constants of this program are markup,
//! everything else is text.

use std::io::{self, Write};

/// A page being written.
pub(super) struct Markup<'a> {
    out: &'a mut dyn Write,
}

impl<'a> Markup<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Writes markup, which must be a constant of this program.
    pub(super) fn raw(&mut self, markup: &'static str) -> io::Result<&mut Self> {
        self.out.write_all(markup.as_bytes())?;
        Ok(self)
    }

    /// Writes text, or the value of an attribute in double quotes.
    pub(super) fn text(&mut self, text: &str) -> io::Result<&mut Self> {
        let mut rest = text;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            self.out.write_all(&rest.as_bytes()[..at])?;
            self.out.write_all(match rest.as_bytes()[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => b"&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        self.out.write_all(rest.as_bytes())?;
        Ok(self)
    }

    /// Writes a number.
    pub(super) fn number(&mut self, number: usize) -> io::Result<&mut Self> {
        write!(self.out, "{number}")?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut out = Vec::new();
        let mut page = Markup::new(&mut out);
        page.raw("<b title=\"")
            .unwrap()
            .text("\"><script>'&")
            .unwrap()
            .raw("\">")
            .unwrap();
        page.text("plain äöü").unwrap().number(7).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<b title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">plain äöü7"
        );
    }
}
