// Least and greatest of any number of values; Infinity and -Infinity of none. Math.min(...values) throws where they are more than the stack
// holds, some 120,000, and a pair made for each value would have to be collected again.

export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}
