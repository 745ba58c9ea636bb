// Least and greatest of any number of values. Math.min(...values) throws where they are more than the stack holds, some 120,000.

export const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
