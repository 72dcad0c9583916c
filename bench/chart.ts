/** The first column of a result as an SVG: one bar and one number for each row. */
import type { Result } from "./rounds.ts";

const WIDTH = 720;
const GAP = 8;
const NUMBER = 60;
const STEP = 26;
const TOP = 56;

// It has its own background, because a page can be light on a system that is dark.
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 } .unit { fill: #59636e }
  .page { fill: #ffffff } .bar { fill: #8c959f } .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .unit { fill: #9198a1 }
    .page { fill: #0d1117 } .bar { fill: #6e7681 } .ours { fill: #4493f8 }
  }`;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** The largest width of a text in the fonts that a browser may use, in pixels. */
function widthOf(text: string): number {
  return [...text].reduce(
    (sum, char) => sum + (/[A-Z_]/.test(char) ? 9.5 : 8),
    0,
  );
}

/** What the rows are compared to, in words. */
function unit({ columns, rows }: Result): string {
  const column = Object.keys(columns)[0]!;
  const baselines = new Set(rows.map(({ baseline }) => baseline));
  const [only] = baselines;
  const one = baselines.size === 1 ? only : "the same server's ×1.00";
  return `${column} compared to ${one}, median of the rounds; less is better`;
}

/**
 * Draws the chart. The number and the bar are the ratio to the baseline, because absolute
 * times depend on what else the machine had to do.
 */
export function chart(result: Result): string {
  const { title, columns, rows } = result;
  const column = Object.keys(columns)[0]!;
  const ratios = rows.map(({ figures }) => figures[column]!.ratio ?? 0);
  const left = GAP + Math.max(...rows.map(({ name }) => widthOf(name))) + GAP;
  const scale = (WIDTH - left - NUMBER) / Math.max(...ratios);
  const bars = rows.map(({ name }, i) => {
    const ratio = ratios[i]!;
    const y = TOP + i * STEP;
    const end = (left + ratio * scale).toFixed(1);
    const kind = name.startsWith("listen") ? "bar ours" : "bar";
    const text = `y="${y + 15}"`;
    return `  <text x="${left - GAP}" ${text} text-anchor="end">${
      escape(name)
    }</text>
  <path class="${kind}" d="M${left} ${y}H${end}v${STEP - 6}H${left}z"/>
  <text x="${Number(end) + GAP}" ${text}>×${ratio.toFixed(2)}</text>`;
  });
  const height = TOP + rows.length * STEP + 6;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
  <style>${STYLE}
  </style>
  <path class="page" d="M0 0H${WIDTH}V${height}H0z"/>
  <text class="title" x="${GAP}" y="22">${escape(title)}</text>
  <text class="unit" x="${GAP}" y="42">${escape(unit(result))}</text>
${bars.join("\n")}
</svg>
`;
}
