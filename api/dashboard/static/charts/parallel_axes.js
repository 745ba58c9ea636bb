// The axes of parallel coordinates: which parameters, in what order, turned over or not, logarithmic or not. All of it stands in the address.

import { html } from "../vendor/htm-preact.js";
import { Setting } from "../chart_settings.js";
import { formatChoices } from "../format.js";
import { useQuery } from "../router.js";

const MAX_AXES = 10;
const AXIS_WIDTH = 120; // below this the labels of neighbours run into each other

const list = (text) => (text ? text.split("|") : []);
const toggled = (names, name) => (names.includes(name) ? names.filter((other) => other !== name) : [...names, name]);

// Parameters that most of `shown` have, as many as the window has room for, in the order of the study.
export function usual(trials, shown, width) {
  const all = trials.paramNames();
  const filled = all.map((name) => [name, shown.filter((number) => trials.params[name][number] !== undefined).length]);
  return filled
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1])
    .slice(0, Math.max(2, Math.min(MAX_AXES, Math.floor(width / AXIS_WIDTH) - 1)))
    .map(([name]) => name)
    .sort((a, b) => all.indexOf(a) - all.indexOf(b));
}

// {names, flipped, linear, colour, ...}: what the address says, names from `usual` where it says nothing.
export function useAxes(trials, shown) {
  const [axes, setAxes] = useQuery("axes");
  const [flipped, setFlipped] = useQuery("flip");
  const [rescaled, setRescaled] = useQuery("rescale");
  const [colour, setColour] = useQuery("colour");
  const known = list(axes).filter((name) => trials.params[name]);
  const names = known.length ? known : usual(trials, shown, innerWidth);
  return {
    names,
    colour: trials.params[colour] || colour === "duration" || trials.values[colour] ? colour : "",
    setColour,
    flipped: new Set(list(flipped)),
    rescaled: new Set(list(rescaled)),
    setNames: (next) => setAxes(next.join("|")),
    flip: (name) => setFlipped(toggled(list(flipped), name).join("|")),
    rescale: (name) => setRescaled(toggled(list(rescaled), name).join("|")),
    changed: Boolean(axes || flipped || rescaled || colour),
    reset: () => [setAxes, setFlipped, setRescaled, setColour].forEach((set) => set("")),
  };
}

// One axis of ECharts for a parameter: its extent is that of all trials, so that it stays where it is while a filter narrows the lines.
export function parameterAxis(feed, name, { flipped, rescaled }) {
  const space = feed.study.spec.space?.[name];
  const { numeric, whole, low, high } = feed.trials.column(name);
  const common = { name, inverse: flipped.has(name) };
  if (!numeric || space?.type === "categorical") {
    const choices = space?.choices ?? [...new Set(feed.trials.params[name])].filter((value) => value !== undefined).sort();
    return { ...common, type: "category", choices, data: formatChoices(choices) };
  }
  const log = low > 0 && Boolean(space?.log) !== rescaled.has(name);
  return { ...common, type: log ? "log" : "value", scale: true, min: low, max: high, whole, ...(whole ? { minInterval: 1 } : {}) };
}

function canRescale(trials, name) {
  const { numeric, low } = trials.column(name);
  return numeric && low > 0;
}

export function AxesPanel({ feed, axes, objectives }) {
  const { trials } = feed;
  const { names } = axes;
  const move = (name, by) => {
    const next = names.filter((other) => other !== name);
    next.splice(names.indexOf(name) + by, 0, name);
    axes.setNames(next);
  };
  const rest = trials.paramNames().filter((name) => !names.includes(name));
  const colours = [["", `rank by ${objectives[0].name}`], ...objectives.slice(1).map(({ name }) => [name, name]), ["duration", "time it took"], ...trials.paramNames().map((name) => [name, name])];
  return html`
    <${Setting} label="Colour" value=${axes.colour} onChange=${axes.setColour} options=${colours} />
    <ul class="axes" aria-label="Axes">${names.map(
      (name, place) => html`
      <li key=${name}><span class="mono" title=${name}>${name}</span>
        <button class="small quiet" aria-label=${`${name}: further left`} disabled=${place === 0} onClick=${() => move(name, -1)}>←</button>
        <button class="small quiet" aria-label=${`${name}: further right`} disabled=${place === names.length - 1} onClick=${() => move(name, 1)}>→</button>
        <button class="small quiet" aria-pressed=${axes.flipped.has(name)} aria-label=${`${name}: upside down`} onClick=${() => axes.flip(name)}>flip</button>
        <button class="small quiet" aria-pressed=${axes.rescaled.has(name) !== Boolean(feed.study.spec.space?.[name]?.log)} disabled=${!canRescale(trials, name)}
          aria-label=${`${name}: logarithmic`} onClick=${() => axes.rescale(name)}>log</button>
        <button class="small quiet" aria-label=${`${name}: leave out`} disabled=${names.length < 2} onClick=${() => axes.setNames(names.filter((other) => other !== name))}>×</button>
      </li>`,
    )}</ul>
    ${rest.length > 0 && html`<${Setting} label="Add an axis" value="" onChange=${(name) => name && axes.setNames([...names, name])} options=${[["", "choose …"], ...rest.map((name) => [name, name])]} />`}
    ${axes.changed && html`<button class="small" onClick=${axes.reset}>As at first</button>`}`;
}
