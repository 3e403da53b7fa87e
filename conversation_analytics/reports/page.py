"""The shell of every HTML page: style, script, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib

from conversation_analytics.reports.drawings import LIGHT, STYLE
from conversation_analytics.reports.markup import html_text
from conversation_analytics.reports.tables import SHADES

_STYLE = (
    f"\n:root{{color-scheme:light dark;{LIGHT}"
    """
--link:#2f5fc0;--on:#fff;--edge:#1b213030;--shadow:0 1px 2px #1b213014,0 2px 8px #1b21300a}
@media (prefers-color-scheme:dark){:root{--bg:#12151c;--card:#1b2029;--ink:#e8ebf1;--soft:#9aa4b6;
--line:#2d3441;--grid:#272e3a;--s1:#6e9bf2;--s2:#e8ac5c;--s3:#4fc0af;--s4:#7d879a;--q1:#34548f;--q2:#4f7dd0;--q3:#86aef8;
--q4:#d3e2ff;--link:#8fb3ff;--on:#0d1220;--edge:#000a;--shadow:none}}
@media print{:root{"""
    f"{LIGHT}"
    """
--bg:#fff;--ink:#000;--soft:#444;--line:#ccc;--grid:#e6e6e6;--link:#2f5fc0;
--on:#fff;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:22px 20px 48px}
h1{font-size:26px;line-height:1.2;margin:0}h2{font-size:16px;margin:0 0 10px}
h2 a{text-decoration:none}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px;margin:0 0 16px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
.sub{color:var(--soft);margin:4px 0 22px}
.note{color:var(--soft);font-size:13px;margin:8px 0 0}
a{color:var(--link)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;
box-shadow:var(--shadow)}
.tile{display:flex;flex-direction:column;padding:12px 16px;min-width:0;color:inherit;
text-decoration:none}
.tile:hover,.tile:focus-visible{border-color:var(--s1)}
.tile .name{color:var(--soft);font-size:13px}
.tile .value{font-size:25px;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.tile .long{font-size:18px;line-height:1.8}
.tile .change{color:var(--soft);font-size:13px}
svg.spark{height:26px;margin-top:auto;padding-top:4px;box-sizing:content-box;overflow:visible}
svg.spark .line{vector-effect:non-scaling-stroke;stroke-width:1.5}
.cards{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;margin-top:16px}
.card{padding:16px 18px;min-width:0}.wide{grid-column:1/-1}
@media screen and (max-width:820px){.cards{grid-template-columns:minmax(0,1fr)}}
svg{display:block;width:100%;height:auto}"""
    f"{STYLE}"
    """svg .hit{fill:transparent}
svg .hit:hover,svg a:focus-visible .hit{fill:var(--ink);fill-opacity:.07}
svg a{cursor:pointer}
svg .cell:hover,svg circle:hover{stroke:var(--ink);stroke-width:1.5}
.scroll,.chart{overflow-x:auto}
@media screen{.scroll,.chart{background:linear-gradient(to right,var(--card) 30%,transparent) 0/36px
100% no-repeat local,linear-gradient(to left,var(--card) 30%,transparent) 100%/36px 100% no-repeat
local,linear-gradient(to right,var(--edge),transparent) 0/12px 100% no-repeat scroll,
linear-gradient(to left,var(--edge),transparent) 100%/12px 100% no-repeat scroll}}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;max-width:320px;overflow:hidden;
text-overflow:ellipsis}
td small{display:block;color:var(--soft);font-size:12px;line-height:1.2;overflow:hidden;
text-overflow:ellipsis}
svg.bar{height:4px;min-width:58px;margin-top:2px}
th{color:var(--soft);font-weight:600;vertical-align:bottom}
.sortable th{white-space:normal;min-width:84px}
.sortable th:first-child{min-width:140px}
.sortable th:first-child,.sortable td:first-child,.ids th:first-child,.ids td:first-child{
position:sticky;left:0;background:var(--card)}
tbody tr:hover,.sortable tbody tr:hover td:first-child,.ids tbody tr:hover td:first-child{
background:var(--grid)}
tfoot td{font-weight:650;border-bottom:0}
th button{all:unset;cursor:pointer}
th button:hover{color:var(--ink)}th button:focus-visible{outline:2px solid var(--s1)}
th[aria-sort] button{color:var(--ink)}
th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
.left td,.left th{text-align:left;white-space:normal;vertical-align:top}
.left td:nth-child(2){white-space:nowrap}
.left td:nth-child(3){min-width:260px}.left td:first-child{max-width:200px}
.ids td:nth-child(2),.ids th:nth-child(2){text-align:left;max-width:230px;overflow:hidden;
text-overflow:ellipsis}
.ids td:first-child{max-width:none}
summary{cursor:pointer;font-weight:650;font-size:16px}details table{margin-top:10px}
.group{border-top:1px solid var(--line);padding:8px 0}.group:first-of-type{margin-top:10px}
.group:last-child{padding-bottom:0}
.group summary,.sql summary{font-size:14px}.sql summary{color:var(--link);font-weight:400}
.sql p{margin:6px 0;color:var(--soft);font-size:13px}
code{font-size:13px}.ids code{user-select:all}
pre{margin:6px 0;padding:8px 10px;background:var(--bg);border:1px solid var(--line);
border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}
pre code{display:block;font-size:12px;user-select:all}
tr:target td{background:var(--grid)}
.tip{position:fixed;z-index:9;pointer-events:none;max-width:min(360px,90vw);padding:5px 9px;
border-radius:6px;background:var(--ink);color:var(--card);font-size:13px;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere;white-space:pre-line}
.months,.years{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:16px}
.month{display:grid;grid-template-columns:1.4fr repeat(7,1fr);gap:3px;text-align:center;
font-size:13px}
.month span{color:var(--soft);padding:4px 0}
.month a,.list a{padding:4px 0;border-radius:6px;background:var(--grid);text-decoration:none;
font-weight:600}
.month a:nth-child(8n+1){background:none;font-weight:400}
.list{display:grid;gap:4px}.list a{display:flex;justify-content:space-between;padding:5px 10px}
.below{margin-top:16px}
.cohorts td{text-align:center;padding:4px 8px}.cohorts th:nth-child(n+2){text-align:center}
.cohorts tbody td{border-bottom:2px solid var(--card)}
.cohorts th:nth-child(n+3){min-width:58px}.cohorts td:first-child{text-align:left}
.cohorts tbody tr:hover td{box-shadow:inset 0 1px var(--soft),inset 0 -1px var(--soft)}
"""
    + "".join(
        f".h{step}{{background:color-mix(in srgb,var(--s1) {9 * step}%,var(--card));"
        "print-color-adjust:exact;-webkit-print-color-adjust:exact}"
        for step in range(1, SHADES + 1)
    )
    + """
.cohorts small{color:inherit}
.h7,.h8,.h9,.h10,.h7 small,.h8 small,.h9 small,.h10 small{color:var(--on)}
.list span{color:var(--soft);font-weight:400}
.month a:hover,.list a:hover,.list a:hover span{background:var(--s1);color:var(--card)}
@media screen and (max-width:560px){main{padding:16px 12px 32px}
.tiles{grid-template-columns:repeat(auto-fit,minmax(140px,1fr))}
.tile{padding:10px 12px}.card{padding:14px}
.cards .card>.chart svg{min-width:420px}.chart svg text{font-size:13px}
th:first-child,td:first-child{max-width:130px}.sortable th:first-child{min-width:110px}
.ids th:first-child,.ids td:first-child{position:static}}
@page{size:A4 landscape;margin:9mm}
@media print{body{font-size:11px}main{max-width:none;padding:0}nav,.tip{display:none}
h1{font-size:20px}.note,td small,.tile .name,.tile .change{font-size:9px}td small{font-size:7px}
.card,.tile,tr{break-inside:avoid}.card.wide{break-inside:auto}.scroll{overflow:visible}
th,td{padding:2px 3px;white-space:normal}table{font-size:8px}
.sortable{font-size:7px}.sortable th{min-width:0}svg.bar{min-width:20px}
.sortable th:first-child,.sortable td:first-child{position:static;min-width:0}
pre code{font-size:9px}
.tile .value{font-size:18px}.months{grid-template-columns:repeat(3,1fr)}}
"""
)

_SCRIPT = """
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table");
    const body = table.tBodies[0], at = head.cellIndex;
    const down = head.getAttribute("aria-sort") !== "descending" && at > 0 ||
      head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[at].dataset.v;
    const order = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const less = at > 0 ? a - b : a.localeCompare(b);
      return down ? -less : less;
    };
    body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
  });
}
const reveal = () => {
  const found = document.getElementById(location.hash.slice(1));
  if (!found) return;
  for (let at = found; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  found.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
// The titles of charts, shown at once, and also where there is no pointer to hover with.
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
document.addEventListener("pointerover", (event) => {
  const shape = event.target.closest(".chart svg *");
  if (!shape) { tip.hidden = true; return; }
  const title = shape.querySelector(":scope > title");
  if (title) { shape.dataset.tip = title.textContent; title.remove(); }
  tip.hidden = !shape.dataset.tip;
  tip.textContent = shape.dataset.tip || "";
});
document.addEventListener("pointermove", (event) => {
  if (tip.hidden) return;
  const wide = tip.offsetWidth, high = tip.offsetHeight, x = event.clientX, y = event.clientY;
  tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - wide - 4)) + "px";
  tip.style.top = (y + 18 + high > innerHeight ? y - high - 10 : y + 18) + "px";
});
"""


def page(title: str, body: str) -> str:
    """Return a complete HTML document that loads nothing.

    Args:
        title: plain text, escaped here.
        body: HTML of the page, escaped by the caller; no inline styles or handlers, which the
            page's policy refuses.
    """
    policy = (
        f"default-src 'none'; style-src '{_digest(_STYLE)}'; script-src '{_digest(_SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _digest(code: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
