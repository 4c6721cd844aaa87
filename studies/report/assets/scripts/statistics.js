"use strict";
// What the points of one value of an axis have in common.
{
  const median = (sorted) => {
    const middle = sorted.length / 2;
    return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
  };

  /** The least and the greatest of many numbers. */
  attnflow.ends = (values) => [
    values.reduce((low, each) => Math.min(low, each), Infinity),
    values.reduce((high, each) => Math.max(high, each), -Infinity),
  ];

  /** Different values of a column, in order: numbers by size, words as in the study. */
  attnflow.distinct = (column) => {
    const values = [...new Set(column.values.filter((value) => value !== null))];
    return column.numeric ? values.sort((a, b) => a - b) : values;
  };

  /** Least, median and greatest value at each place of an axis. */
  attnflow.profile = (points, axis, value) => {
    const groups = new Map(attnflow.distinct(axis).map((place) => [place, []]));
    for (const point of points) groups.get(axis.values[point])?.push(value(point));
    return [...groups]
      .filter(([, values]) => values.length)
      .map(([place, values]) => {
        values.sort((a, b) => a - b);
        return { place, least: values[0], median: median(values), most: values.at(-1) };
      });
  };

  /** By which factor the medians of a profile differ. */
  attnflow.effect = (profile) => {
    const medians = profile.map((at) => at.median).filter((each) => each > 0);
    return medians.length > 1 ? Math.max(...medians) / Math.min(...medians) : 1;
  };

  /** Whether least, median and greatest are the same all along a profile. */
  attnflow.flat = (profile) =>
    ["least", "median", "most"].every((name) =>
      profile.every((at) => Math.abs(at[name] - profile[0][name]) <= 1e-9 * Math.abs(profile[0][name])),
    );
}
