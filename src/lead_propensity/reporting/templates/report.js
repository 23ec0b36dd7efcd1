"use strict";
// In a sandboxed frame, as MLflow shows files, a link within the page leads nowhere by itself.
if (location.protocol === "blob:") {
  document.addEventListener("click", event => {
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    document.getElementById(link.getAttribute("href").slice(1)).scrollIntoView();
  });
}
// Numbers in the reader's format. Without this script, or where it may not run, they stay English.
(() => {
  const locale = navigator.language || "en";
  const written = (value, digits, signed) => new Intl.NumberFormat(locale, {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
    signDisplay: signed ? "always" : "auto",
  }).format(value);
  if (written(1234567.8, 1) === "1,234,567.8") return;
  const percent = new Intl.NumberFormat(locale, {style: "percent"}).formatToParts(1)
    .map(part => part.type === "integer" ? "#" : part.value).join("");
  // A number by itself: no part of a name, a date or a version, and with a sign that locales write in their way.
  const number = /(?<![\w.,:/-])([+-])?(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(%)?(?!\w|[.,:/-]\d)/g;
  const rewrite = text => text.replace(number, (english, sign, whole, fraction, unit) => {
    if (!fraction && !unit && !whole.includes(",")) return english;
    const value = Number((sign || "") + whole.replaceAll(",", "") + (fraction || ""));
    const local = written(value, (fraction || ".").length - 1, sign === "+");
    return unit ? percent.replace("#", local) : local;
  });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (!node.parentElement.closest("script, style, code, time, [translate=no]")) {
      const text = rewrite(node.data);
      if (text !== node.data) node.data = text;
    }
  }
  for (const named of document.querySelectorAll("[aria-label]")) {
    if (!named.closest("[translate=no]")) {
      named.setAttribute("aria-label", rewrite(named.getAttribute("aria-label")));
    }
  }
})();
