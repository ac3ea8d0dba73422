// SPDX-License-Identifier: GPL-2.0
// Shows the source of the file in the address, and filters the tree. All data from files reach the page as text, never
// as markup.

"use strict";

const view = document.getElementById("view");
const tree = document.getElementById("tree");
const welcome = [...view.childNodes];

function element(name, options, ...children) {
	const made = Object.assign(document.createElement(name), options);
	made.append(...children);
	return made;
}

async function unpack(text) {
	const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
	const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
	return JSON.parse(await new Response(stream).text());
}

// Returns the class and the title of a line, depending on its blocks.
function state(covered, instrumented) {
	if (covered === 0) return ["uncovered", "not covered"];
	return covered < instrumented ? ["partly", "partly covered"] : ["covered", "covered"];
}

let runs = null;

// Returns the sentence about the runs that hit a line.
function told(count, some) {
	if (count === 0) return "";
	const more = count - some.length;
	return `, by ${some.map((run) => runs[run]).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function sourceLines(file) {
	const known = new Map(file.lines.map(([number, ...rest]) => [number, rest]));
	let text = file.source === null ? null : file.source.split("\n");
	if (text !== null && text.at(-1) === "") text.pop();
	// If the source is missing, only the known lines are shown.
	const numbers = text === null ? [...known.keys()] : text.map((_, i) => i + 1);
	return numbers.map((number) => {
		const line = element("div", { className: "line code" },
			element("span", { textContent: number }), element("span"), element("code", { textContent: text?.[number - 1] ?? "" }));
		line.dataset.line = number;
		if (known.has(number)) {
			const [covered, instrumented, hits, count, some] = known.get(number);
			const [name, words] = state(covered, instrumented);
			line.classList.add(name);
			line.title = `${words}: ${covered} of ${instrumented} blocks, ran ${hits} times${told(count, some)}`;
			line.addEventListener("click", () => { document.getElementById("who").textContent = `Line ${number}: ${line.title}`; });
			line.children[1].textContent = `${covered}/${instrumented}`;
		}
		return line;
	});
}

function jump(source, direction) {
	const marked = [...source.children].filter((line) => line.matches(".covered, .partly"));
	// Skips a run of covered lines as a whole.
	const starts = marked.filter((line) => !line.previousElementSibling?.matches(".covered, .partly"));
	const here = Number(source.querySelector(".here")?.dataset.line ?? 0);
	const next = direction > 0
		? starts.find((line) => Number(line.dataset.line) > here)
		: starts.findLast((line) => Number(line.dataset.line) < here);
	go(source, next);
}

function go(source, line) {
	if (!line) return;
	source.querySelector(".here")?.classList.remove("here");
	line.classList.add("here");
	line.scrollIntoView({ block: "center" });
}

function functionTable(file, source) {
	const rows = file.functions.map(([name, line, covered, instrumented]) => {
		const link = element("a", { textContent: name, href: location.hash });
		link.addEventListener("click", (event) => {
			event.preventDefault();
			go(source, source.querySelector(`[data-line="${line}"]`));
		});
		return element("tr", {}, element("td", { className: "code" }, link),
			element("td", { textContent: `${covered} / ${instrumented}` }));
	});
	return element("details", { id: "functions" },
		element("summary", { textContent: `${rows.length} functions` }),
		element("table", {}, element("tbody", {}, ...rows)));
}

let shown = 0;

async function show() {
	const name = decodeURIComponent(location.hash.slice(1));
	const turn = ++shown;
	tree.querySelector(".current")?.classList.remove("current");
	const row = [...tree.querySelectorAll("a.row")].find((link) => link.getAttribute("href") === "#" + name);
	document.body.classList.toggle("reading", Boolean(row));
	if (!row) {
		view.replaceChildren(...welcome);
		return;
	}
	row.classList.add("current");
	for (let up = row.parentElement; up !== tree; up = up.parentElement) up.open = true;
	row.scrollIntoView({ block: "nearest" });
	if (typeof DecompressionStream === "undefined") {
		view.replaceChildren(element("p", { className: "hint",
			textContent: "This browser cannot unpack the sources; use one from 2023 or later." }));
		return;
	}
	const file = await unpack(document.getElementById(row.dataset.source).textContent);
	runs ??= await unpack(document.getElementById("runs").textContent);
	// The user has chosen another file during the wait.
	if (turn !== shown) return;
	const source = element("div", { id: "source" });
	source.append(...sourceLines(file));
	const button = (label, text, direction) => {
		const made = element("button", { type: "button", textContent: text, ariaLabel: label });
		made.addEventListener("click", () => jump(source, direction));
		return made;
	};
	const numbers = [...row.querySelectorAll(".percent, .blocks")].map((part) => part.textContent);
	const title = element("div", { id: "title" },
		element("a", { id: "back", href: "#", textContent: "← Files" }),
		element("h2", { textContent: name }),
		element("span", { textContent: `${numbers[1]} blocks, ${numbers[0]}` }),
		element("span", { className: "jump" },
			button("Previous covered lines", "↑", -1), " covered ", button("Next covered lines", "↓", 1)));
	const parts = [title, element("p", { id: "who" }), functionTable(file, source), source];
	if (file.source === null) {
		parts.splice(1, 0, element("p", { className: "hint", textContent: "The source was not found when this report was made." }));
	}
	view.replaceChildren(...parts);
	view.scrollTop = 0;
	jump(source, 1);
	view.focus({ preventScroll: true });
}

function filter() {
	const text = document.getElementById("filter").value.toLowerCase();
	const only = document.getElementById("only").checked;
	const visit = (folder, path) => {
		let any = false;
		for (const child of folder.children) {
			if (child.tagName === "SUMMARY") continue;
			const name = child.querySelector(".name").textContent;
			const covered = !child.querySelector(".blocks").textContent.startsWith("0/");
			let visible = covered || !only;
			if (child.tagName === "DETAILS") {
				visible = visit(child, path + name) && visible;
				if (text !== "") child.open = visible;
			} else {
				visible = visible && (path + name).toLowerCase().includes(text);
			}
			child.hidden = !visible;
			// A grid would be shown although it is hidden.
			child.style.display = visible ? "" : "none";
			any ||= visible;
		}
		return any;
	};
	visit(tree, "");
}

document.getElementById("filter").addEventListener("input", filter);
document.getElementById("only").addEventListener("input", filter);
addEventListener("hashchange", show);
filter();
show();
