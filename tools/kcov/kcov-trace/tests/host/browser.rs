// SPDX-License-Identifier: GPL-2.0
//! The HTML report in a real browser: Chromium, without a window.
//!
//! Without a Chromium, the test says so and does nothing, unless `KCOV_BROWSER` names one, which
//! then must work.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixture::{Fixture, sources, tool};

fn browser() -> Option<OsString> {
    env::var_os("KCOV_BROWSER").or_else(|| {
        ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .map(OsString::from)
            .find(|name| {
                Command::new(name)
                    .arg("--version")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok()
            })
    })
}

/// Opens the page at a window width and returns the resulting page.
fn opened(browser: &OsString, profile: &Path, address: &str, width: u32) -> String {
    let output = tool(
        Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--virtual-time-budget=10000",
                "--dump-dom",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},900"))
            .arg(address),
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn source_is_shown_with_its_lines_marked() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium was found; name one in KCOV_BROWSER");
        return;
    };
    let fixture = Fixture::new();
    fixture.succeeds(&["report", "--vmlinux", "vmlinux", "-o", "page.html", "run.kcov"]);
    let page = format!("file://{}", fixture.path("page.html").display());
    let source = sources().join("program.c");

    let closed = opened(&browser, &fixture.path("profile"), &page, 1280);
    assert!(closed.contains("Choose a file"), "{closed}");
    assert!(
        !closed.contains("class=\"line"),
        "a source is shown before anything was chosen"
    );

    for width in [1280, 500] {
        let open = opened(
            &browser,
            &fixture.path("profile"),
            &format!("{page}#{}", source.display()),
            width,
        );
        // The script of the page contains these words, too, so only the elements are searched.
        let line = |text: &str| {
            open.split("<div class=\"line ")
                .find(|line| line.contains(text))
                .unwrap_or_else(|| panic!("{text}: {open}"))
        };
        assert!(
            line("sink = 4;").starts_with("code covered"),
            "{}",
            line("sink = 4;")
        );
        assert!(
            line("sink = 3;").starts_with("code uncovered"),
            "{}",
            line("sink = 3;")
        );
        assert!(
            line("volatile int sink;").starts_with("code\""),
            "{}",
            line("volatile int sink;")
        );
        assert!(open.contains("<body class=\"reading\">"), "{width}");
    }
}
