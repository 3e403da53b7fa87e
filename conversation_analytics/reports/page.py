"""The shell of every HTML page: style, script, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib

from conversation_analytics.reports.markup import html_text

_STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2130;--soft:#5b6475;--line:#e3e6ec;
--grid:#eceff4;--s1:#3b6fd4;--s2:#e0973a;--q1:#a9c4f5;--q2:#6f9bea;--q3:#3b6fd4;--q4:#1f3f85;
--shadow:0 1px 2px #1b213014,0 2px 8px #1b21300a}
@media (prefers-color-scheme:dark){:root{--bg:#12151c;--card:#1b2029;--ink:#e8ebf1;--soft:#9aa4b6;
--line:#2d3441;--grid:#272e3a;--s1:#6e9bf2;--s2:#e8ac5c;--q1:#34548f;--q2:#4f7dd0;--q3:#86aef8;
--q4:#d3e2ff;--shadow:none}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--grid:#e6e6e6;
--s1:#3b6fd4;--s2:#e0973a;--q1:#a9c4f5;--q2:#6f9bea;--q3:#3b6fd4;--q4:#1f3f85;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:26px;line-height:1.2;margin:0}h2{font-size:16px;margin:0 0 10px}
.sub{color:var(--soft);margin:4px 0 22px}
.note{color:var(--soft);font-size:13px;margin:8px 0 0}
a{color:var(--s1)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:12px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;
box-shadow:var(--shadow)}
.tile{padding:12px 16px;min-width:0}
.tile .name{color:var(--soft);font-size:13px}
.tile .value{font-size:25px;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.tile .long{font-size:18px;line-height:1.8}
.tile .change{color:var(--soft);font-size:13px}
.cards{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;margin-top:16px}
.card{padding:16px 18px;min-width:0}.wide{grid-column:1/-1}
.trends{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px 22px}
@media screen and (max-width:820px){.cards{grid-template-columns:minmax(0,1fr)}}
svg{display:block;width:100%;height:auto}
svg text{font-size:12px;fill:var(--soft)}
svg .label,svg .end{fill:var(--ink)}svg .strong{font-weight:650}
svg .middle{text-anchor:middle}svg .last{text-anchor:end}
svg .hit{fill:transparent}svg .grid{stroke:var(--grid)}svg .base{stroke:var(--soft)}
svg .s1{fill:var(--s1)}svg .s2{fill:var(--s2)}
svg .q1{fill:var(--q1)}svg .q2{fill:var(--q2)}svg .q3{fill:var(--q3)}svg .q4{fill:var(--q4)}
svg .span{stroke:var(--line);stroke-width:3}
svg .line{fill:none;stroke:var(--s1);stroke-width:2;stroke-linejoin:round}
svg .dot{fill:var(--card);stroke:var(--s1);stroke-width:1.5}
.scroll,.chart{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;max-width:320px;overflow:hidden;
text-overflow:ellipsis}
th{color:var(--soft);font-weight:600;vertical-align:bottom}
@media screen and (max-width:560px){main{padding:20px 12px 32px}
.tiles{grid-template-columns:repeat(auto-fit,minmax(140px,1fr))}
.cards .card>.chart svg{min-width:480px}.cards .wide>.chart svg{min-width:720px}
th:first-child,td:first-child{max-width:130px}}
tbody tr:hover{background:var(--grid)}
tfoot td{font-weight:650;border-bottom:0}
th button{all:unset;cursor:pointer}
th button:hover{color:var(--ink)}th button:focus-visible{outline:2px solid var(--s1)}
th[aria-sort] button{color:var(--ink)}
th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
.left td,.left th{text-align:left;white-space:normal}.left td:nth-child(2){white-space:nowrap}
summary{cursor:pointer;font-weight:650;font-size:16px}details table{margin-top:10px}
code{font-size:13px}
.none{fill:var(--grid)}
.months{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:16px}
.month{display:grid;grid-template-columns:repeat(7,1fr);gap:3px;text-align:center;font-size:13px}
.month span{color:var(--soft);padding:4px 0}
.month a{padding:4px 0;border-radius:6px;background:var(--grid);text-decoration:none;
font-weight:600}
.month a:hover{background:var(--s1);color:var(--card)}
@media print{body{font-size:11px}main{max-width:none;padding:0}
.card,.tile,tr{break-inside:avoid}.scroll{overflow:visible}
th,td{padding:3px 4px;white-space:normal}table{font-size:9px}
.tile .value{font-size:18px}.months{grid-template-columns:repeat(3,1fr)}}
"""

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
