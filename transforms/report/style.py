"""The stylesheet of the report: one column that becomes two where there is room, light and dark."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f5f8; --card: #ffffff; --line: #e1e4ea; --soft: #eef0f5; --text: #161c27; --muted: #5a6373;
  --accent: #2f55d4; --known: #3659d9; --joined: #0d9488; --anonymous: #dd7416; --plain: #5f6f95;
  --good: #146c43; --good-soft: #dff3e7; --bad: #a61b2b; --bad-soft: #fde4e4;
  --warn: #7a4b00; --warn-soft: #fdf3dc; --warn-line: #e9c46a;
  --shadow: 0 1px 2px rgb(20 28 45 / .05), 0 4px 16px rgb(20 28 45 / .04);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1117; --card: #161b24; --line: #2a3140; --soft: #202735; --text: #e6e9f0; --muted: #9aa4b6;
    --accent: #93abff; --known: #7391ff; --joined: #2fbfae; --anonymous: #f0974a; --plain: #8f9dbf;
    --good: #7fdcab; --good-soft: #12352a; --bad: #ff9a9f; --bad-soft: #401c22;
    --warn: #f2cf86; --warn-soft: #2b2413; --warn-line: #7a5f1e;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--page); color: var(--text); overflow-wrap: anywhere;
  font: 15px/1.55 "Inter", -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
}
header, main, footer { max-width: 1240px; margin: 0 auto; padding: 0 32px; }
header { padding-top: 48px; }
.eyebrow { margin: 0; color: var(--muted); font-size: 13px; font-weight: 600; letter-spacing: .02em; }
h1 { margin: 6px 0 12px; font-size: 32px; line-height: 1.2; letter-spacing: -.015em; }
h2 { margin: 0 0 16px; font-size: 21px; line-height: 1.3; letter-spacing: -.01em; }
h3 { margin: 0 0 10px; font-size: 15px; line-height: 1.4; }
p { margin: 0 0 12px; max-width: 78ch; }
a { color: var(--accent); text-underline-offset: 3px; text-decoration-thickness: 1px; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
.state { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin: 0; color: var(--muted); }
.pill { padding: 2px 12px; border-radius: 999px; font-size: 13px; font-weight: 600; }
.pill.good { color: var(--good); background: var(--good-soft); }
.pill.bad { color: var(--bad); background: var(--bad-soft); }
header details { margin-top: 12px; }
header pre { margin: 8px 0 0; padding: 12px 14px; background: var(--soft); border-radius: 8px; white-space: pre-wrap; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 24px 0 20px; padding: 12px 0; list-style: none; }
nav ul { border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font-size: 14px; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }

section {
  margin: 0 0 24px; padding: 28px 32px 30px; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; box-shadow: var(--shadow); scroll-margin-top: 16px;
}
.block { min-width: 0; }
.block + .block, .pair, .block + .figures, .figures + .block, .pair + .block { margin-top: 32px; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 32px 48px; align-items: start; }
.pair > .block, .pair.bar-pair { margin-top: 0; }
.bar-pair { row-gap: 6px; }
section > h2 + .pair, section > h2 + .block { margin-top: 0; }
.note { max-width: 92ch; text-wrap: pretty; margin: -4px 0 12px; color: var(--muted); font-size: 14px; }
.none { margin: 0; color: var(--muted); }
.wrong { padding: 12px 16px; color: var(--bad); background: var(--bad-soft); border-radius: 8px; font-weight: 600; }
.warnings { margin: 0 0 24px; padding: 16px 22px; color: var(--warn); background: var(--warn-soft); }
.warnings { border: 1px solid var(--warn-line); border-radius: 14px; }
.warnings h2 { margin: 0 0 6px; font-size: 15px; }
.warnings ul { margin: 0; padding-left: 20px; }
.warnings li + li { margin-top: 4px; }

.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 16px; margin: 0; }
.figure { padding: 16px 18px; background: var(--soft); border-radius: 10px; min-width: 0; }
header .figure { background: var(--card); border: 1px solid var(--line); border-radius: 14px; }
header .figure { box-shadow: var(--shadow); }
header .figures { margin: 24px 0; }
.figure dt { color: var(--muted); font-size: 13px; font-weight: 600; }
.figure dd { margin: 0; }
.figure strong { display: block; margin: 2px 0; font-size: 26px; line-height: 1.25; letter-spacing: -.02em; }
.figure strong, td, .value, .tick { font-variant-numeric: tabular-nums; }
header .figure strong { font-size: 30px; }
.figure span { color: var(--muted); font-size: 13px; display: block; line-height: 1.45; }

.scroll { overflow-x: auto; margin: 0 -8px; }
details .scroll { max-height: 560px; overflow-y: auto; }
table { width: 100%; border-collapse: collapse; font-size: 14px; line-height: 1.45; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { padding: 8px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th, td { overflow-wrap: normal; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--card); color: var(--muted); font-size: 13px; }
thead th { font-weight: 600; vertical-align: bottom; box-shadow: inset 0 -1px var(--line); }
tbody th { font-weight: 400; min-width: 15ch; }
td { min-width: 12ch; }
.long { min-width: 34ch; }
th.n, td.n { text-align: right; white-space: nowrap; min-width: 0; }
thead th.n { white-space: normal; }
.zero { color: var(--muted); }
.meaning { display: block; color: var(--muted); font-size: 13px; font-weight: 400; }
#accounting th { font-weight: 600; }
#accounting tbody td, #accounting tfoot td { vertical-align: middle; }
#accounting td.n { font-size: 15px; }
#accounting .sign { width: 26px; min-width: 0; color: var(--muted); padding-right: 0; }
#accounting .share { width: 36%; min-width: 130px; }
#accounting tfoot > tr > * { border-top: 2px solid var(--text); border-bottom: 0; font-weight: 700; }
.share div { display: flex; align-items: center; gap: 12px; }
.share svg { flex: 1; min-width: 0; }
.share span { width: 62px; text-align: right; color: var(--muted); white-space: nowrap; }
dl.pairs { display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr); gap: 6px 24px; margin: 0; }
dl.pairs { font-size: 14px; }
.bars + dl.pairs, .bars + .note, .bar-pair + .note { margin-top: 20px; }
dl.pairs dt { color: var(--muted); }
dl.pairs dd { margin: 0; }

details { margin-top: 14px; }
summary { cursor: pointer; color: var(--accent); font-size: 14px; width: fit-content; }
details[open] > summary { margin-bottom: 10px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 14px; padding: 0; list-style: none; }
.legend { color: var(--muted); font-size: 13px; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 7px; border-radius: 3px; }
svg { display: block; overflow: visible; }
svg .clip { overflow: hidden; }
svg text { fill: var(--text); font-size: 13px; }
svg .tick { fill: var(--muted); font-size: 12px; }
svg .end, svg .value { text-anchor: end; }
svg .mid { text-anchor: middle; }
.plot { padding: 0 8px 0 46px; }
.grid { stroke: var(--line); }
.axis { stroke: var(--muted); }
.hit { fill: transparent; }
g:hover > .hit { fill: var(--soft); }
.bars g:hover > .hit { fill: transparent; }
.bars g:hover .label { text-decoration: underline; }
.track { fill: var(--soft); }
.known { fill: var(--known); background: var(--known); }
.joined { fill: var(--joined); background: var(--joined); }
.anonymous { fill: var(--anonymous); background: var(--anonymous); }
.plain { fill: var(--plain); background: var(--plain); }
footer { padding-top: 8px; padding-bottom: 48px; color: var(--muted); font-size: 13px; }

@media (max-width: 860px) { .pair { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 640px) {
  header, main, footer { padding-left: 14px; padding-right: 14px; }
  header { padding-top: 28px; }
  h1 { font-size: 25px; }
  section { padding: 20px 16px 22px; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }
  .figure { padding: 12px 13px; }
  .figure:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .figure strong, header .figure strong { font-size: 21px; }
  .extra { display: none; }
  #accounting .share svg { display: none; }
  #accounting .share { width: auto; min-width: 0; }
  #accounting .share span { width: auto; margin-left: auto; }
  .plot { padding-left: 38px; padding-right: 4px; }
  dl.pairs { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dl.pairs dd { margin-bottom: 8px; }
}
@media print {
  body { background: #fff; }
  section, .figure { box-shadow: none; break-inside: avoid-page; }
  .scroll { max-height: none; overflow: visible; }
  nav { display: none; }
}
"""
