// The trial that the pointer is on: whichever chart or row it lies under, every other chart of the page highlights it too.
// Admitted weakness: a chart that ECharts draws as one cloud (above a thousand points) highlights nothing.

const listeners = new Set();

export function onHover(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// `number` of the trial, null once the pointer has left it; `source` is the element that tells, which needs no telling.
export function hover(number, source = null) {
  for (const listener of listeners) listener(number, source);
}

// Attributes of a table row that stands for a trial.
export const hovering = (number) => ({ onMouseEnter: () => hover(number), onMouseLeave: () => hover(null) });

// How a highlighted point looks.
export const pointed = (palette) => ({ scale: 1.8, itemStyle: { opacity: 1, borderColor: palette.text, borderWidth: 1.5 } });

// The trial an item of a series stands for: points are [x, y, number], lines of parallel coordinates {number}, curves are named by it.
export function trialOf({ data, seriesName, seriesType }) {
  if (seriesType === "custom") return null;
  if (data?.number !== undefined) return data.number;
  if (Number.isInteger(data?.[2])) return data[2];
  return /^\d+$/.test(seriesName ?? "") ? Number(seriesName) : null;
}

// Where a trial is in an option's series: [{seriesIndex, dataIndex}], without dataIndex for a whole curve.
export function places(series, number) {
  const found = [];
  series.forEach(({ name, type, data, large }, seriesIndex) => {
    if (type === "custom" || large) return;
    if (name === String(number)) found.push({ seriesIndex });
    else {
      const dataIndex = data.findIndex((item) => item?.number === number || item?.[2] === number);
      if (dataIndex >= 0) found.push({ seriesIndex, dataIndex });
    }
  });
  return found;
}
