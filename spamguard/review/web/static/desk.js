// What does a key do, and where is the reader after an answer came? Pages work without this file; with it, no mouse is needed.
"use strict";
(() => {
  const desk = document.querySelector("body.desk");
  const detail = document.getElementById("detail");
  const rows = document.getElementById("rows");
  const keys = document.getElementById("keys");
  let busy = false;

  for (const form of document.querySelectorAll("[data-ways], [data-outcomes]")) form.classList.add("ready");
  document.addEventListener("click", (event) => {
    const opens = event.target.closest("[data-opens]");
    if (opens) document.getElementById(opens.dataset.opens).showModal();
    if (event.target.closest('[data-does="print"]')) window.print();
    if (event.target.closest('[data-does="skip"]')) skip();
    for (const menu of document.querySelectorAll(".more-filters[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  if (!desk || !detail) return;

  const narrow = window.matchMedia("(max-width: 760px)");
  const shown = () => detail.querySelector("[data-item]")?.dataset.item;
  const rowOf = (item) => document.getElementById("row-" + item);
  const open = (row) => row && row.matches(".row[data-item]");
  const fresh = (row) => open(row) && !row.matches(".passed, .skipped");

  function beside(row, step, wanted) {
    let next = row;
    do next = step > 0 ? next?.nextElementSibling : next?.previousElementSibling;
    while (next && !wanted(next));
    return next;
  }
  function upcoming(item) {
    const row = rowOf(item);
    return beside(row, 1, fresh) || [...(rows?.children || [])].find((one) => one !== row && fresh(one));
  }
  function show(row) {
    if (!row) return;
    const link = row.querySelector("a");
    if (narrow.matches) { window.location.href = link.href; return; }
    htmx.ajax("GET", link.getAttribute("href"), { target: "#detail", swap: "innerHTML" });
  }
  function select(item) {
    for (const row of rows?.querySelectorAll(".row.selected") || []) {
      row.classList.remove("selected");
      row.querySelector("a")?.removeAttribute("aria-current");
    }
    const row = item && rowOf(item);
    if (!row) return;
    row.classList.add("selected");
    row.querySelector("a")?.setAttribute("aria-current", "true");
    row.scrollIntoView({ block: "nearest" });
    if (!beside(row, 1, open)) document.getElementById("more")?.click();
  }
  function skip() {
    const row = rowOf(shown());
    const next = upcoming(shown());
    row?.classList.add("skipped");
    show(next);
  }
  function count() {
    const bulk = document.getElementById("bulk");
    if (!bulk) return;
    const n = rows.querySelectorAll("input:checked").length;
    bulk.hidden = n === 0;
    const said = document.getElementById("bulk-count");
    said.textContent = said.dataset.phrase.replace("{n}", n);
  }

  rows?.addEventListener("change", count);
  rows?.addEventListener("click", (event) => {
    // A phone has no room beside the list: the item gets a page of its own.
    if (narrow.matches && event.target.closest("a")) event.stopImmediatePropagation();
  }, true);
  document.addEventListener("htmx:configRequest", (event) => {
    if (!rows) return;
    const path = event.detail.path;
    if (path.startsWith("/items/") && /\/(verdict|settle|release)$/.test(path)) {
      const next = upcoming(shown());
      event.detail.parameters.set?.("next", next ? next.dataset.item : "");
      if (!event.detail.parameters.set) event.detail.parameters.next = next ? next.dataset.item : "";
    }
  });
  document.addEventListener("htmx:beforeRequest", (event) => { if (event.detail.target === detail) busy = true; });
  document.addEventListener("htmx:afterRequest", () => { busy = false; });
  document.addEventListener("htmx:sendError", () => { busy = false; });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target !== detail) return;
    select(shown());
    count();
    detail.scrollTop = 0;
    // Whoever listens hears the new message; whoever pressed a button that is gone is not lost.
    detail.focus({ preventScroll: true });
    if (detail.getBoundingClientRect().top < 0) detail.scrollIntoView();
  });

  document.addEventListener("keydown", (event) => {
    if (document.body.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (typing) {
      if (event.key === "Escape") { event.target.blur(); detail.focus({ preventScroll: true }); }
      return;
    }
    if (keys?.open) return;
    const key = event.key;
    const row = rowOf(shown());
    const press = (scope) => {
      const button = [...scope.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key && !one.disabled && one.offsetParent);
      if (!button) return false;
      event.preventDefault();
      if (button.matches("input, textarea")) { button.focus(); button.select(); } else button.click();
      return true;
    };
    // A key that comes while an answer is under way would hit a message nobody has read yet.
    if (busy && key !== "?" && key !== "/") { event.preventDefault(); return; }
    if (key === "j" || key === "k") {
      event.preventDefault();
      if (rows) show(row ? beside(row, key === "j" ? 1 : -1, open) : [...rows.children].find(open));
    } else if (key === "v" && row) {
      const box = row.querySelector("input");
      if (box) { box.checked = !box.checked; count(); }
    } else if (/^[1-6]$/.test(key)) {
      const kind = detail.querySelector("select[name=category]");
      if (kind) kind.selectedIndex = Number(key);
    } else press(detail) || press(document);
  });
})();
