// A chart as a file: a picture (PNG, SVG) drawn anew beside the page, or its data as CSV.

const SCALE = 2; // pixels of a PNG a pixel of the page
const MIN_WIDTH = 640;

// Exact, and spelled as the api does; an absent cell is empty. A text that a spreadsheet would take for a formula gets an apostrophe in front,
// numbers stay numbers.
const quoted = (cell) => {
  const text = cell === undefined ? "" : String(cell);
  const plain = /^[=+\-@\t\r\n]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
};

export const toCsv = ({ columns, rows }) => `${[columns, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;

export const fileName = (title, ending) => `${title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 80) || "chart"}.${ending}`;

export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// `option` as a picture; resolves to a Blob. Nothing is drawn progressively, so that all of it is there at once.
export function picture(echarts, option, palette, format, { width, height }) {
  const size = { width: Math.max(MIN_WIDTH, width), height };
  const chart = echarts.init(document.createElement("div"), null, { renderer: format === "svg" ? "svg" : "canvas", ...size });
  const series = option.series.map((one) => ({ ...one, progressive: 0, large: false }));
  chart.setOption({ animation: false, backgroundColor: palette.background, textStyle: { fontFamily: palette.font, color: palette.text }, ...option, series });
  if (format === "svg") {
    const text = chart.renderToSVGString();
    chart.dispose();
    return Promise.resolve(new Blob([text], { type: "image/svg+xml" }));
  }
  const canvas = chart.renderToCanvas({ pixelRatio: SCALE, backgroundColor: palette.background });
  return new Promise((resolve) => {
    canvas.toBlob((blob) => {
      chart.dispose();
      resolve(blob);
    }, "image/png");
  });
}
