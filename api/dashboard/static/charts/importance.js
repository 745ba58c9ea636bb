// How much each parameter matters for the objective, as the server estimates it from the complete trials of the whole study.

import { html, useState } from "../vendor/htm-preact.js";
import { get } from "../api.js";
import { useAsked } from "../asking.js";
import { axis, Save } from "../chart.js";
import { Choice } from "../controls.js";
import { formatNumber } from "../format.js";
import { MIN_TRIALS, useOccasions } from "../occasions.js";

const MAX_BARS = 12; // until all are asked for
const BAR_HEIGHT = 24; // pixels, in a picture
const LABEL_WIDTH = 220;

// {shares, error}: asked for when the method changes and, while trials complete, now and then; an error only where there are no shares.
export function useImportance(feed, objective, method) {
  const occasion = useOccasions(feed.study.counts.complete);
  const question = `${feed.path}/importance?method=${method}&objective=${encodeURIComponent(objective.name)}`;
  const { answer, error } = useAsked(({ signal }) => get(question, { signal }), { question, occasion, when: occasion >= MIN_TRIALS });
  return { shares: answer?.importance ?? null, error: answer ? null : error };
}

// The bars as a picture of ECharts, whose bundle here has no bars of its own.
export function bars(palette, entries) {
  return {
    grid: { left: 12, right: 64, top: 12, bottom: 12, containLabel: true },
    xAxis: { type: "value", min: 0, max: "dataMax", show: false },
    yAxis: axis(palette, {
      type: "category",
      inverse: true,
      data: entries.map(([name]) => name),
      axisLabel: { color: palette.text, fontSize: 11, interval: 0, width: LABEL_WIDTH, overflow: "truncate" },
    }),
    series: [
      {
        type: "custom",
        encode: { x: 0, y: 1 },
        data: entries.map(([, share], place) => [share, place]),
        renderItem: (_, api) => {
          const [x, y] = api.coord([0, api.value(1)]);
          const [end] = api.coord([api.value(0), api.value(1)]);
          return {
            type: "group",
            children: [
              { type: "rect", shape: { x, y: y - BAR_HEIGHT / 4, width: Math.max(1, end - x), height: BAR_HEIGHT / 2, r: 2 }, style: { fill: palette.accent } },
              { type: "text", style: { text: formatNumber(api.value(0), 2), x: end + 8, y, verticalAlign: "middle", fill: palette.text, fontSize: 11, fontFamily: palette.font } },
            ],
          };
        },
      },
    ],
  };
}

export function Importance({ feed, objective, answer, method, setMethod }) {
  const { shares, error } = answer;
  const [whole, setWhole] = useState(false);
  const complete = feed.study.counts.complete;
  const entries = Object.entries(shares ?? {});
  const shown = entries.slice(0, whole ? undefined : MAX_BARS);
  const most = Math.max(...entries.map(([, share]) => share), 1e-9);
  const empty =
    complete < MIN_TRIALS
      ? `Needs ${MIN_TRIALS} complete trials; there ${complete === 1 ? "is" : "are"} ${complete}.`
      : error
        ? error.message
        : entries.length
          ? null
          : "Being estimated …";
  return html`
    <figure class="chart">
      <div class="chart-head"><h2 title=${objective.name}>Importance for ${objective.name}</h2>
        <div class="chart-controls"><${Choice} label="Method" value=${method} onChange=${setMethod} options=${[
          ["ped_anova", "PED-ANOVA"],
          ["fanova", "fANOVA"],
        ]} />
        ${!empty && html`<${Save} title=${`Importance for ${objective.name}`} build=${(palette) => bars(palette, shown)} height=${24 + BAR_HEIGHT * shown.length}
          table=${() => ({ columns: ["Parameter", "Importance"], rows: entries })} />`}</div></div>
      ${
        empty
          ? html`<p class="chart-note">${empty}</p>`
          : html`<table class="bars"><tbody>${shown.map(
              ([name, share]) => html`
              <tr><th scope="row" class="mono" title=${name}>${name}</th>
                <td><svg role="img" aria-label=${`${Math.round(100 * share)} percent`} viewBox="0 0 100 10" preserveAspectRatio="none"><rect width=${(100 * share) / most} height="10" /></svg></td>
                <td class="right figure">${formatNumber(share, 2)}</td></tr>`,
            )}</tbody></table>
            ${entries.length > MAX_BARS && html`<button class="small" aria-expanded=${whole} onClick=${() => setWhole(!whole)}>${whole ? `The first ${MAX_BARS}` : `All ${entries.length}`}</button>`}`
      }
      <figcaption>${!empty && `Of all complete trials of the study. ${method === "fanova" ? "Share of the variance (Hutter et al. 2014)." : "What tells the best tenth of the trials from the rest (Watanabe et al. 2023)."}`}</figcaption>
    </figure>`;
}
