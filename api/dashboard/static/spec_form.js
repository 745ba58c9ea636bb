// From the answers of the form to a study's spec: what a person most often wants to choose. The rest is written in the file.

export const INITIAL = {
  kind: "trainer",
  name: "",
  dataset: "digits",
  model: "mlp",
  optimizers: ["sgd", "momentum", "adam", "adamw"],
  lrLow: "1e-5",
  lrHigh: "1",
  batchSizes: "16, 32, 64, 128",
  epochs: "20",
  trials: "60",
  concurrent: "8",
  sampler: "auto",
  samplerOptions: {},
  pruner: "auto",
  prunerOptions: {},
  outcomeConstraints: "",
  repeat: "",
  entrypoint: "package.module:objective",
  command: "python, train.py, --lr={lr}",
  objective: "val_loss",
  direction: "minimize",
};

const METRICS = {
  classification: ["val_accuracy", "maximize"],
  regression: ["val_loss", "minimize"],
  language: ["val_loss", "minimize"],
  translation: ["val_loss", "minimize"],
  detection: ["val_loss", "minimize"],
};
const OWN_SPACE = { lr: { type: "float", low: 1e-5, high: 1, log: true }, optimizer: { type: "categorical", choices: ["sgd", "adam"] } };

const words = (text) =>
  text
    .split(",")
    .map((word) => word.trim())
    .filter(Boolean);
// What was typed, as a number where it is one; the server says what is wrong with the rest.
const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim() || null);

// Options of a sampler or a pruner that were answered; true and false are words of the form.
const options = (given) =>
  Object.fromEntries(
    Object.entries(given)
      .filter(([, text]) => text.trim())
      .map(([name, text]) => [name, { true: true, false: false }[text] ?? number(text)]),
  );

const entry = (catalog, kind, name) => catalog?.[kind]?.find((found) => found.name === name);
const has = (found, name) => found?.hyperparameters.some((hyperparameter) => hyperparameter.name === name);

function trainer(answers, catalog) {
  const data = entry(catalog, "datasets", answers.dataset);
  const required = Object.fromEntries(
    (data?.hyperparameters ?? []).filter((hyperparameter) => hyperparameter.required).map(({ name }) => [name, `TO BE FILLED IN: ${name}`]),
  );
  const [first] = answers.optimizers;
  const space = {};
  if (answers.optimizers.length > 1) space["optimizer.name"] = { type: "categorical", choices: answers.optimizers };
  const rated = answers.optimizers.filter((name) => has(entry(catalog, "optimizers", name), "lr"));
  if (rated.length) {
    const condition = rated.length < answers.optimizers.length ? { when: { "optimizer.name": rated } } : {};
    space["optimizer.lr"] = { type: "float", low: number(answers.lrLow), high: number(answers.lrHigh), log: true, ...condition };
  }
  if (words(answers.batchSizes).length > 1) space.batch_size = { type: "categorical", choices: words(answers.batchSizes).map(number) };
  if (has(entry(catalog, "models", answers.model), "dropout")) space["model.dropout"] = { type: "float", low: 0, high: 0.6, step: 0.1 };
  const [objective, direction] = METRICS[data?.facts.task] ?? METRICS.regression;
  return {
    objectives: [{ name: objective, direction }],
    space,
    trial: {
      executor: "trainer",
      trainer: {
        dataset: { name: answers.dataset, ...required },
        model: { name: answers.model },
        ...(first ? { optimizer: { name: first } } : {}),
        epochs: number(answers.epochs),
        ...(words(answers.batchSizes).length === 1 ? { batch_size: number(answers.batchSizes) } : {}),
      },
    },
  };
}

// The spec of the answers, for /v1/specs/check to judge.
export function toSpec(answers, catalog) {
  const own = { objectives: [{ name: answers.objective, direction: answers.direction }], space: OWN_SPACE };
  const { objectives, space, trial } = {
    trainer: () => trainer(answers, catalog),
    entrypoint: () => ({ ...own, trial: { executor: "entrypoint", entrypoint: answers.entrypoint } }),
    command: () => ({ ...own, trial: { executor: "command", command: words(answers.command) } }),
    external: () => ({ ...own, trial: { executor: "external" } }),
  }[answers.kind]();
  return {
    ...(answers.name.trim() ? { name: answers.name.trim() } : {}),
    objectives,
    space,
    ...(words(answers.outcomeConstraints).length ? { outcome_constraints: words(answers.outcomeConstraints) } : {}),
    sampler: { name: answers.sampler, ...options(answers.samplerOptions) },
    pruner: { name: answers.pruner, ...options(answers.prunerOptions) },
    ...(answers.repeat.trim() ? { repeat: { max: number(answers.repeat) } } : {}),
    trial,
    limits: {
      max_trials: number(answers.trials),
      ...(answers.concurrent.trim() ? { max_concurrent_trials: number(answers.concurrent) } : {}),
    },
  };
}

// Models that take the samples of a data set; all where only the file tells what they are.
export function fitting(catalog, dataset) {
  const facts = entry(catalog, "datasets", dataset)?.facts;
  const models = catalog?.models ?? [];
  if (!facts?.sample) return models;
  const side = facts.shape && facts.shape.length === 3 ? Math.min(...facts.shape.slice(1)) : Infinity;
  return models.filter((model) => model.facts.takes.includes(facts.sample) && (model.facts.min_size ?? 0) <= side);
}
