"use strict";
// Draws the charts of the data in this page, and draws them again when a filter changes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const home = document.getElementById("figures");
  const form = document.getElementById("filters");
  const shapeOf = (cell) => `${cell.batch}x${cell.length}`;
  const shapes = [...new Set(data.cells.map(shapeOf))];
  const threads = [...new Set(data.cells.map((cell) => cell.threads))];
  const onThreads = (count) => (threads.length > 1 ? `, ${count} thread${count === 1 ? "" : "s"}` : "");
  const series = (cell) => cell.contender;
  const allSeries = [...new Set(data.cells.map(series))];
  const show = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value >= 10 ? value.toFixed(1) : value.toFixed(2));

  // Colours are the page's own variables: dark pages and paper need no other drawing.
  const SERIES = 12;
  const range = allSeries.map((_, index) => `var(--series-${(index % SERIES) + 1})`);
  const text = { labelColor: "var(--ink)", titleColor: "var(--soft)", labelFontSize: 12, titleFontSize: 12 };
  const config = {
    background: "transparent",
    view: { stroke: null },
    font: "system-ui, 'DejaVu Sans', sans-serif",
    axis: { ...text, gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", labelLimit: 260 },
    legend: { ...text, orient: "bottom", columns: 2, labelLimit: 260, symbolType: "stroke", symbolStrokeWidth: 3 },
    text: { color: "var(--ink)", fontSize: 12 },
  };

  const wanted = () => {
    const chosen = {};
    for (const box of form.querySelectorAll("input")) (chosen[box.name] ??= new Set()) && box.checked && chosen[box.name].add(box.value);
    return chosen;
  };
  const colour = () => ({ field: "series", type: "nominal", title: null, scale: { domain: allSeries, range } });
  const milliseconds = (field, extra) => ({ field, type: "quantitative", title: "milliseconds", ...extra });

  function bars(cells) {
    const rows = cells.map((cell) => ({ ...cell, series: series(cell), label: `${show(cell.p50)}${cell.verdict === "no difference" ? "  no difference" : ""}` }));
    const y = { field: "series", type: "nominal", title: null, sort: [...cells].sort((a, b) => a.p50 - b.p50).map(series), axis: { ticks: false, domain: false, labelPadding: 6 } };
    return {
      width: 300, height: { step: 26 }, data: { values: rows },
      layer: [
        { mark: { type: "bar", cornerRadiusEnd: 2, height: 16 }, encoding: { y, x: milliseconds("p50"), color: { ...colour(), legend: null },
          tooltip: [{ field: "series", title: "engine" }, { field: "p50", format: ".3~g", title: "p50, ms" }, { field: "low", format: ".3~g" }, { field: "high", format: ".3~g" }, { field: "p99", format: ".3~g" }, { field: "verdict" }] } },
        { mark: { type: "rule", strokeWidth: 2, color: "var(--ink)" }, encoding: { y, x: { field: "low", type: "quantitative" }, x2: { field: "high" } } },
        { mark: { type: "text", align: "left", dx: 8 }, encoding: { y, x: { field: "high", type: "quantitative" }, text: { field: "label" } } },
      ],
    };
  }
  function lines(rows, field, title) {
    return {
      width: 380, height: 260, data: { values: rows.map((row) => ({ ...row, series: series(row) })) },
      layer: [
        { mark: { type: "errorbar", thickness: 1.5 }, encoding: { y: { field: "low", type: "quantitative", title: "milliseconds", scale: { type: "log" } }, y2: { field: "high" } } },
        { mark: { type: "line", point: { size: 45, filled: true }, strokeWidth: 2 }, encoding: { y: milliseconds("p50", { scale: { type: "log" } }),
          tooltip: [{ field: "series", title: "engine" }, { field, title }, { field: "p50", format: ".3~g" }] } },
      ],
      encoding: { x: { field, type: "quantitative", title, scale: { type: "log", base: 2 }, axis: { values: [...new Set(rows.map((row) => row[field]))] } },
        color: colour(), strokeDash: { field: "precision", type: "nominal", title: null, legend: null } },
    };
  }
  function throughput(rows) {
    return {
      width: 380, height: 260, data: { values: rows.map((row) => ({ ...row, series: series(row) })) },
      mark: { type: "line", point: { size: 45, filled: true }, strokeWidth: 2 },
      encoding: { x: { field: "level", type: "ordinal", title: "calls at once", axis: { labelAngle: 0 } }, y: { field: "texts_per_second", type: "quantitative", title: "texts per second" },
        color: colour(), tooltip: [{ field: "series" }, { field: "level" }, { field: "texts_per_second", format: ".3~g" }, { field: "p99", format: ".3~g", title: "p99, ms" }] },
    };
  }
  function distribution(cells) {
    const rows = cells.flatMap((cell) => {
      const runs = [...cell.runs].sort((a, b) => a - b);
      return runs.map((taken, index) => ({ series: series(cell), taken, share: (index + 1) / runs.length }));
    });
    return {
      width: 380, height: 240, data: { values: rows }, mark: { type: "line", interpolate: "step-after", strokeWidth: 2 },
      encoding: { x: { field: "taken", type: "quantitative", title: "milliseconds", scale: { type: "log", nice: false }, axis: { tickCount: 6, format: "~g" } },
        y: { field: "share", type: "quantitative", title: "share of runs that are done", axis: { format: "%" } }, color: colour() },
    };
  }
  function pareto(rows) {
    return {
      width: 380, height: 260, data: { values: rows.map((row) => ({ ...row, series: series(row) })) },
      layer: [
        { mark: { type: "rule", strokeWidth: 1.5 }, encoding: { x: { field: "low", type: "quantitative", title: "milliseconds" }, x2: { field: "high" } } },
        { mark: { type: "point", filled: true, size: 110, opacity: 1 }, encoding: { x: milliseconds("p50", { scale: { zero: false, padding: 12 } }), shape: { field: "precision", type: "nominal", title: null },
          tooltip: [{ field: "series", title: "engine" }, { field: "p50", format: ".3~g", title: "p50, ms" }, { field: "accuracy", format: ".4f", title: rows[0].metric }] } },
      ],
      encoding: { y: { field: "accuracy", type: "quantitative", title: rows[0].metric, scale: { zero: false, padding: 12 } }, color: colour() },
    };
  }

  const accuracyOf = (cell) => data.accuracy.find((row) => cell.ours && row.model === cell.model && row.precision === cell.precision);
  const list = (rows, words) => rows.map(words).join("; ");

  function figures(cells, atOnce) {
    return threads.flatMap((count) => {
      const own = cells.filter((cell) => cell.threads === count);
      const crowd = atOnce.filter((row) => row.threads === count);
      return [...medians(own), ...curves(own), ...crowds(crowd), ...distributions(own), ...tradeoffs(own)]
        .map(([title, ...rest]) => [`${title}${onThreads(count)}`, ...rest]);
    });
  }
  function perShape(cells, make) {
    return shapes.map((shape) => [shape, cells.filter((cell) => shapeOf(cell) === shape)]).filter(([, here]) => here.length).map(([shape, here]) => make(shape, here));
  }
  const medians = (cells) => perShape(cells, (shape, here) => [`Median at ${shape}`, `with its 95 % interval; shorter is faster${here.some((cell) => cell.verdict === "no difference") ? `; no difference is to ${data.baseline}` : ""}`, bars(here),
    list(here, (cell) => `${series(cell)} ${show(cell.p50)}`)]);
  const distributions = (cells) => perShape(cells, (shape, here) => [`Distribution at ${shape}`, "share of runs done by a time; steeper is steadier", distribution(here),
    list(here, (cell) => `${series(cell)}: half within ${show(cell.p50)}, 99 % within ${show(cell.p99)}`)]);
  function curves(cells) {
    const found = [];
    for (const [field, other, title] of [["length", "batch", "length in tokens"], ["batch", "length", "batch"]]) {
      for (const fixed of new Set(cells.map((cell) => cell[other]))) {
        const here = cells.filter((cell) => cell[other] === fixed);
        if (new Set(here.map((cell) => cell[field])).size < 2) continue;
        found.push([`Latency against ${field}, ${other} ${fixed}`, "both axes are logarithmic; dashes tell precisions apart", lines(here, field, title), list(here, (cell) => `${series(cell)} at ${cell[field]}: ${show(cell.p50)}`)]);
      }
    }
    return found;
  }
  const crowds = (rows) => (rows.length ? [["Throughput against concurrency", `${shapeOf(rows[0])}; higher is better`, throughput(rows),
    list(rows, (row) => `${series(row)}, ${row.level} at once: ${show(row.texts_per_second)} texts per second`)]] : []);
  const tradeoffs = (cells) => perShape(cells.filter(accuracyOf), (shape, here) => {
    const rows = here.map((cell) => ({ ...cell, accuracy: accuracyOf(cell).value, metric: accuracyOf(cell).metric }));
    return [`Accuracy against latency at ${shape}`, "the best are at the upper left; accuracy as the bundle's manifest says", pareto(rows),
      list(rows, (row) => `${series(row)}: ${row.metric} ${row.accuracy.toFixed(4)}, ${show(row.p50)}`)];
  }).slice(0, 1);

  let turn = 0;
  async function draw() {
    const mine = ++turn;
    const chosen = wanted();
    const fits = (cell) => chosen.engine.has(cell.contender) && chosen.precision.has(cell.precision) && (cell.level !== undefined || chosen.shape.has(shapeOf(cell))) && (!chosen.threads || chosen.threads.has(String(cell.threads)));
    const cells = data.cells.filter(fits);
    const made = [];
    for (const [title, note, spec, words] of figures(cells, data.concurrency.filter(fits))) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const small = document.createElement("small");
      caption.append(`${title} `, small);
      small.textContent = note;
      const chart = document.createElement("div");
      figure.append(caption, chart);
      await vegaEmbed(chart, { ...spec, description: `${title}, milliseconds where nothing else is said. ${words}` }, { renderer: "svg", actions: false, config });
      made.push(figure);
    }
    if (mine !== turn) return;
    home.replaceChildren(...made);
    const byName = Object.fromEntries(data.cells.map((cell) => [cell.contender, cell.precision]));
    for (const row of document.querySelectorAll("tr[data-engine]")) {
      const { engine, shape, threads: count } = row.dataset;
      row.hidden = !chosen.engine.has(engine) || (engine in byName && !chosen.precision.has(byName[engine])) || (shape !== undefined && !chosen.shape.has(shape)) || (count !== undefined && chosen.threads && !chosen.threads.has(count));
    }
    document.getElementById("announcement").textContent = `${cells.length} of ${data.cells.length} cells shown.`;
    document.body.dataset.drawn = String(turn);
  }
  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  draw().catch((error) => {
    document.body.dataset.failed = String(error);
    home.textContent = `The charts cannot be drawn: ${error}`;
  });
})();
