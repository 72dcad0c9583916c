/** The first column of a result as an SVG: a bar for each row, with its extremes. */
import type { Result } from "./rounds.ts";
import { format } from "./scenario.ts";

const WIDTH = 720;
const NAMES = 190;
const VALUES = 130;
const STEP = 26;
const TOP = 44;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .bar { fill: #9aa7b4 } .ours { fill: #2f81f7 } .range { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .bar { fill: #57606a } .range { stroke: #e6edf3 }
  }`;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Draws it. */
export function chart({ title, columns, rows }: Result): string {
  const [column, digits] = Object.entries(columns)[0]!;
  const most = Math.max(...rows.map(({ figures }) => figures[column]!.max));
  const x = (value: number) =>
    (NAMES + Math.max(value, 0) / most * (WIDTH - NAMES - VALUES)).toFixed(1);
  const bars = rows.map(({ name, figures }, i) => {
    const { median, min, max, ratio } = figures[column]!;
    const y = TOP + i * STEP;
    const middle = y + STEP / 2 - 3;
    const kind = name.startsWith("listen,") ? "bar ours" : "bar";
    const value = format(median, digits) +
      (ratio ? ` (×${ratio.toFixed(2)})` : "");
    return `  <text x="${NAMES - 8}" y="${y + 15}" text-anchor="end">${
      escape(name)
    }</text>
  <path class="${kind}" d="M${NAMES} ${y}H${x(median)}v${STEP - 6}H${NAMES}z"/>
  <path class="range" d="M${x(min)} ${middle}H${x(max)}"/>
  <text x="${WIDTH - 8}" y="${y + 15}" text-anchor="end">${value}</text>`;
  });
  const height = TOP + rows.length * STEP + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
  <style>${STYLE}
  </style>
  <text class="title" x="8" y="22">${
    escape(`${title}: ${column}, less is better`)
  }</text>
${bars.join("\n")}
</svg>
`;
}
