// SPDX-License-Identifier: GPL-2.0

//! `#[pin_data]`, which only accepts `#[pin]` here.

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

/// Removes `#[pin]` from the fields of a structure. The tests never move values out of their
/// allocation, so nothing else is needed.
#[proc_macro_attribute]
pub fn pin_data(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item.into_iter()
        .map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                TokenTree::Group(Group::new(Delimiter::Brace, without_pin(group.stream())))
            }
            other => other,
        })
        .collect()
}

fn without_pin(fields: TokenStream) -> TokenStream {
    let tokens: Vec<TokenTree> = fields.into_iter().collect();
    let is_pin = |index: usize| matches!(tokens.get(index), Some(TokenTree::Group(group)) if group.stream().to_string() == "pin");
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let is_hash = matches!(&tokens[index], TokenTree::Punct(punct) if punct.as_char() == '#');
        if is_hash && is_pin(index + 1) {
            index += 2;
        } else {
            kept.push(tokens[index].clone());
            index += 1;
        }
    }
    kept.into_iter().collect()
}
