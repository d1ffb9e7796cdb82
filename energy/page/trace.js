// The power trace: an overview of a few thousand columns, drawn anew from the finer buckets inside the part one zooms into.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("trace-data").textContent);
  const unpack = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const low = unpack(data.low), mean = unpack(data.mean), high = unpack(data.high);
  const phases = Uint8Array.from(atob(data.phases), (c) => c.charCodeAt(0));
  const width = data.width_s, n = low.length, columns = 2000;

  function view(from, to) {
    const first = Math.max(0, Math.floor(from / width));
    const last = Math.min(n, Math.ceil(to / width) + 1);
    const step = Math.max(1, Math.ceil((last - first) / columns));
    const out = { x: [], low: [], mean: [], high: [], phase: [] };
    for (let i = first; i < last; i += step) {
      let a = Infinity, b = -Infinity, sum = 0, count = 0;
      const tally = new Map();
      for (let k = i; k < Math.min(i + step, last); k++) {
        tally.set(phases[k], (tally.get(phases[k]) || 0) + 1);
        if (Number.isNaN(mean[k])) continue;
        a = Math.min(a, low[k]); b = Math.max(b, high[k]); sum += mean[k]; count++;
      }
      let top = 255, most = 0;
      for (const [phase, times] of tally) if (times > most) { top = phase; most = times; }
      out.x.push(i * width);
      out.low.push(count ? a : null); out.high.push(count ? b : null); out.mean.push(count ? sum / count : null);
      out.phase.push(top === 255 ? null : top);
    }
    return out;
  }

  const all = view(0, n * width);
  const line = { mode: "lines", connectgaps: false, hoverinfo: "skip" };
  const traces = [
    { ...line, x: all.x, y: all.low, line: { width: 0, shape: "hv" }, showlegend: false },
    { ...line, x: all.x, y: all.high, line: { width: 0, shape: "hv" }, fill: "tonexty", fillcolor: "rgba(86,180,233,0.35)", name: "least to greatest" },
    { ...line, x: all.x, y: all.mean, line: { width: 1.5, color: "#0072b2", shape: "hv" }, name: "mean", hoverinfo: "x+y" },
    { type: "heatmap", x: all.x, y: [""], z: [all.phase], xaxis: "x", yaxis: "y2", zmin: -0.5, zmax: data.names.length - 0.5,
      colorscale: data.colours.flatMap((c, i) => [[i / data.names.length, c], [(i + 1) / data.names.length, c]]),
      showscale: false, hovertemplate: "%{text}<extra></extra>", text: [all.phase.map((p) => (p === null ? "" : data.names[p]))] },
  ];
  const layout = {
    margin: { l: 62, r: 12, t: 8, b: 48 }, height: 420, dragmode: "zoom", hovermode: "x",
    font: { family: "system-ui, sans-serif", size: 14 }, legend: { orientation: "h", y: 1.14 },
    xaxis: { title: { text: data.time_title }, rangemode: "tozero", anchor: "y2" },
    yaxis: { title: { text: data.power_title }, domain: [0.14, 1], rangemode: "tozero", fixedrange: true },
    yaxis2: { domain: [0, 0.09], fixedrange: true, showticklabels: false },
  };
  const place = document.getElementById("trace");
  Plotly.newPlot(place, traces, layout, { responsive: true, displayModeBar: false, scrollZoom: true }).then(function () {
    place.dataset.ready = "1";
    place.on("plotly_relayout", function (event) {
      let from = event["xaxis.range[0]"], to = event["xaxis.range[1]"];
      if (event["xaxis.autorange"]) { from = 0; to = n * width; }
      if (from === undefined || to === undefined) return;
      const part = view(from, to);
      Plotly.restyle(place, { x: [part.x, part.x, part.x], y: [part.low, part.high, part.mean] }, [0, 1, 2]);
      Plotly.restyle(place, { x: [part.x], z: [[part.phase]], text: [[part.phase.map((p) => (p === null ? "" : data.names[p]))]] }, [3]);
      place.dataset.columns = String(part.x.length);
    });
  });
})();
